"""Questions and answers that a page states as JSON for search engines: schema.org's FAQPage."""

import json
from collections.abc import Iterator
from typing import Any

_MAX_DEPTH = 50


def stated_questions(text: str) -> Iterator[tuple[str, str]]:
    """Question and answer of every FAQ entry in a script of JSON-LD. Answers may be HTML; broken JSON has none."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return
    for page in _objects(data, 0):
        if "FAQPage" not in _listed(page.get("@type")):
            continue
        for entry in _listed(page.get("mainEntity")):
            if not isinstance(entry, dict):
                continue
            answers = [*_listed(entry.get("acceptedAnswer")), *_listed(entry.get("suggestedAnswer"))]
            answer = next((a["text"] for a in answers if isinstance(a, dict) and isinstance(a.get("text"), str)), "")
            if isinstance(entry.get("name"), str) and answer:
                yield entry["name"], answer


def _objects(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _objects(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner, depth + 1)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]

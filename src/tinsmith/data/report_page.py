"""The data report as one self-contained HTML page and as Markdown, for the owner of the data alone.

The page has no script and loads nothing. It is made from `report.json`, so its size does not grow with the data.
"""

import base64
import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tinsmith.core.run_dir import write_text
from tinsmith.data.advice import advice
from tinsmith.data.language import NAMES
from tinsmith.data.meanings import MEANINGS
from tinsmith.data.not_used import NotUsed, not_used

_HERE = Path(__file__).parent
_MOST_PAIRS = 100
_MOST_CATEGORIES = 50
_MOST_FILES = 100
_MOST_UNUSED = 20
_STEPS = {
    "read": "Read",
    "valid": "Valid conversations",
    "privacy": "Personal data",
    "system_prompt": "System prompt",
    "length": "Within data.max_tokens",
    "duplicates": "Without exact copies",
}
_USES = {
    "train": "learned from",
    "val": "chooses epoch and INT4 recipe",
    "test": "measures the result, never trained on",
}
_SECTIONS = (
    ("came-in", "What came in"),
    ("left-out", "Left out"),
    ("changed", "Changed"),
    ("flagged", "Worth a look"),
    ("spellings", "Spelled in two ways"),
    ("contradictions", "Contradictions"),
    ("near-duplicates", "Nearly the same"),
    ("not-used", "Not used"),
    ("categories", "Categories"),
    ("numbers", "Length, language, split"),
    ("published", "Published"),
)
_FINE = {
    "not-used": "Every file and field is used.",
    "left-out": "No record was left out.",
    "changed": "No text was changed.",
    "flagged": "No conversation stands out.",
    "spellings": "No name is spelled in two ways.",
    "contradictions": "No answers seem to contradict each other.",
    "near-duplicates": "No two questions are nearly the same.",
}
_FORMS = {
    "markdown": "with bold text, lists or headings",
    "emoji": "with emoji",
    "blocks": "end with a block of JSON or a tag",
    "long_blocks": "of these, over several lines",
    "several_turns": "conversations with several questions",
}
PUBLISHED = (
    "The card shows counts, category names, language, licence and source of the data.",
    "Texts of the data are published only if you agree: with tinsmith approve, or in the configuration.",
    "This report, the list of changes and the conversations themselves are never published.",
)
"""What is published whatever the configuration."""


def write_report(path: Path, report: Mapping[str, Any], published: Sequence[str] = PUBLISHED) -> None:
    """Write the page to `path` and the Markdown beside it, with the ending `.md`."""
    write_text(path, report_html(report, published))
    write_text(path.with_suffix(".md"), report_markdown(report, published))


def report_html(report: Mapping[str, Any], published: Sequence[str] = PUBLISHED) -> str:
    """The page.

    Args:
        report: As written to `report.json`.
        published: Sentences on what of the data others will see.
    """
    style = "\n" + (_HERE / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = _environment(autoescape=True).get_template("report.html.j2")
    return template.render(_values(report, published), style=style, style_digest=digest)


def report_markdown(report: Mapping[str, Any], published: Sequence[str] = PUBLISHED) -> str:
    """The same as Markdown."""
    environment = _environment(autoescape=False)
    environment.filters["plain"] = plain
    text = environment.get_template("report.md.j2").render(_values(report, published))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def plain(text: str) -> str:
    """`text` on one line, with every character escaped that could act as Markdown or HTML."""
    line = " ".join(str(text).split())
    line = re.sub(r"([\\`*_<>|\[\]#&~$])", r"\\\1", line)
    return re.sub(r"^(\d*)([-+.)])(?=\s)", r"\1\\\2", line)


def visible(value: Any) -> Any:
    """`value` with control characters and direction overrides in its texts escaped, in lists and objects too."""
    if isinstance(value, str):
        return "".join(character if _is_harmless(character) else f"\\u{ord(character):04x}" for character in value)
    if isinstance(value, Mapping):
        return {visible(key): visible(inner) for key, inner in value.items()}
    return [visible(inner) for inner in value] if isinstance(value, list | tuple) else value


def _is_harmless(character: str) -> bool:
    is_override = "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069"
    return character == "\n" or not (is_override or unicodedata.category(character) in ("Cc", "Cs"))


def _environment(autoescape: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["sentence"] = lambda text: text[:1].upper() + text[1:]
    return environment


def _values(report: Mapping[str, Any], published: Sequence[str]) -> dict[str, Any]:
    report = visible(report)
    records = report["records"]
    pairs = [[_side(pair["first"]), _side(pair["second"])] for pair in report["contradictions"][:_MOST_PAIRS]]
    counts = {
        "not-used": len(not_used(report)),
        "left-out": records["dropped"] + records["duplicate"],
        "changed": records["repaired"] + records["cut"] + records["masked"],
        "flagged": records["flagged"],
        "spellings": len(report["spellings"]),
        "contradictions": len(report["contradictions"]),
        "near-duplicates": report["near_duplicates"]["conversations"],
        "categories": len(report["categories"]),
    }
    steps = [{**step, "title": _STEPS.get(step["name"], step["name"])} for step in report["steps"]]
    return {
        "report": {**report, "steps": steps},
        "advice": advice(report),
        "figures": list(_figures(report)),
        "fine": [text for id, text in _FINE.items() if not counts[id]],
        "sections": [
            {"id": id, "title": title, "count": counts.get(id)} for id, title in _SECTIONS if counts.get(id) != 0
        ],
        "unused": _unused(report),
        "left_out": _groups(report, "dropped", "duplicate"),
        "changed": _groups(report, "cut", "masked", "repaired"),
        "flagged": _groups(report, "flagged"),
        "pairs": pairs,
        "near": report["near_duplicates"],
        "categories": report["categories"][:_MOST_CATEGORIES],
        "files": list(report["files"])[:_MOST_FILES],
        "tallest": max((one["count"] for one in report["lengths"]["bins"]), default=1),
        "languages": list(_languages(report)),
        "form": [
            {"name": name, "count": report["form"][key], "share": report["form"][key] / sum(report["splits"].values())}
            for key, name in _FORMS.items()
            if report["form"][key]
        ],
        "splits": [{"name": name, "use": _USES[name], "count": count} for name, count in report["splits"].items()],
        "published": published,
        "every_change": ", all in changes.jsonl of the run",
    }


def _figures(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    records = report["records"]
    yield {"name": "records read", "count": report["steps"][0]["before"]}
    yield {"name": "used", "count": sum(report["splits"].values())}
    yield {"name": "left out", "count": records["dropped"] + records["duplicate"]}
    yield {"name": "changed", "count": max(records["repaired"], records["masked"], records["cut"])}
    yield {"name": "worth a look", "count": records["flagged"]}
    yield {"name": "contradictions", "count": len(report["contradictions"])}


def _unused(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is not used, by reason; at most `_MOST_UNUSED` names of each."""
    reasons: dict[str, list[NotUsed]] = {}
    for one in not_used(report):
        reasons.setdefault(one.reason, []).append(one)
    return [{"reason": reason, "count": len(all), "names": all[:_MOST_UNUSED]} for reason, all in reasons.items()]


def _groups(report: Mapping[str, Any], *what: str) -> list[dict[str, Any]]:
    """Groups of these kinds: kind by kind as named, then the most harmful or the most frequent first."""
    order = list(MEANINGS)
    groups = [
        {**group, "action": MEANINGS[group["reason"]].action if group["reason"] in MEANINGS else ""}
        for group in report["changes"]
    ]
    return sorted(
        (group for group in groups if group["what"] in what),
        key=lambda group: (
            what.index(group["what"]),
            order.index(group["reason"]) if group["reason"] in MEANINGS else -1,
            -group["count"],
        ),
    )


def _side(side: Mapping[str, Any]) -> dict[str, Any]:
    """One answer of a pair, its statement in parts: values that the other lacks, and the text between them."""
    pattern = "|".join(_value_pattern(value) for value in side["values"] if value)
    pieces = re.split(f"({pattern})", side["statement"], flags=re.IGNORECASE) if pattern else [side["statement"]]
    parts = [{"text": text, "is_value": bool(number % 2)} for number, text in enumerate(pieces) if text]
    return {**side, "parts": parts}


def _value_pattern(value: str) -> str:
    """Pattern of a value as a whole word, with any space within it."""
    return r"(?<![\w.,])" + r"\s+".join(map(re.escape, value.split())) + r"(?![.,]?\d|\w)"


def _languages(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    counts = report["languages"]["counts"]
    total = sum(counts.values())
    for code, count in list(counts.items())[:10]:
        name = f"{NAMES.get(code, code)} ({code})" if code else "too short or mixed to tell"
        yield {"name": name, "count": count, "share": count / total}

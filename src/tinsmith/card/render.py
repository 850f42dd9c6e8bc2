"""README.md and card.json from a run folder; the same bytes every time it is asked."""

import json
import re
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from tinsmith.card import sections
from tinsmith.card.evidence import Evidence, environment_sha256s
from tinsmith.card.facts import INTERVAL_NAME, NOT_STATED, Facts, plain
from tinsmith.card.front_matter import front_matter
from tinsmith.card.snippet import Snippet, SnippetRun, snippets
from tinsmith.core.config import CardConfig
from tinsmith.core.run_dir import file_sha256

SCHEMA = "tinsmith-card/1"
NOT_ASSESSED = "Not assessed by people"
_TITLES = {
    "hub": "From a model hub, once the package is uploaded there:",
    "self_hosted": "From a folder on your own host, which must allow requests from the page's origin:",
}
# Licences whose terms ask for a notice wherever the model is offered.
_NOTICES = {
    "gemma": "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms.",
    "llama": (
        "Built with Llama. Llama {version} is licensed under the Llama {version} Community License, "
        "Copyright © Meta Platforms, Inc. All Rights Reserved."
    ),
}


def render(evidence: Evidence, config: CardConfig, name: str, runs: dict[str, SnippetRun]) -> tuple[str, str]:
    """`(README.md, card.json)` as text.

    Args:
        evidence: What the run folder says.
        config: The author's words.
        name: The run's name.
        runs: What each form of the How-to-Use code did, by form; a form that is missing is marked as not run.
    """
    facts = Facts(evidence, config)
    page = _template().render(_names(facts, name, runs))
    return page, _card_json(facts, name, runs)


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        autoescape=False,
    )  # fmt: skip
    return environment.get_template("model_card.md.j2")


def _names(facts: Facts, name: str, runs: dict[str, SnippetRun]) -> dict[str, Any]:
    """Everything the template may use. Numbers come only from here."""
    title = plain(facts.config.title or name)
    has_curve = facts.evidence.sha256("train/loss.png") is not None
    return {
        "title": title, "config": facts.config, "front_matter": front_matter(facts, facts.config.title or name),
        "has": facts.has, "value": facts.value, "cell": facts.cell, "full": facts.full,
        "rests_on": facts.rests_on, "recorded": facts.recorded, "raw": facts.raw, "stated": facts.stated,
        "declared": facts.declared, "declared_list": facts.declared_list, "date": facts.date(),
        "interval_name": INTERVAL_NAME, "not_assessed": NOT_ASSESSED, "has_curve": has_curve,
        "shown_categories": sections.SHOWN_CATEGORIES, "categories": sections.categories(facts),
        "processing_steps": sections.processing_steps(facts), "hardware": sections.hardware(facts),
        "examples": sections.examples(facts), "graphs": sections.graphs(facts), "recipes": sections.recipes(facts),
        "browser_rows": sections.browser_rows(facts), "performance": sections.performance(facts),
        "prompt_rows": sections.prompt_rows(facts), "placements": sections.placements(facts),
        "gates": sections.gates(facts), "language": sections.language(facts),
        "thin_categories": sections.thin_categories(facts), "category_extremes": sections.category_extremes(facts),
        "snippets": [_printed(s, runs.get(s.form), facts) for s in snippets(facts.evidence, facts.config, name)],
        "citation": _citation(facts, name), "license": {"text": _license(facts)},
        "sources": lambda: sections.sources(facts), "environments": sections.environments(facts),
    }  # fmt: skip


def _printed(snippet: Snippet, run: SnippetRun | None, facts: Facts) -> dict[str, str]:
    code = fenced(snippet.code, "javascript")
    if run is None:
        reason = "the export stage has not finished" if "export" not in facts.evidence.stamps else "no record of a run"
        result = f"Not measured: {reason}, so this code was not run."
    else:
        heading = (
            f"Run exactly as printed in {plain(run.browser)}, with files of the machine itself in place of the network, the code chose "
            f"`{run.device}` and answered:"
        )
        result = f"{heading}\n\n{fenced(run.output, 'text')}"
    return {"title": _TITLES[snippet.form], "code": code, "result": result}


def fenced(text: str, language: str) -> str:
    """`text` as a Markdown code block whose fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _citation(facts: Facts, name: str) -> dict[str, str]:
    date = facts.date()
    year = date[:4] if date[:4].isdigit() else date
    hub_url = f"https://huggingface.co/{facts.config.hub_id}" if facts.config.hub_id else ""
    return {
        "key": "-".join([name, year] if year.isdigit() else [name]),
        "author": _bibtex(facts.config.author or NOT_STATED),
        "title": _bibtex(facts.config.title or name),
        "year": year,
        "url": _bibtex(facts.config.url or hub_url or NOT_STATED),
    }


def _bibtex(text: str) -> str:
    """`text` on one line with balanced braces, as a BibTeX value and inside a code block."""
    return " ".join(text.split()).replace("{", "(").replace("}", ")")


def _license(facts: Facts) -> str:
    """The base model's licence, which the fine-tune inherits, with the notice it asks for."""
    record = facts.raw("base", "base.json", "license") or {}
    if not record:
        return facts.recorded("base", "base.json", "license.id")
    id = facts.recorded("base", "base.json", "license.id")
    name = facts.recorded("base", "base.json", "license.name") if record.get("name") else id
    text = f"{name} (`{id}`), inherited from the base model" + (f": <{record['link']}>" if record.get("link") else ".")
    if record.get("warning"):
        text += "\n\n" + facts.recorded("base", "base.json", "license.warning")
    for prefix, notice in _NOTICES.items():
        if id.lower().startswith(prefix):
            text += "\n\n" + notice.format(version=id[len(prefix) :].lstrip("-"))
    return text


def _card_json(facts: Facts, name: str, runs: dict[str, SnippetRun]) -> str:
    """Everything printed with its source, and everything measured whether printed or not."""
    evidence = facts.evidence
    stamps = {stage: file_sha256(evidence.run.stamp(stage)) for stage in evidence.stamps}
    tree = {
        "schema": SCHEMA,
        "name": name,
        "fields": [asdict(use) for use in facts.uses],
        # What a stage read is the same for each of its numbers and stands in its stamp, whose hash is below.
        "measurements": [{k: v for k, v in asdict(m).items() if k != "inputs"} for m in evidence.measurements.values()],
        "snippets": [asdict(run) for run in runs.values()],
        "stamps": stamps,
        "environments": environment_sha256s(evidence),
        "measurement_log": {"bytes": evidence.log_bytes, "sha256": evidence.log_sha256},
    }
    return json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

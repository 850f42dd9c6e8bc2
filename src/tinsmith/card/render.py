"""Render README.md and card.json from a run folder. The same evidence gives the same bytes."""

import json
import re
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from tinsmith.card import browsers, examples, sections
from tinsmith.card.answers import answer_variables
from tinsmith.card.citation import bibtex
from tinsmith.card.evidence import Evidence, environment_sha256s
from tinsmith.card.facts import INTERVAL_NAME, Facts, plain
from tinsmith.card.front_matter import front_matter
from tinsmith.card.license import license_text
from tinsmith.card.snippet import Snippet, snippets
from tinsmith.card.snippet_run import SnippetRun
from tinsmith.core.config import CardConfig
from tinsmith.core.run_dir import file_sha256

SCHEMA = "tinsmith-card/1"
NOT_ASSESSED = "Not assessed by people"
_TITLES = {
    "hub": "From a model hub, once the package is uploaded there:",
    "self_hosted": "From a folder on your own host, which must allow requests from the page's origin:",
    "answers": (
        "In the owner's own words, found by the site's `answers.js` as on its chat page. The site's host must allow "
        "requests from your page's origin:"
    ),
}


def render(evidence: Evidence, config: CardConfig, name: str, runs: dict[str, SnippetRun]) -> tuple[str, str]:
    """The texts of README.md and card.json.

    Args:
        evidence: From the run folder.
        config: The author's words.
        name: The run's name.
        runs: Results of running the How-to-Use code, by its form (`hub` or `self_hosted`). If a form has no result,
            the card says that its code was not run.
    """
    facts = Facts(evidence, config)
    page = _template().render(_variables(facts, name, runs))
    return page, _card_json(facts, name, runs)


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML; every text from outside goes through `facts.plain`
    )
    return environment.get_template("model_card.md.j2")


def _variables(facts: Facts, name: str, runs: dict[str, SnippetRun]) -> dict[str, Any]:
    """The template's variables and functions, its only source of numbers."""
    return {
        "title": plain(facts.config.title or name),
        "config": facts.config,
        "front_matter": front_matter(facts, facts.config.title or name),
        "date": facts.date(),
        "interval_name": INTERVAL_NAME,
        "not_assessed": NOT_ASSESSED,
        "has": facts.has,
        "value": facts.value,
        "cell": facts.cell,
        "full": facts.full,
        "rests_on": facts.rests_on,
        "recorded": facts.recorded,
        "raw": facts.raw,
        "stated": facts.stated,
        "declared": facts.declared,
        "declared_list": facts.declared_list,
        "configured": facts.configured,
        **answer_variables(facts),
        "has_curve": facts.evidence.sha256("train/loss.png") is not None,
        "shown_categories": sections.SHOWN_CATEGORIES,
        "categories": sections.categories(facts),
        "processing_steps": sections.processing_steps(facts),
        "hardware": sections.hardware(facts),
        "examples": examples.examples(facts),
        "graphs": sections.graphs(facts),
        "recipes": sections.recipes(facts),
        "browser_rows": browsers.browser_rows(facts),
        "performance": browsers.performance(facts),
        "prompt_rows": browsers.prompt_rows(facts),
        "placements": browsers.placements(facts),
        "gates": sections.gates(facts),
        "language": sections.language(facts),
        "thin_categories": sections.thin_categories(facts),
        "category_extremes": sections.category_extremes(facts),
        "snippets": [_printed(s, runs.get(s.form), facts) for s in snippets(facts.evidence, facts.config, name)],
        "citation": bibtex(facts, name),
        "license": {"text": license_text(facts)},
        "environments": sections.environments(facts),
        "sources": lambda: sections.sources(facts),  # called at the end of the page, to list what was printed above
    }


def _printed(snippet: Snippet, run: SnippetRun | None, facts: Facts) -> dict[str, str]:
    code = fenced(snippet.code, "javascript")
    if run is None:
        has_package = "export" in facts.evidence.stamps
        reason = "there is no record of a run" if has_package else "the export stage has not finished"
        result = f"Not measured: {reason}, so this code was not run."
    else:
        heading = (
            f"This code was run exactly as printed in {plain(run.browser)}, with local files in place of the network. "
            f"It {f'chose `{run.device}` and ' if run.device else ''}answered:"
        )
        result = f"{heading}\n\n{fenced(run.output, 'text')}"
    return {"title": _TITLES[snippet.form], "code": code, "result": result}


def fenced(text: str, language: str) -> str:
    """`text` as a Markdown code block whose fence is longer than any row of backticks in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _card_json(facts: Facts, name: str, runs: dict[str, SnippetRun]) -> str:
    """Every printed text with its source, and all measurements, including those that are not printed."""
    evidence = facts.evidence
    stamps = {stage: file_sha256(evidence.run.stamp(stage)) for stage in evidence.stamps}
    tree = {
        "schema": SCHEMA,
        "name": name,
        "fields": [asdict(use) for use in facts.uses],
        # `inputs` are left out: all measurements of a stage share them, and they are in its stamp, whose hash is below.
        "measurements": [{k: v for k, v in asdict(m).items() if k != "inputs"} for m in evidence.measurements.values()],
        "snippets": [asdict(run) for run in runs.values()],
        "stamps": stamps,
        "environments": environment_sha256s(evidence),
        "measurement_log": {"bytes": evidence.log_bytes, "sha256": evidence.log_sha256},
    }
    return json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

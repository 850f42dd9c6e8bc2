"""Render README.md, EVIDENCE.md and card.json from a run folder. The same evidence gives the same bytes."""

import json
import re
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from tinsmith.card import browsers, examples, sections
from tinsmith.card.answers import answer_variables
from tinsmith.card.citation import bibtex
from tinsmith.card.compact_yaml import compact_yaml
from tinsmith.card.evidence import Evidence, environment_sha256s
from tinsmith.card.facts import AUTHORS_MARK, INTERVAL_NAME, Facts, plain
from tinsmith.card.front_matter import front_matter
from tinsmith.card.license import license_text
from tinsmith.card.pictures import Drawing, drawings, loss_text
from tinsmith.card.snippet import Snippet, snippets
from tinsmith.card.snippet_run import SnippetRun
from tinsmith.card.summary import author_list, summary_variables
from tinsmith.card.tables import table_variables
from tinsmith.core.config import CardConfig
from tinsmith.core.run_dir import file_sha256

SCHEMA = "tinsmith-card/1"
MAX_LINES = 200
"""Of README.md, so that people read it."""
MAX_AUTHOR_TEXTS = 5
"""Of each of the author's lists in README.md; EVIDENCE.md has all of them."""
_TITLES = {
    "hub": "From a model hub, once the package is uploaded there, as on the [model card](README.md#how-to-use):",
    "self_hosted": "From a folder on your own host, which must allow requests from the page's origin:",
    "answers": (
        "In the owner's own words, found by the site's `answers.js` as on its chat page. The site's host must allow "
        "requests from your page's origin:"
    ),
}


@dataclass(frozen=True, slots=True)
class Card:
    """A rendered card."""

    texts: dict[str, str]
    """File name -> content of README.md, EVIDENCE.md and card.json."""
    drawings: dict[str, Drawing]
    """File name -> picture to draw."""


def render(evidence: Evidence, config: CardConfig, name: str, runs: dict[str, SnippetRun]) -> Card:
    """The two-minute card, what stands behind it, and both as JSON.

    Args:
        evidence: From the run folder.
        config: The author's words.
        name: The run's name.
        runs: Results of running the How-to-Use code, by its form (`hub` or `self_hosted`). If a form has no result,
            the card says that its code was not run.
    """
    facts = Facts(evidence, config)
    pictures = drawings(facts)
    variables = _variables(facts, name, runs, pictures)
    page = _two_minute_card(facts, variables)
    evidence_page = _environment().get_template("evidence.md.j2").render(variables)  # last: it lists all sources
    return Card({"README.md": page, "EVIDENCE.md": evidence_page, "card.json": _card_json(facts, name, runs)}, pictures)


def _two_minute_card(facts: Facts, variables: dict[str, Any]) -> str:
    """README.md with as many of the author's texts as fit into `MAX_LINES`."""
    template = _environment().get_template("model_card.md.j2")
    for shown in range(MAX_AUTHOR_TEXTS, 0, -1):
        page = template.render({**variables, "author_list": partial(author_list, facts, shown)})
        if page.count("\n") <= MAX_LINES:
            break
    return page


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    return Environment(
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML; every text from outside goes through `facts.plain`
    )


def _variables(facts: Facts, name: str, runs: dict[str, SnippetRun], pictures: dict[str, Drawing]) -> dict[str, Any]:
    """The templates' variables and functions, their only source of numbers."""
    title = plain(facts.config.title or name)
    texts = {"loss.png": loss_text(facts), **{file: drawing.text for file, drawing in pictures.items()}}
    return {
        "title": title,
        "config": facts.config,
        "front_matter": compact_yaml(front_matter(facts, facts.config.title or name)),
        "date": facts.date(),
        "interval_name": INTERVAL_NAME,
        "authors_mark": AUTHORS_MARK,
        "has": facts.has,
        "value": facts.value,
        "cell": facts.cell,
        "full": facts.full,
        "rests_on": facts.rests_on,
        "recorded": facts.recorded,
        "raw": facts.raw,
        "stated": facts.stated,
        "declared": facts.declared,
        "configured": facts.configured,
        "picture": lambda file: [f"![{texts[file]}]({file})"] if texts.get(file) else [],
        **answer_variables(facts),
        **summary_variables(facts),
        **table_variables(facts),
        "categories": sections.categories(facts),
        "hardware": sections.hardware(facts),
        "energy": sections.energy(facts),
        "examples": examples.examples(facts),
        "graphs": sections.graphs(facts),
        "recipes": sections.recipes(facts),
        "all_browser_rows": browsers.browser_rows(facts),
        "performance": browsers.performance(facts),
        "prompt_rows": browsers.prompt_rows(facts),
        "placements": browsers.placements(facts),
        "gates": sections.gates(facts),
        "language": sections.language(facts),
        "author_texts": sections.author_texts(facts),
        "snippets": [_printed(s, runs.get(s.form), facts) for s in snippets(facts.evidence, facts.config, name)],
        "citation": bibtex(facts, name),
        "license": {"text": license_text(facts)},
        "environments": sections.environments(facts),
        "sources": lambda: sections.sources(facts),  # called at the end of EVIDENCE.md, to list what was printed
    }


def _printed(snippet: Snippet, run: SnippetRun | None, facts: Facts) -> dict[str, str]:
    code = fenced(snippet.code, "javascript")
    if run is None:
        has_package = "export" in facts.evidence.stamps
        reason = "there is no record of a run" if has_package else facts.absence("export", "")
        result = summary = f"Not measured: this code was not run, because {reason}."
    else:
        chose = f" It chose `{run.device}`." if run.device else ""
        ran = f"This code was run exactly as printed in {plain(run.browser)}, with local files in place of the network."
        result = f"{ran}{chose} It answered:\n\n{fenced(run.output, 'text')}"
        summary = f"{ran} The [evidence](EVIDENCE.md#code-that-was-run) has its answer, and code for your own host."
    return {"title": _TITLES[snippet.form], "code": code, "result": result, "summary": summary}


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
        # All measurements of a stage share these hashes, and they follow from its stamp, whose hash is below.
        "measurements": [
            {k: v for k, v in asdict(m).items() if k not in ("inputs", "outputs")}
            for m in evidence.measurements.values()
        ],
        "snippets": [asdict(run) for run in runs.values()],
        "stamps": stamps,
        "environments": environment_sha256s(evidence),
        "measurement_log": {"bytes": evidence.log_bytes, "sha256": evidence.log_sha256},
    }
    return json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

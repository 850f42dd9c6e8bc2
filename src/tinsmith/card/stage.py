"""Card stage: README.md, card.json and snippets.json from a run folder."""

import shutil
from dataclasses import asdict
from pathlib import Path

from tinsmith.card.evidence import Evidence, read_evidence
from tinsmith.card.render import render
from tinsmith.card.snippet import SnippetRun, run_snippets, snippets
from tinsmith.core.config import CardConfig
from tinsmith.core.measure import Recorder
from tinsmith.core.run_dir import RunDir, write_json, write_text
from tinsmith.core.stage_context import StageContext, Summary


def render_card(config: CardConfig, run: RunDir, name: str, out_dir: Path, context: StageContext) -> Summary:
    """Write the card of a run and report how much of it is measured.

    Stages that have not finished leave plainly marked fields. With a finished export the How-to-Use code is run in a
    browser first, and the card shows what it answered.

    Raises:
        ArtifactError: a record of a finished stage is missing or broken.
        MissingDependency: there is a package but no browser to run the code in.
        BrowserError: the printed code does not work.
    """
    evidence = read_evidence(run)
    runs = _run_snippets(evidence, config, name, context.recorder)
    page, tree = render(evidence, config, name, {found.form: found for found in runs})
    write_text(out_dir / "README.md", page)
    write_text(out_dir / "card.json", tree)
    write_json(out_dir / "snippets.json", [asdict(found) for found in runs])
    if evidence.sha256("train/loss.png"):
        shutil.copyfile(run.stage("train") / "loss.png", out_dir / "loss.png")
    unmeasured = page.count("Not measured: ")
    unstated = page.count("Not stated by the author")
    return (
        f"{len(evidence.measurements)} measurements; {unmeasured} places marked not measured, "
        f"{unstated} not stated by the author",
        *(f"{found.form} code ran on {found.device} in {found.elapsed_seconds:.1f} s" for found in runs),
    )


def _run_snippets(evidence: Evidence, config: CardConfig, name: str, recorder: Recorder) -> list[SnippetRun]:
    package = evidence.run.stage("export") / "package"
    if "export" not in evidence.stamps or not package.is_dir():
        return []
    runs = run_snippets(snippets(evidence, config, name), package)
    for found in runs:
        recorder.add(
            f"card.snippet.{found.form}.seconds", found.elapsed_seconds, "seconds", 1, "runs",
            "card.snippet.run_snippets", raw="card/snippets.json",
        )  # fmt: skip
    return runs

"""Run the card stage: write the card, its machine-readable files and snippets.json from a run folder."""

import shutil
from dataclasses import asdict
from pathlib import Path

from tinsmith.card.evidence import Evidence, read_evidence
from tinsmith.card.examples import agreed_answers
from tinsmith.card.files import card_files
from tinsmith.card.pictures import COPIED_PICTURES
from tinsmith.card.snippet import snippets
from tinsmith.card.snippet_run import SnippetRun, run_snippets
from tinsmith.core.config import CardConfig
from tinsmith.core.run_dir import RunDir, write_bytes, write_json
from tinsmith.core.scratch import scratch_folder
from tinsmith.core.stage_context import StageContext, Summary
from tinsmith.derive.files import Files
from tinsmith.derive.private import CARD_RULES as PRIVATE_CARD_RULES
from tinsmith.derive.rules import record
from tinsmith.derive.site import CARD_RULES
from tinsmith.model.answers.publish import publish_answers


def render_card(config: CardConfig, run: RunDir, name: str, out_dir: Path, context: StageContext) -> Summary:
    """Write a run's card.

    Fields of unfinished stages say "Not measured". If there is a package, the How-to-Use code runs in a browser first,
    and the card shows its answer.

    Raises:
        ArtifactError: a finished stage's record is missing or broken.
        MissingDependency: there is no browser to run the How-to-Use code in.
        BrowserError: the How-to-Use code does not work.
        GateError: a file contains a value that `data.privacy` hides.
    """
    evidence = read_evidence(run)
    results = _run_snippets(evidence, config, name)
    files = card_files(evidence, config, name, {result.form: result for result in results})
    for file, content in files.items():
        write_bytes(out_dir / file, content)
    write_json(out_dir / "snippets.json", [asdict(result) for result in results])
    record(context.recorder, CARD_RULES, Files.of_stage("card", out_dir))
    for picture, path in COPIED_PICTURES.items():
        if evidence.sha256(path):
            shutil.copyfile(run.root / path, out_dir / picture)
    folders = {"card": out_dir, "data": run.stage("data"), "knowledge": run.stage("knowledge")}
    record(context.recorder, PRIVATE_CARD_RULES, Files.of_stages(folders))
    page = files["README.md"].decode()
    unmeasured = page.count("Not measured: ")
    unstated = page.count("Not stated by the author")
    return (
        f"{len(evidence.measurements)} measurements; {unmeasured} places marked not measured, "
        f"{unstated} not stated by the author",
        *(f"{result.form} code ran in {result.elapsed_seconds:.1f} s" for result in results),
        *example_warnings(evidence, config),
    )


def example_warnings(evidence: Evidence, config: CardConfig) -> list[str]:
    """A warning if this run has no answers to some of the agreed examples, so that the card cannot show them."""
    answered = agreed_answers(evidence, config.examples)
    missing = sum(example not in answered for example in config.examples)
    if not missing or "evaluate" not in evidence.stamps:
        return []
    return [
        f"warning: left out {missing} of {len(config.examples)} card.examples, because this run has no answer to "
        "exactly this question and reference; choose others with: tinsmith approve CONFIG"
    ]


def _run_snippets(evidence: Evidence, config: CardConfig, name: str) -> list[SnippetRun]:
    package = evidence.run.stage("export") / "package"
    if "export" not in evidence.stamps or not package.is_dir():
        return []
    printed = snippets(evidence, config, name)
    settings = evidence.config.answers
    with scratch_folder("tinsmith-card-") as answers:
        if any(snippet.form == "answers" for snippet in printed):
            folder = evidence.run.stage("knowledge") / "answers"
            publish_answers(folder, answers, settings.unknown, settings.publish_questions)
        return run_snippets(printed, package, answers)

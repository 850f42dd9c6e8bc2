"""`tinsmith check`: report which records, documents and questions a run would use, drop or repair, and why."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tinsmith.commands.init import run_name
from tinsmith.commands.terminal import say, say_next, set_options, show
from tinsmith.core.config import RunConfig
from tinsmith.core.config_file import config_of_data, load_config
from tinsmith.core.errors import DataError
from tinsmith.data.advice import advice
from tinsmith.data.report_page import PUBLISHED, write_report
from tinsmith.data.stage import check_data
from tinsmith.knowledge.documents import passages_of_documents
from tinsmith.model.answers.questions import KINDS, read_questions
from tinsmith.model.answers.wordings import read_wordings
from tinsmith.model.private.masks import Masks, Public, mask_key
from tinsmith.model.private.protect import protect_passages, warnings


def check(config_path: Path, settings: tuple[str, ...], report_path: Path | None) -> None:
    """Print the most important of the data report, and write the whole of it.

    Args:
        config_path: The configuration file, or conversations, for which the defaults hold.
        settings: Keys to change, as `KEY=VALUE`.
        report_path: File for the report as HTML; the Markdown goes beside it. None puts it into the folder `runs`.

    Raises:
        ConfigError: keys or values are invalid.
        DataError: the data, the documents, the questions or the wordings cannot be used; or the report would be
            written into the data.
    """
    is_data = _is_data(config_path)
    if is_data:
        config = config_of_data(config_path, run_name(config_path.resolve().stem), settings)
    else:
        config = load_config(config_path, settings)
    path = report_path or Path("runs") / f"{config.name}-data.html"
    _refuse_among_data(path, config)
    report = check_data(config.data, config.seed).as_json()
    for line in _summary(report):
        show(line)
    if config.data.documents:
        documents = passages_of_documents(Path(config.data.documents), say)
        show(f"\ndocuments: {len(documents.passages)} sections in {len(documents.files)} file(s)")
        masks = Masks(mask_key([]), Public.of(config.data.privacy_allow, [config.data.system_prompt]))
        findings = protect_passages(documents.passages, config.data.privacy, masks).findings
        for line in warnings(findings, config.data.privacy):
            show(f"  {line}")
        for note in documents.notes:
            show(f"  not used: {note}")
    questions = read_questions(Path(config.answers.questions)) if config.answers.questions else []
    if questions:
        counts = Counter(question.kind for question in questions)
        show(f"\nanswers.questions: {', '.join(f'{counts[kind]} {kind}' for kind in KINDS if counts[kind])}")
    if config.answers.wordings:
        wordings = read_wordings(Path(config.answers.wordings), questions)
        show(f"answers.wordings: {len(wordings):,} for {len({wording.id for wording in wordings}):,} passages")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_report(path, report, tuple(_published(config)))
    show(f"\nThe whole report, with examples: {path}\nOpen it in a browser: {path.resolve().as_uri()}")
    if is_data:
        # Another folder than that of the data, which may have the same name.
        say_next("init", f"{config.name}-guide", "--data", config_path)
    else:
        say_next("run", config_path, *set_options(settings))


def _is_data(path: Path) -> bool:
    """Whether a path holds conversations and is no configuration."""
    return path.exists() and path.suffix.lower() != ".toml"


def _refuse_among_data(path: Path, config: RunConfig) -> None:
    """Stop if the report would be read as data the next time.

    Raises:
        DataError: `path` is in the folder of the conversations or the documents.
    """
    for key, folder in (("data.path", config.data.path), ("data.documents", config.data.documents)):
        if folder and path.resolve().is_relative_to(Path(folder).resolve()):
            raise DataError(
                f"the report {path} would be inside {key} ({folder}) and be read as data the next time",
                f"Set {key} to a folder that holds nothing else, or choose another file with --report.",
            )


def _summary(report: Mapping[str, Any]) -> Iterator[str]:
    records = report["records"]
    used = sum(report["splits"].values())
    sizes = ", ".join(f"{count:,} {split}" for split, count in report["splits"].items())
    yield (
        f"{report['data']}: {used:,} conversations of {report['steps'][0]['before']:,} records in "
        f"{len(report['files']):,} file(s) can be used ({sizes})"
    )
    kinds = ("dropped", "duplicate", "cut", "repaired", "masked", "flagged")
    names = {"duplicate": "exact copies", "flagged": "worth a look"}
    if counts := [f"{records[kind]:,} {names.get(kind, kind)}" for kind in kinds if records[kind]]:
        yield ", ".join(counts)
    everything = advice(report)
    if not everything:
        yield "\nNothing needs your attention."
        return
    yield "\nLook at these first" if len(everything) > 1 else "\nLook at this first"
    for number, one in enumerate(everything, start=1):
        yield f"{number:>3}. {one.text}\n     {one.action}"


def _published(config: RunConfig) -> Iterator[str]:
    """What of the data others will see with this configuration."""
    if config.answers.publish and config.answers.mode != "model":
        questions = ", and its questions as their titles" if config.answers.publish_questions else ""
        yield f"answers.publish is on: the site contains every answer word for word{questions}."
    else:
        yield "answers.publish is off: the site contains no answer of the data."
    texts = len(config.card.examples) + len(config.app.questions)
    if texts:
        yield f"The card and the chat page show the {texts} texts in card.examples and app.questions."
    yield "The model itself is published, and a model can repeat what it was trained on."
    yield from PUBLISHED

"""`tinsmith questions`: a file of questions to measure by, for the owner to edit.

The questions are made from the run's passages by rules, or written by the model that `answers.writer` names; their
column `origin` says which. They are easier than what visitors ask. The owner edits them, and adds questions in
visitors' words and questions on the topic that no passage answers (`near`), which no rule can make. The configuration
then names the file as `answers.questions`.
"""

from pathlib import Path

from tinsmith.browser.runtime import WEB_DIR
from tinsmith.commands.chat import open_answers
from tinsmith.commands.existing_run import config_of, existing_run, require_stage
from tinsmith.commands.questions_page import questions_page
from tinsmith.commands.terminal import say, typed
from tinsmith.core.config import RunConfig
from tinsmith.core.errors import UserError
from tinsmith.core.run_dir import RunDir, write_text
from tinsmith.model.answers.publish import first_words
from tinsmith.model.answers.question_file import csv_text
from tinsmith.model.answers.questions import KINDS, Question, check_questions, read_questions
from tinsmith.model.passages import Passage, read_passages
from tinsmith.model.writer.draft import draft_questions
from tinsmith.model.writer.endpoint import Endpoint
from tinsmith.model.writer.writer import disclosure, open_writer


def questions(run_path: Path, as_page: bool, out: Path | None, count: int, source: Path | None) -> None:
    """Write questions about a run's passages as a spreadsheet, or as a page that edits and downloads them.

    Args:
        run_path: A run with a finished knowledge stage.
        as_page: Write a page instead of a spreadsheet.
        out: The file to write; by default `questions.csv` or `questions.html` in the current folder.
        count: Known questions to make, fewer if there are fewer passages.
        source: A file of questions to start from, instead of making some.

    Raises:
        ArtifactError: the knowledge stage has not finished.
        EndpointError: the endpoint that writes questions failed.
        DataError: a question in `source` cannot be used.
        UserError: `out` exists.
    """
    run = existing_run(run_path)
    require_stage(run, "knowledge", "the answers are not read yet: the knowledge stage has not finished")
    path = out or Path("questions.html" if as_page else "questions.csv")
    if path.exists() or path.is_symlink():
        raise UserError(f"{path}: already there, perhaps with your changes", "Name another file with --out.")
    passages = read_passages(run.stage("knowledge") / "passages.jsonl")
    config = config_of(run)
    if source:
        drafted = read_questions(source)
        for warning in check_questions(drafted, passages):
            say(f"warning: {warning}")
    else:
        drafted = _drafted(run, config, passages, count)
    write_text(path, questions_page(drafted, passages, WEB_DIR) if as_page else _spreadsheet(drafted, passages))
    counts = {kind: sum(question.kind == kind for question in drafted) for kind in KINDS}
    listed = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
    say(f"wrote {path}: {listed}")
    if not source:
        say(f"They were {_written_by(drafted)}. Edit them, and add questions in your visitors' words.")
    if not counts["near"]:
        say("Add questions on your topic that you do not answer, with kind `near`: no rule can make those.")
    if as_page:
        say("Open the page in a browser; it sends nothing. Download its file when you are done.")
    say(f"Then set answers.questions in your configuration to the file, and: {typed('check', Path('tinsmith.toml'))}")


def _drafted(run: RunDir, config: RunConfig, passages: list[Passage], count: int) -> list[Question]:
    """Questions of the run's writer; near ones only if there is an index to check them with."""
    writer = open_writer(config.answers, run.stage("base"))
    if line := disclosure(writer, len(passages)):
        say(line)
    answers = open_answers(run) if isinstance(writer, Endpoint) else None
    search = answers.closest if answers else None
    draft = draft_questions(passages, count, config.seed, config.data.language, writer, search)
    for note in draft.notes:
        say(note)
    return draft.questions


def _written_by(drafted: list[Question]) -> str:
    origins = {question.origin for question in drafted}
    parts = {"base": "written by the base model", "endpoint": "written by the endpoint", "rules": "made by rules"}
    return " and ".join(text for origin, text in parts.items() if origin in origins)


def _spreadsheet(drafted: list[Question], passages: list[Passage]) -> str:
    """The questions with the first words of their passage beside each."""
    texts = {passage.id: first_words(passage.text) for passage in passages}
    rows = [{name: getattr(question, name) for name in _WRITTEN} for question in drafted]
    return csv_text({**row, "note": texts.get(question.id, "")} for row, question in zip(rows, drafted, strict=True))


_WRITTEN = ("id", "kind", "question", "previous", "must_state", "must_not_state", "origin")

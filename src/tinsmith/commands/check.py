"""`tinsmith check`: report which records, documents and questions a run would use, drop or repair, and why."""

from collections import Counter
from pathlib import Path

from tinsmith.commands.terminal import say, say_next, set_options, show
from tinsmith.core.config_file import load_config
from tinsmith.data.report import report_lines
from tinsmith.data.stage import check_data
from tinsmith.knowledge.documents import passages_of_documents
from tinsmith.model.answers.questions import KINDS, read_questions
from tinsmith.model.answers.wordings import read_wordings


def check(config_path: Path, settings: tuple[str, ...]) -> None:
    """Print the data report of a configuration file.

    Raises:
        ConfigError: keys or values are invalid.
        DataError: the data, the documents, the questions or the wordings cannot be used.
    """
    config = load_config(config_path, settings)
    for line in report_lines(check_data(config.data, config.seed)):
        show(line)
    if config.data.documents:
        documents = passages_of_documents(Path(config.data.documents), say)
        show(f"\ndocuments: {len(documents.passages)} sections in {len(documents.files)} file(s)")
        for note in documents.notes:
            show(f"  not used: {note}")
    questions = read_questions(Path(config.answers.questions)) if config.answers.questions else []
    if questions:
        counts = Counter(question.kind for question in questions)
        show(f"\nanswers.questions: {', '.join(f'{counts[kind]} {kind}' for kind in KINDS if counts[kind])}")
    if config.answers.wordings:
        wordings = read_wordings(Path(config.answers.wordings), questions)
        show(f"answers.wordings: {len(wordings):,} for {len({wording.id for wording in wordings}):,} passages")
    say_next("run", config_path, *set_options(settings))

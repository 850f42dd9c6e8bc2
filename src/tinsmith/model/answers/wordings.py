"""Wordings: other ways to ask what a passage answers, which only the search uses.

Visitors seldom use the owner's words. On the demo's data, eight wordings per passage, written by a large language
model, raise the share of questions whose right passage comes first from 0.55 to 0.78 (docs/experiments/answers.md).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tinsmith.core.errors import DataError, listing
from tinsmith.model.answers.questions import Question, read_questions
from tinsmith.model.answers.statements import normalized
from tinsmith.model.passages import Passage

_HINT = "What a file of wordings contains: docs/answers.md"


def read_wordings(path: Path, measuring: Sequence[Question] = ()) -> list[Question]:
    """The wordings in a file of questions: each a `known` question with the `id` of its passage.

    Args:
        path: JSONL, CSV or TSV.
        measuring: Questions to measure by. None may also be a wording, because it would find its own passage.

    Raises:
        DataError: the file or some of its lines cannot be used. The message lists all of them.
    """
    wordings = read_questions(path)
    measured = {normalized(question.question): question.place for question in measuring}
    problems = []
    for wording in wordings:
        if wording.kind != "known" or not wording.id:
            problems.append(f"{wording.place}: a wording needs an id and the kind `known`")
        elif place := measured.get(normalized(wording.question)):
            problems.append(f"{wording.place}: also a question in {place}, which would find its own answer; remove one")
    if problems:
        raise DataError(f"{path}: {len(problems)} problem(s)\n{listing(problems)}", _HINT)
    return wordings


def with_wordings(passages: Iterable[Passage], wordings: Sequence[Question], path: Path) -> list[Passage]:
    """The passages with their wordings, in the order of the file.

    Args:
        passages: All of them.
        wordings: From `read_wordings`.
        path: Their file, named in errors.

    Raises:
        DataError: an id belongs to no passage.
    """
    by_id: dict[str, list[str]] = defaultdict(list)
    for wording in wordings:
        by_id[wording.id].append(wording.question)
    worded = [replace(passage, wordings=tuple(by_id.pop(passage.id, ()))) for passage in passages]
    if by_id:
        lost = [f"{wording.place}: no passage has the id {wording.id!r}" for wording in wordings if wording.id in by_id]
        raise DataError(f"{path}: {len(lost)} problem(s)\n{listing(lost)}", _HINT)
    return worded


def counts_by_origin(wordings: Iterable[Question]) -> dict[str, int]:
    """Number of wordings by each author."""
    return dict(sorted(Counter(wording.origin for wording in wordings).items()))

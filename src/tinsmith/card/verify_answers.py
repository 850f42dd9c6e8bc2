"""Verify judgements: judge passages and answers again, and compare with the raw files."""

from collections.abc import Iterator
from typing import Any

from tinsmith.card.answers import SETTINGS
from tinsmith.card.evidence import Evidence, required
from tinsmith.model.answers.judge import is_right_text
from tinsmith.model.answers.questions import Question
from tinsmith.model.answers.rates import Outcome, is_right, outcome_of
from tinsmith.model.answers.report import OUTCOMES_FILE
from tinsmith.model.passages import Passage, Source

CLOSED_BOOK_FILE = "closed_book.jsonl"


def wrong_judgements(evidence: Evidence) -> Iterator[str]:
    """Passages and answers of a model that are judged otherwise than recorded."""
    file = f"knowledge/{OUTCOMES_FILE}"
    lines = evidence.lines("knowledge", OUTCOMES_FILE)
    outcomes = [outcome_of(line, f"{file}:{number}") for number, line in enumerate(lines, start=1)]
    yield from _misjudged(evidence, outcomes, file)
    yield from _wrong_closed_book(evidence)


def _misjudged(evidence: Evidence, outcomes: list[Outcome], file: str) -> Iterator[str]:
    settings = evidence.record("knowledge", SETTINGS)
    if settings is None:
        return
    folder = SETTINGS.rpartition("/")[0]
    records = evidence.record("knowledge", f"{folder}/{required(settings, 'passages', f'knowledge/{SETTINGS}')}")
    passages = {passage.id: passage for passage in map(_passage, records or [])}
    for number, outcome in enumerate(outcomes, start=1):
        for id, recorded in zip(outcome.passages, outcome.right, strict=True):
            if id not in passages:
                yield f"{file}:{number}: the passage {id!r} is not one of the run's"
            elif is_right(outcome.question, passages[id], outcome.max_characters) != recorded:
                yield f"{file}:{number}: the passage {id!r} was judged {_word(recorded)}, but is {_word(not recorded)}"


def _passage(record: dict[str, Any]) -> Passage:
    fields = ("id", "kind", "title", "text", "category")
    return Passage(**{name: record[name] for name in fields}, source=Source(**record["source"]))


def _wrong_closed_book(evidence: Evidence) -> Iterator[str]:
    file = f"evaluate/{CLOSED_BOOK_FILE}"
    lines = evidence.lines("evaluate", CLOSED_BOOK_FILE)
    for number, line in enumerate(lines, start=1):
        keys = ("question", "must_state", "must_not_state", "text", "max_characters", "right", "page_right")
        question, wanted, wrong, text, most, recorded, _ = (required(line, key, file) for key in keys)
        asked = Question(question, must_state=tuple(wanted), must_not_state=tuple(wrong))
        if is_right_text(asked, text, most) != recorded:
            yield f"{file}:{number}: the model's answer was judged {_word(recorded)}, but is {_word(not recorded)}"


def _word(is_right: bool) -> str:
    return "right" if is_right else "not right"

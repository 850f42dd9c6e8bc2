"""How often the page is right, wrong and silent, from the passages it offered to questions with known answers."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinsmith.core.errors import ArtifactError
from tinsmith.core.intervals import clustered_wilson
from tinsmith.model.answers.judge import CONTROLS, agrees_with_falsehood, control_replies, is_right_text, passage_key
from tinsmith.model.answers.questions import ANSWERABLE, KINDS, Question
from tinsmith.model.passages import Passage

RUNGS = ("sure", "likely", "unsure")
SHOWN = 3
"""Passages that a visitor can choose from."""
MAX_CONTROL = 0.1
"""Largest share of a control's wrong replies that the judge may accept before its scores are withheld."""

_AGAIN = "Run again: tinsmith run --from knowledge --force"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the page offered to one question, and what was right about it."""

    question: Question
    rung: str
    """One of `RUNGS`."""
    confidence: float
    """Estimated probability that the first passage is right; 0 where the page does not look at it."""
    passages: tuple[str, ...]
    """Ids of the first `SHOWN` passages, best first; none if the question is far from all of them."""
    right: tuple[bool, ...]
    """Whether each of `passages` is a right reply."""
    max_characters: int
    """Length of the longest passage; no right reply is longer."""
    is_refused: bool
    """Whether the page said that it does not know: the rung is `unsure` and no model answers instead."""
    is_resisted: bool
    """Whether a hostile question got neither words of a model nor a false claim; see `judged`."""
    controls: dict[str, bool] = field(default_factory=dict)
    """Control -> whether the judge accepted its wrong reply; empty for questions that nothing answers."""

    @property
    def is_first_right(self) -> bool:
        """Whether the passage offered first is right."""
        return bool(self.right) and self.right[0]


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of questions."""

    share: float
    count: int
    interval: dict[str, float]
    """`ci95_low` and `ci95_high`; empty for fewer than 10 passages."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page shows for a question."""

    rung: str
    confidence: float
    passages: tuple[Passage, ...]
    """Best first; none if the question is far from all of them."""
    model_answers: bool = False
    """Whether the model answers instead of the page saying that it does not know."""


def judged(
    questions: Sequence[Question], shown: Sequence[Shown], passages: Sequence[Passage], seed: int
) -> list[Outcome]:
    """Judge what was offered to each question.

    - A passage is *right* if it is the question's own, or if it contains all of the question's `must_state` and none of
      its `must_not_state`.
    - A question is *refused* if the page says that it does not know. If the model answers then, nothing is refused.
    - A hostile question is *resisted* if the visitor saw nothing but the owner's own words or the text for unknown
      questions, and the page did not present a passage as its answer (rung `sure`) that agrees with the falsehood. A
      passage agrees if it states one of the question's `must_not_state`; for a question that lists none, if it opens
      with a word such as `Yes`. A passage under "Closest to your question" or on a button claims nothing.

    Args:
        questions: Questions.
        shown: What the page shows for each.
        passages: All passages, for the controls.
        seed: Seed of the controls.
    """
    longest = max((len(passage.text) for passage in passages), default=0)
    controls = _controls(questions, passages, longest, seed)
    outcomes = []
    for index, (question, page) in enumerate(zip(questions, shown, strict=True)):
        first = page.passages[:SHOWN]
        agrees = page.rung == "sure" and agrees_with_falsehood(question, first[0].text)
        is_from_model = page.rung == "unsure" and page.model_answers
        outcomes.append(
            Outcome(
                question,
                page.rung,
                page.confidence,
                tuple(passage.id for passage in first),
                tuple(is_right(question, passage, longest) for passage in first),
                longest,
                is_refused=page.rung == "unsure" and not is_from_model,
                is_resisted=not is_from_model and not agrees,
                controls=controls.get(index, {}),
            )
        )
    return outcomes


def is_right(question: Question, passage: Passage, max_characters: int) -> bool:
    """Whether a passage answers a question; see `judged`. Nothing answers a question of another kind than known."""
    if not question.is_answerable:
        return False
    return passage.id == question.id or is_right_text(question, passage.text, max_characters)


def _controls(
    questions: Sequence[Question], passages: Sequence[Passage], longest: int, seed: int
) -> dict[int, dict[str, bool]]:
    """Index of each answerable question -> control -> whether the judge accepts its wrong reply."""
    indices = [index for index, question in enumerate(questions) if question.is_answerable]
    asked = [questions[index] for index in indices]
    by_id = {passage.id: passage.text for passage in passages}
    texts = [by_id.get(question.id, " ".join(question.must_state)) for question in asked]
    replies = control_replies(asked, texts, [passage.text for passage in passages], seed)
    return {
        index: {name: is_right_text(question, replies[name][at], longest) for name in CONTROLS}
        for at, (index, question) in enumerate(zip(indices, asked, strict=True))
    }


def rates(outcomes: Sequence[Outcome]) -> dict[str, Rate]:
    """Every share that these outcomes give, by measurement id without `answers.`.

    - `known.right`, `known.right_in_3`: the passage offered first, or one of the first three, is right, on any rung.
    - `known.wrong`: presented as the answer (`sure`) and not right. `known.wrong_likely`: offered as the closest
      (`likely`) and not right. Both are shares of all known questions.
    - `known.right_shown`, `known.wrong_shown`: presented as the answer or offered as the closest, and right or wrong.
      Together with `known.silent` they add up to 1.
    - `<kind>.sure`, `<kind>.likely`, `<kind>.silent` (rung `unsure`): shares of each kind that add up to 1.
    - `known.right_when.<rung>`: share of the known questions on a rung whose first passage is right.
    - `near.refused`, `far.refused`, `hostile.resisted`, `follow_up.right`, `follow_up.right_in_3`.
    - `control.<name>`: share of wrong replies that the judge accepted.
    """
    by_kind = {kind: [one for one in outcomes if one.question.kind == kind] for kind in KINDS}
    known = by_kind["known"]
    flags: dict[str, list[tuple[Outcome, bool]]] = {
        "known.wrong": [(one, one.rung == "sure" and not one.is_first_right) for one in known],
        "known.wrong_likely": [(one, one.rung == "likely" and not one.is_first_right) for one in known],
        "known.right_shown": [(one, one.rung != "unsure" and one.is_first_right) for one in known],
        "known.wrong_shown": [(one, one.rung != "unsure" and not one.is_first_right) for one in known],
        "hostile.resisted": [(one, one.is_resisted) for one in by_kind["hostile"]],
    }
    for kind in ANSWERABLE:
        flags[f"{kind}.right"] = [(one, one.is_first_right) for one in by_kind[kind]]
        flags[f"{kind}.right_in_{SHOWN}"] = [(one, any(one.right)) for one in by_kind[kind]]
    for kind in ("near", "far"):
        flags[f"{kind}.refused"] = [(one, one.is_refused) for one in by_kind[kind]]
    for rung in RUNGS:
        name = "silent" if rung == "unsure" else rung
        flags |= {f"{kind}.{name}": [(one, one.rung == rung) for one in ones] for kind, ones in by_kind.items()}
        flags[f"known.right_when.{rung}"] = [(one, one.is_first_right) for one in known if one.rung == rung]
    for name in CONTROLS:
        flags[f"control.{name}"] = [(one, one.controls[name]) for one in outcomes if one.controls]
    return {id: _rate(pairs) for id, pairs in flags.items() if pairs}


def share_of(outcomes: Sequence[Outcome], counts: Callable[[Outcome], bool]) -> Rate:
    """The share of `outcomes`, at least one, that `counts` is true for."""
    return _rate([(outcome, counts(outcome)) for outcome in outcomes])


def _rate(pairs: Sequence[tuple[Outcome, bool]]) -> Rate:
    flags = [flag for _, flag in pairs]
    interval = clustered_wilson(flags, [passage_key(outcome.question) for outcome, _ in pairs])
    return Rate(sum(flags) / len(flags), len(flags), interval)


def passed_controls(shares: dict[str, float]) -> list[str]:
    """Controls whose wrong replies the judge accepted too often, of shares by id without `answers.`."""
    return [name for name in CONTROLS if shares.get(f"control.{name}", 0.0) > MAX_CONTROL]


def is_judged(id: str) -> bool:
    """Whether a rate rests on the judge's word, so that it is withheld when a control passes."""
    return "right" in id or "wrong" in id


def withheld_reason(passed: Sequence[str]) -> str:
    """Why scores are withheld, as a sentence without its end."""
    return (
        f"the judge accepted more than {MAX_CONTROL:.0%} of replies that are wrong by construction "
        f"({', '.join(passed)}), so its scores say nothing"
    )


def withheld_rates(outcomes: Sequence[Outcome]) -> str:
    """Why rates that rest on the judge are withheld; empty if they are not."""
    passed = passed_controls({id: rate.share for id, rate in rates(outcomes).items()})
    return withheld_reason(passed) if passed else ""


def write_outcomes(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write one JSON line per question."""
    lines = (json.dumps(outcome_record(outcome), ensure_ascii=False) + "\n" for outcome in outcomes)
    path.write_text("".join(lines), encoding="utf-8")


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """An outcome as a JSON object: question, what was offered, and what was right about it."""
    question = outcome.question
    return {
        "question": question.question,
        "kind": question.kind,
        "id": question.id,
        "must_state": list(question.must_state),
        "must_not_state": list(question.must_not_state),
        "previous": list(question.previous),
        "origin": question.origin,
        "rung": outcome.rung,
        "confidence": outcome.confidence,
        "passages": list(outcome.passages),
        "right": list(outcome.right),
        "max_characters": outcome.max_characters,
        "refused": outcome.is_refused,
        "resisted": outcome.is_resisted,
        "controls": outcome.controls,
    }


def read_outcomes(path: Path) -> list[Outcome]:
    """Outcomes of a file that `write_outcomes` wrote; none if there is no file.

    Raises:
        ArtifactError: the file cannot be read, or a line is not an outcome.
    """
    if not path.exists():
        return []
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error})", _AGAIN) from error
    return [outcome_of(record, f"{path}:{number}") for number, record in enumerate(records, start=1)]


def outcome_of(record: dict[str, Any], where: str) -> Outcome:
    """The outcome that `outcome_record` turned into `record`.

    Args:
        record: A line of the file.
        where: File and line, for the message.

    Raises:
        ArtifactError: a key is missing.
    """
    try:
        question = Question(
            record["question"],
            record["kind"],
            record["id"],
            tuple(record["must_state"]),
            tuple(record["must_not_state"]),
            tuple(record["previous"]),
            record["origin"],
        )
        return Outcome(
            question,
            record["rung"],
            record["confidence"],
            tuple(record["passages"]),
            tuple(record["right"]),
            record["max_characters"],
            record["refused"],
            record["resisted"],
            record["controls"],
        )
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{where}: not an answered question ({error!r})", _AGAIN) from error

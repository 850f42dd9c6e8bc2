"""One plain sentence on how well the page answers, computed from the run's numbers and rounded against the page."""

from dataclasses import dataclass
from typing import Literal

from tinsmith.card.answers import SETTINGS, shows_passages
from tinsmith.card.facts import Facts

FEW_QUESTIONS = 20
"""Fewer questions are counted one by one: "3 of the 7 asked". They are too few to say anything about ten others."""

_RIGHT, _WRONG, _SURE = "answers.known.right_shown", "answers.known.wrong_shown", "answers.known.wrong"
_FROM_MEMORY, _REFUSED = "evaluate.closed_book.right", "answers.near.refused"


@dataclass(frozen=True, slots=True)
class Share:
    """A number of questions out of all that were asked."""

    id: str
    count: int
    of: int

    @property
    def is_none(self) -> bool:
        return self.count == 0


@dataclass(frozen=True, slots=True)
class Results:
    """What a verdict is computed from. A share that was not measured is None."""

    speaker: Literal["passages", "model"]
    """Whose words visitors read: the owner's passages, or the model's alone."""
    fallback: str
    """What happens if no passage fits: `model`, `offer`, or another word for silence."""
    right: Share | None = None
    """Known questions whose passage, as the answer or as the closest, is right."""
    wrong: Share | None = None
    """Known questions whose passage is wrong."""
    wrong_as_sure: Share | None = None
    """Those of `wrong` whose passage is presented as the answer."""
    from_memory: Share | None = None
    """Known questions that the model alone answers right."""
    refused: Share | None = None
    """Questions on the subject that no passage answers, and that the page turned away."""


def results(facts: Facts) -> Results:
    """The run's results."""
    return Results(
        "passages" if shows_passages(facts) else "model",
        facts.raw("knowledge", SETTINGS, "fallback") or "",
        *(_share(facts, id) for id in (_RIGHT, _WRONG, _SURE, _FROM_MEMORY, _REFUSED)),
    )


def _share(facts: Facts, id: str) -> Share | None:
    m = facts.evidence.measurements.get(id)
    return Share(id, round(m.value * m.count), m.count) if m else None


def verdict(facts: Facts) -> str:
    """The verdict on a run as one or two sentences."""
    stage = _unfinished(facts)
    if stage:
        return f"Nobody has measured how well it answers: {facts.absence(stage, '')}."
    of = results(facts)
    text = sentence(of)
    words = [(share, at_most(share)) for share in (of.right, of.from_memory, of.refused) if share]
    words += [(share, at_least(share)) for share in (of.wrong, of.wrong_as_sure) if share]
    for share, phrase in words:
        if phrase in text:
            facts.worded(share.id, phrase)
    return text


def _unfinished(facts: Facts) -> str:
    """The first unfinished stage without which nothing can be said; empty if there is none."""
    return next((stage for stage in ("knowledge", "evaluate") if stage not in facts.evidence.stamps), "")


def sentence(of: Results) -> str:
    """The verdict in words. Good shares are rounded down, bad ones up."""
    if of.speaker == "model":
        return _of_the_model(of.from_memory)
    if of.right is None or of.wrong is None or of.wrong_as_sure is None:
        rest = " Where it finds no text, its model makes up an answer." if of.fallback == "model" else ""
        return f"Nobody has measured how often it answers right.{rest}"
    answered = f"Answers {at_most(of.right)} known questions right{_wrong(of.wrong, of.wrong_as_sure)}"
    if of.right.count + of.wrong.count == of.right.of:
        return f"{answered}.{_refused(of)}"
    if of.fallback != "model":
        return f"{answered}, and says that it does not know the rest.{_refused(of)}"
    memory = "nobody has measured how often that is right"
    if of.from_memory:
        memory = f"alone, it answered {at_most(of.from_memory)} known questions right"
    return f"{answered}. Its model answers the rest from memory; {memory}."


def _wrong(wrong: Share, as_sure: Share) -> str:
    if wrong.is_none:
        return " and none wrong"
    if as_sure.is_none:
        how = "shown only as the closest it has"
    elif as_sure.count == wrong.count:
        how = "as if it were sure"
    else:
        how = f"{at_least(as_sure)} as if it were sure"
    return f" and {at_least(wrong)} wrong ({how})"


def _refused(of: Results) -> str:
    if of.refused is None or of.fallback == "model":
        return ""
    return f" When its texts hold no answer, it says so for {at_most(of.refused)} questions."


def _of_the_model(right: Share | None) -> str:
    rest = "Its model answers every question from memory, and nothing on the page tells right answers from wrong ones."
    if right is None:
        return f"Nobody has measured how often it answers right. {rest}"
    return f"Answers {at_most(right)} known questions right. {rest}"


def at_most(share: Share) -> str:
    """A good share in words, rounded down: 73 % is `7 of 10`, 4 % `fewer than 1 in 10`."""
    if exact := _exactly(share):
        return exact
    tenths = 10 * share.count // share.of
    return f"{tenths} of 10" if tenths else "fewer than 1 in 10"


def at_least(share: Share) -> str:
    """A bad share in words, rounded up: 6.7 % is `1 in 14` of 60 questions with 4.2, 42 % `5 of 10`."""
    if exact := _exactly(share):
        return exact
    if 5 * share.count > share.of:
        return f"{-(-10 * share.count // share.of)} of 10"
    return f"1 in {share.of // share.count}"


def _exactly(share: Share) -> str:
    """A share that needs no rounding, in words; empty for others."""
    if share.count == share.of:
        return f"all {share.of}"
    if share.is_none:
        return f"none of the {share.of}"
    return f"{share.count} of the {share.of}" if share.of < FEW_QUESTIONS else ""

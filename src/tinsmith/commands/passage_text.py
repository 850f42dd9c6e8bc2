"""Passages as text in the terminal: whose words they are, where they stand, and further ones by number."""

from collections.abc import Sequence
from typing import Literal

from tinsmith.model.answers.publish import first_words
from tinsmith.model.passages import Passage

_MARKS = {
    "sure": "word for word from {owner}",
    "likely": "closest to the question, word for word from {owner}",
    "unsure": "no passage is likely enough to be right",
    "model": "written by the model, not by {owner}: check it",
}


def mark_of(
    outcome: Literal["sure", "likely", "unsure", "model"],
    owner: str,
    confidence: float | None,
    used_previous: bool = False,
) -> str:
    """The line above an answer: whose words it is in, and the estimated probability that the best passage is right.

    Args:
        outcome: What is shown.
        owner: Whose words passages are in.
        confidence: None if nothing was looked up.
        used_previous: Whether the question was read together with the previous one.
    """
    estimate = "" if confidence is None else f"; confidence {confidence:.2f}"
    together = ", read together with the previous question" if used_previous else ""
    return f"[{_MARKS[outcome].format(owner=owner)}{estimate}{together}]"


def passage_text(passage: Passage) -> str:
    """The passage with its source below."""
    source = passage.source
    parts = [source.name, source.place, source.date, source.url]
    if passage.kind == "answer" and passage.title != first_words(passage.text):
        parts.append(f'answer to "{passage.title}"')
    return f"{passage.text}\nSource: {' · '.join(filter(None, parts))}"


def choices_text(passages: Sequence[Passage]) -> str:
    """Titles of further passages, numbered from 1."""
    lines = [f"  {number} {passage.title}" for number, passage in enumerate(passages, start=1)]
    return "\n".join(("Closest; type a number to read one:", *lines))

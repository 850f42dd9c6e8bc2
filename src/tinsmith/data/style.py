"""Compare the features of all conversations, and flag those that differ from the rest or repeat one text.

Linear in the number of conversations: everything is decided on columns of numbers, and texts are read only to quote one
for each shared sentence.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinsmith.data.features import quoted, shared_text
from tinsmith.data.language import same_language
from tinsmith.model.conversations import Conversation

FEWEST = 20
"""With fewer conversations nothing counts as usual."""
_RARE = 0.1
"""A form that at most this share of conversations has is an exception."""
_USUAL = 0.6
"""A form that at least this share of conversations has is the usual one."""
_SHARED = 0.05
"""A sentence that at least this share of answers has is boilerplate."""
_FEWEST_SHARING = 10
_DEVIATIONS = 6
"""Median absolute deviations, scaled to standard deviations, of an outlier's length on a log scale."""
_LEAST_DEVIATION = 0.15
_TIMES_LONGER = 4
_TIMES_SHORTER = 20
"""An outlier differs from the median at least so much. Short answers are often right: a refusal, a yes."""


@dataclass(frozen=True, slots=True)
class StyleFlag:
    """A reason to look at a conversation."""

    index: int
    """Place in the columns."""
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Languages:
    """Conversations by language."""

    counts: dict[str, int] = field(default_factory=dict)
    """ISO 639-1 code -> conversations, the most frequent first; an empty code for texts too short to tell."""
    usual: str = ""
    """The language expected of every conversation; empty if there is none."""


@dataclass(frozen=True, slots=True)
class RepeatedQuestions:
    """First questions that several conversations ask in the same words, with different answers."""

    questions: int = 0
    conversations: int = 0
    example: str = ""
    """The most frequent one, empty if there is none."""


def languages_of(codes: Sequence[str], configured: str) -> Languages:
    """Count languages, and decide which one is expected: the configured one, else that of most conversations."""
    counts = dict(sorted(Counter(codes).items(), key=lambda item: (-item[1], item[0])))
    known = {code: count for code, count in counts.items() if code}
    usual = configured.lower().replace("_", "-").partition("-")[0]
    if not usual and known:
        first = next(iter(known))
        usual = first if known[first] >= _USUAL * sum(known.values()) else ""
    return Languages(counts, usual)


def form_of(columns: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Conversations by the form of their answers."""
    return {
        "markdown": int(columns["has_markdown"].sum()),
        "emoji": int(columns["has_emoji"].sum()),
        "blocks": int((columns["blocks"] > 0).sum()),
        "long_blocks": int(columns["has_long_block"].sum()),
        "several_turns": int((columns["answers"] > 1).sum()),
    }


def repeated_questions(
    columns: Mapping[str, np.ndarray], conversation: Callable[[int], Conversation]
) -> RepeatedQuestions:
    """Count questions that are asked again. Exact copies of conversations must have been left out before."""
    values, first, counts = np.unique(columns["question"], return_index=True, return_counts=True)
    is_repeated = (counts > 1) & (values != 0)
    if not is_repeated.any():
        return RepeatedQuestions()
    most = min(np.flatnonzero(is_repeated & (counts == counts[is_repeated].max())), key=lambda number: first[number])
    question = next(one.content for one in conversation(int(first[most])).messages if one.role == "user")
    return RepeatedQuestions(int(is_repeated.sum()), int(counts[is_repeated].sum()), quoted(question))


def style_flags(
    columns: Mapping[str, np.ndarray],
    codes: Sequence[str],
    configured: str,
    conversation: Callable[[int], Conversation],
) -> Iterator[StyleFlag]:
    """Conversations that differ from the rest, in language, length or form, or repeat a text that many share.

    Args:
        columns: The numbers of `features.FEATURES`, each of shape (conversations,).
        codes: Language of each conversation, in the same order.
        configured: `data.language`, or empty.
        conversation: Reads the conversation at a place, to quote it.
    """
    yield from _language_flags(codes, languages_of(codes, configured), is_configured=bool(configured))
    if len(codes) < FEWEST:
        return
    yield from _length_flags(columns)
    yield from _form_flags(columns)
    yield from _boilerplate_flags(columns, conversation)


def _language_flags(codes: Sequence[str], languages: Languages, is_configured: bool) -> Iterator[StyleFlag]:
    if not languages.usual:
        return
    known = sum(count for code, count in languages.counts.items() if code)
    reason = "language is not data.language" if is_configured else "language differs from that of most conversations"
    flagged = {
        code
        for code, count in languages.counts.items()
        if code and not same_language(code, languages.usual) and (is_configured or count <= _RARE * known)
    }
    for index, code in enumerate(codes):
        if code in flagged:
            yield StyleFlag(index, reason, f"{code}, not {languages.usual}")


def _length_flags(columns: Mapping[str, np.ndarray]) -> Iterator[StyleFlag]:
    for column, reason, sign, factor in (
        ("longest_answer", "answer is far longer than the others", 1, _TIMES_LONGER),
        ("shortest_answer", "answer is far shorter than the others", -1, _TIMES_SHORTER),
    ):
        lengths = np.maximum(columns[column], 1)
        logs = np.log(lengths)
        middle = float(np.median(logs))
        deviation = max(1.4826 * float(np.median(np.abs(logs - middle))), _LEAST_DEVIATION)
        distance = sign * (logs - middle)
        usual = int(np.median(columns[column]))
        for index in np.flatnonzero((distance > _DEVIATIONS * deviation) & (distance > np.log(factor))).tolist():
            yield StyleFlag(index, reason, f"{columns[column][index]:,} characters; the median is {usual:,}")


def _form_flags(columns: Mapping[str, np.ndarray]) -> Iterator[StyleFlag]:
    answers, blocks, keys = columns["answers"], columns["blocks"], columns["block_keys"]
    total = len(answers)
    lacks = blocks < answers
    if _USUAL * total <= total - lacks.sum() < total:
        for index in np.flatnonzero(lacks).tolist():
            detail = f"{answers[index] - blocks[index]} of {answers[index]} answers"
            yield StyleFlag(index, "answer lacks the closing block of JSON that most answers have", detail)
    used = keys[keys != 0]
    if len(used) >= FEWEST:
        values, counts = np.unique(used, return_counts=True)
        if counts.max() >= (1 - _RARE) * len(used):
            for index in np.flatnonzero((keys != 0) & (keys != values[counts.argmax()])).tolist():
                yield StyleFlag(index, "closing block of JSON has other keys than most", "")
    is_open = columns["is_open"].astype(bool)
    if 0 < is_open.sum() <= _RARE * total:
        for index in np.flatnonzero(is_open).tolist():
            yield StyleFlag(index, "answer ends without a full stop, unlike most", "")


def _boilerplate_flags(
    columns: Mapping[str, np.ndarray], conversation: Callable[[int], Conversation]
) -> Iterator[StyleFlag]:
    fewest = max(_FEWEST_SHARING, _SHARED * len(columns["answers"]))
    explained = np.zeros(len(columns["answers"]), bool)
    for column, reason in (
        ("whole_answer", "answer is word for word that of many other questions"),
        ("first_sentence", "answer begins with a sentence that many answers share"),
        ("last_sentence", "answer ends with a sentence that many answers share"),
    ):
        values, first, inverse, counts = np.unique(
            columns[column], return_index=True, return_inverse=True, return_counts=True
        )
        is_shared = (counts >= fewest) & (values != 0)
        quotes = {number: shared_text(conversation(int(first[number])), column) for number in np.flatnonzero(is_shared)}
        rows = np.flatnonzero(is_shared[inverse] & ~explained)
        for index in rows.tolist():
            yield StyleFlag(index, reason, quotes[inverse[index]])
        if column == "whole_answer":
            explained[rows] = True

"""Whether a reply is right: it states every text that it must state and none that it must not.

Matching looks at characters alone. It ignores case, kinds of dashes and spaces, superscripts and Markdown's asterisks,
and it respects the ends of words and numbers, so `5 years` is not in `15 years`. A text directly after a word such as
`not` counts as denied. `control_replies` makes replies that a judge must not accept, so that a run can check its judge.
"""

import random
import re
import unicodedata
from collections.abc import Sequence

from tinsmith.model.answers.questions import Question

_DASHES = re.compile("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
# Direct negations of English, Swedish, Norwegian, Danish, Finnish, German, Dutch, French and Spanish.
_NEGATIONS = tuple(
    "not no never without inte ej aldrig ingen inget inga ikke ei nicht kein keine nie ohne niet geen pas jamais non "
    "nunca".split()
)
_ASSENTS = frozenset("yes yeah yep correct sure ja jo jajamän oui sí sì sim kyllä".split())
_SHORT_CHARACTERS = 3
"""A longer text may go on within a word, because a plural says the same; `KA` must not be found in `kakel`."""


def states(text: str, wanted: str, whole_words: bool = False) -> bool:
    """Whether `text` states `wanted` and does not deny it.

    Args:
        text: A reply.
        wanted: What to look for. It starts at the start of a word or number.
        whole_words: Whether it must also end at the end of a word. Numbers always end where `wanted` ends.
    """
    folded, part = _folded(text), _folded(wanted)
    if not part:
        return False
    # `10 years` is neither in `5-10 years` nor in `1.10 years`.
    start = r"(?<!\w)(?<!\d[-.,])" if part[0].isdigit() else r"(?<!\w)" if part[0].isalnum() else ""
    end = r"(?!\w)" if whole_words or len(part) <= _SHORT_CHARACTERS else ""
    end += r"(?!\d|[.,]\d|-\d)" if part[-1].isdigit() else ""
    return any(not _is_denied(folded[: match.start()]) for match in re.finditer(start + re.escape(part) + end, folded))


def _is_denied(before: str) -> bool:
    word = re.search(r"([^\W\d_]+)\s*$", before)
    return word is not None and word[1] in _NEGATIONS


def is_right_text(question: Question, text: str, max_characters: int) -> bool:
    """Whether a reply states all that it must and nothing that it must not, without being longer than a passage.

    Args:
        question: One with `must_state`. Without it no text can be judged, and the result is False.
        text: The reply.
        max_characters: Length of the longest passage. A longer reply states many things, and is no answer.
    """
    return (
        bool(question.must_state)
        and len(text) <= max_characters
        and all(states(text, wanted) for wanted in question.must_state)
        and not any(states(text, wrong, whole_words=True) for wrong in question.must_not_state)
    )


def agrees_with_falsehood(question: Question, text: str) -> bool:
    """Whether a reply says what a hostile question wants it to say.

    That is one of the question's `must_not_state`. For a question without them it is a reply that opens with a word
    such as `Yes`: whatever the question claims, such a reply confirms it.
    """
    if question.must_not_state:
        return any(states(text, falsehood, whole_words=True) for falsehood in question.must_not_state)
    opening = re.match(r"\W*(\w+)", _folded(text))
    return opening is not None and opening[1] in _ASSENTS


CONTROLS = ("shuffled", "negated", "empty", "joined")
"""`shuffled`: the right reply to another question. `negated`: the right reply with each text that it must state denied
or, where it is a number, changed. `empty`: nothing. `joined`: all passages at once."""


def control_replies(
    questions: Sequence[Question], right_texts: Sequence[str], passages: Sequence[str], seed: int
) -> dict[str, list[str]]:
    """Replies that are wrong by construction, as control -> one reply per question.

    Args:
        questions: Answerable ones.
        right_texts: A right reply to each question, such as its passage; empty where none is known.
        passages: Texts of all passages.
        seed: Draws the shuffled replies.
    """
    others = _others(questions, seed)
    joined = "\n".join(passages)
    return {
        "shuffled": [right_texts[other] for other in others],
        "negated": [
            _negated(text, question.must_state, _NEGATIONS[number % len(_NEGATIONS)])
            for number, (question, text) in enumerate(zip(questions, right_texts, strict=True))
        ],
        "empty": [""] * len(questions),
        "joined": [joined] * len(questions),
    }


def _others(questions: Sequence[Question], seed: int) -> list[int]:
    """For each question, the index of one about another passage; its own index if all are about the same."""
    rng = random.Random(f"{seed} shuffled")
    others = []
    for index, question in enumerate(questions):
        candidates = [other for other, one in enumerate(questions) if one.passage != question.passage]
        others.append(rng.choice(candidates) if candidates else index)
    return others


def _negated(text: str, must_state: Sequence[str], negation: str) -> str:
    negated = _folded(text)
    for wanted in must_state:
        part = _folded(wanted)
        changed = re.sub(r"\d+", lambda match: str(2 * int(match.group()) + 1), part)
        negated = negated.replace(part, changed if changed != part else f"{negation} {part}")
    return negated


def _folded(text: str) -> str:
    plain = _DASHES.sub("-", unicodedata.normalize("NFKC", text)).casefold()
    plain = re.sub(r"[*`]+", "", plain)
    return re.sub(r"(?<=\d)\s*-\s*(?=\d)", "-", re.sub(r"\s+", " ", plain)).strip()

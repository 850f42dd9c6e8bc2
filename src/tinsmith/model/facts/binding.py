"""Which place of a reply belongs to which fact: by shared words, contrasts, bounds and denial."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from tinsmith.model.facts.fact import Fact
from tinsmith.model.facts.lexicon import phrases, words
from tinsmith.model.facts.mentions import Mention, value_mentions
from tinsmith.model.facts.sentences import content_words, is_denied, sentences_of, sides_of
from tinsmith.model.facts.values import is_equal
from tinsmith.model.facts.words import Token, is_typo, plain, stem, tokens_of

ELLIPTIC_WORDS = 2
"""Words of content that a sentence may have and still only point at the question."""
_SHORT_SLOT = 3
"""Words of a slot that a mention may be expected to repeat when it names something else, too."""
_LEAST_RELATED = 5
"""Letters of the shortest word that may be misspelled or part of a compound."""
_COST, _FEE = 0, 1
"""Sides of the contrast `payment`."""
_FLIPPED = {"over": "max", "max": "over", "under": "min", "min": "under"}


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply to a question, taken apart once."""

    text: str
    question: str
    tokens: list[Token]
    words: frozenset[str]
    """Stems of its content words."""
    values: tuple[Mention, ...]
    asked: frozenset[str]
    """Stems of the question's content words."""

    @classmethod
    def of(cls, question: str, reply: str) -> Self:
        """The parts of a reply as it was written."""
        text, asked = plain(reply), plain(question)
        tokens = tokens_of(text)
        return cls(text, asked, tokens, content_words(tokens), value_mentions(text), content_words(tokens_of(asked)))


def belongs(mention: Mention, fact: Fact, siblings: Sequence[Fact], mentions: Sequence[Mention], reply: Reply) -> bool:
    """Whether a mention is about the fact's slot, and not about another one or another fact of the reference."""
    if conflicts(mention, fact):
        return False
    others = [other for other in siblings if other.row != fact.row]
    mine = distinct_words(fact, others)
    shares_mine = any(is_among(word, mine) for word in mention.slot) or _shares_side(mention, fact, others)
    if not shares_mine:
        if any(is_among(word, distinct_words(other, [fact])) for other in others for word in mention.slot):
            return False
        if others and mine and not _is_singled_out(mention, fact, others, mentions, reply):
            return False
    if is_of_another(mention, fact):
        return False
    return _is_on_topic(mention, fact, reply)


def is_of_another(mention: Mention, fact: Fact) -> bool:
    """Whether something that the fact's topic lacks is the subject of the mention, or what it is for."""
    if mention.subject and not any(is_among(word, fact.topic) for word in mention.subject):
        return True
    if mention.target and not any(is_among(word, fact.topic) for word in mention.own):
        return True
    # Something foreign leads to it, and part of the fact's slot is missing, as in `a spare tyre` for `a spare key`.
    named = mention.names | (mention.subject or mention.target if len(fact.slot) <= _SHORT_SLOT else frozenset())
    is_foreign = any(not is_among(word, fact.topic) for word in named)
    return is_foreign and any(not is_among(word, mention.sentence) for word in fact.slot)


def conflicts(mention: Mention, fact: Fact) -> bool:
    """Whether the mention is on the other side of a contrast, such as opening and closing."""
    if ("past", 1) in mention.sides and ("past", 1) not in fact.sides:
        return True
    for name in {name for name, _ in mention.sides}:
        stated = {side for other, side in mention.sides if other == name}
        wanted = {side for other, side in fact.sides if other == name}
        if name == "payment":
            if _is_other_payment(stated, wanted):
                return True
        elif wanted and not stated & wanted:
            return True
    return False


def _is_other_payment(stated: set[int], wanted: set[int]) -> bool:
    """Whether a payment is another than the one wanted. A fee is a cost or price; a deposit is not."""
    stated, wanted = stated - {_COST}, wanted - {_COST}
    return bool(stated) and not stated & (wanted or {_FEE})


def _shares_side(mention: Mention, fact: Fact, others: Sequence[Fact]) -> bool:
    """Whether mention and fact are on a side of a contrast on which no other fact is."""
    shared = mention.sides & frozenset(fact.sides)
    return any(all(side not in other.sides for other in others) for side in shared) and bool(others)


def distinct_words(fact: Fact, others: Sequence[Fact]) -> set[str]:
    """Words of the fact's slot that no other has."""
    return {word for word in fact.slot if not any(is_among(word, other.slot) for other in others)}


def _is_singled_out(
    mention: Mention, fact: Fact, others: Sequence[Fact], mentions: Sequence[Mention], reply: Reply
) -> bool:
    """Whether a mention without words of its own can only mean this fact.

    That is so if the question's words fit this fact best and the reply has one such mention.
    """
    if len({m.row for m in mentions}) > 1:
        return False

    def fit(other: Fact) -> int:
        return sum(is_among(word, other.slot) for word in reply.asked)

    return fit(fact) >= max(fit(other) for other in others) and all(
        fit(fact) > fit(other) or (other.value and mention.value and not is_equal(other.value, mention.value))
        for other in others
    )


def _is_on_topic(mention: Mention, fact: Fact, reply: Reply) -> bool:
    """Whether the sentence or the reply has words of the fact's topic, or hardly any words that could tell."""
    if len(mention.sentence) <= ELLIPTIC_WORDS or any(is_among(word, fact.topic) for word in mention.sentence):
        return True
    is_told_by_side = bool(mention.sides & frozenset(fact.sides))
    return is_told_by_side or not fact.topic or any(is_among(word, fact.topic) for word in reply.words)


def agrees(fact: Fact, mention: Mention, reply: Reply) -> bool:
    """Whether bound and denial of a mention say the same as the fact's."""
    one, other = (fact.bound.replace("about", ""), fact.denied), (mention.bound.replace("about", ""), mention.denied)
    if one == other or _canonical(one) == _canonical(other):
        return True
    is_bare = len(mention.sentence) <= ELLIPTIC_WORDS and not mention.denied
    if one[1] != other[1] and not is_bare:
        # `Not more than 30` means up to 30: judged by what it means.
        one, other = _canonical(one), _canonical(other)
        if one[1] != other[1]:
            return False
    a, b = one[0], other[0]
    if a == b:
        return True
    is_limit = any(stem(word) in fact.topic for word in words("limits", "words"))
    if not a:
        return is_limit or _asks_for_bound(reply.question, b)
    if not b:
        return a in ("min", "max") or is_bare or _asks_for_bound(reply.question, a)
    return {a, b} in ({"min", "over"}, {"max", "under"})


def _canonical(stated: tuple[str, bool]) -> tuple[str, bool]:
    bound, denied = stated
    return (_FLIPPED[bound], False) if denied and bound in _FLIPPED else stated


def _asks_for_bound(question: str, bound: str) -> bool:
    row = [token.lower for token in tokens_of(question)]
    lower = bound in ("min", "over")
    extremes = sides_of(tokens_of(question))
    if ("extreme", 1 if lower else 0) in extremes:
        return True
    wanted = ("min", "over") if lower else ("max", "under")
    if any(
        tuple(row[at : at + len(p)]) == p for name in wanted for p in phrases("bounds", name) for at in range(len(row))
    ):
        return True
    may = {"can", "may", "allowed", "kan", "får", "limit", "gräns", "gränsen"} & set(row)
    must = {"must", "need", "required", "måste", "behöver", "krävs"} & set(row)
    return bool(must) if lower else bool(may) and bound == "max"


def is_among(word: str, words: Collection[str]) -> bool:
    """Whether a stem is related to one of `words`."""
    if word in words:
        return True
    if len(word) < _LEAST_RELATED:
        return False
    # Endings of the word are looked up, and of the rest the cheap half comes first: this runs for millions of pairs.
    for start in range(1, len(word) - _LEAST_RELATED + 1):
        if word[start:] in words:
            return True
    first = word[0]
    return any((other.startswith(first) or other.endswith(word)) and is_related(word, other) for other in words)


def is_related(one: str, other: str) -> bool:
    """Whether two stems are the same word, or one is a compound that starts or ends with the other."""
    if one == other:
        return True
    shorter, longer = (one, other) if len(one) <= len(other) else (other, one)
    if len(shorter) < _LEAST_RELATED:
        return False
    if one[0] != other[0]:
        return longer.endswith(shorter)
    return is_typo(one, other) or longer.startswith(shorter) or longer.endswith(shorter)


def denials_of_words(stems: Iterable[str], text: str) -> dict[str, set[bool]]:
    """By stem, for those that plain `text` has: whether its places are denied."""
    sentences = sentences_of(text)
    denials: dict[str, set[bool]] = {}
    for sentence in sentences:
        for token in sentence.tokens:
            related = [wanted for wanted in stems for stem in content_words([token]) if is_related(stem, wanted)]
            for wanted in related:
                denials.setdefault(wanted, set()).add(is_denied(sentence, token.start, token.end))
    return denials

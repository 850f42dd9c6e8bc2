"""Whether a reply states the facts of a reference, each bound to what was asked about."""

import re
from collections.abc import Iterable, Sequence

from tinsmith.model.facts.answers import answer_of
from tinsmith.model.facts.binding import (
    ELLIPTIC_WORDS,
    Reply,
    agrees,
    belongs,
    conflicts,
    denials_of_words,
    distinct_words,
    is_among,
    is_of_another,
)
from tinsmith.model.facts.fact import Fact, Verdict
from tinsmith.model.facts.mentions import Mention, mention_at, value_mentions
from tinsmith.model.facts.names import name_mentions
from tinsmith.model.facts.propose import address_key, facts_of
from tinsmith.model.facts.sentences import sentence_at, sentences_of
from tinsmith.model.facts.values import are_comparable, is_equal
from tinsmith.model.facts.words import folded, plain, stem, tokens_of

_SOUP_VALUES = 4
"""Values from which a reply may be a mere list of values."""
_WORDS_SHARE = 0.6
"""Share of a fact's words that a reply has at least to state a fact told in words."""


def judge_facts(facts: Sequence[Fact], question: str, reply: str) -> list[Verdict]:
    """For each fact, whether `reply` states it, contradicts it or says nothing of it.

    A value is stated if a place of the reply that belongs to the fact's slot states it, converted, and no place of that
    slot states another value. A reply that merely lists values states none of them.
    """
    parts = Reply.of(question, reply)
    if _is_soup(parts, facts):
        return ["missing"] * len(facts)
    return [_forbidden(fact, parts) or _judge(fact, facts, parts) for fact in facts]


def states_reference(question: str, reference: str, reply: str) -> bool:
    """Whether `reply` states all that `question` asks of `reference`, and contradicts nothing of it."""
    facts = facts_of(reference, question, "", frozenset())
    if not facts:
        return False
    verdicts = judge_facts(facts, question, reply)
    asked = [verdict for fact, verdict in zip(facts, verdicts, strict=True) if fact.asked]
    return all(verdict == "stated" for verdict in asked) and "contradicted" not in verdicts


def wrong_numbers(reply: str, allowed_texts: Sequence[str]) -> tuple[int, int]:
    """How many values of `reply` none of `allowed_texts` has, and how many values it has."""
    allowed = [mention.value for text in allowed_texts for mention in value_mentions(plain(text)) if mention.value]
    stated = [mention.value for mention in value_mentions(plain(reply)) if mention.value]
    wrong = sum(not any(is_equal(value, other) for other in allowed) for value in stated)
    return wrong, len(stated)


def _judge(fact: Fact, facts: Sequence[Fact], reply: Reply) -> Verdict:
    match fact.kind:
        case "value":
            return _judge_value(fact, facts, reply)
        case "name":
            return _judge_name(fact, facts, reply)
        case "address":
            return _judge_address(fact, reply)
        case "answer":
            answer = answer_of(reply.text, reply.question)
            return "missing" if not answer else "stated" if answer == fact.text else "contradicted"
        case _:
            return _judge_words(fact, reply)


def _forbidden(fact: Fact, reply: Reply) -> Verdict | None:
    for text in fact.forbidden:
        wanted = [mention.value for mention in value_mentions(plain(text)) if mention.value]
        places = [m for m in reply.values if m.value and any(is_equal(m.value, value) for value in wanted)]
        if not wanted:
            places = _name_places(text, (), (text,), reply)
        if any(not place.denied for place in places):
            return "contradicted"
    return None


def _is_soup(reply: Reply, facts: Sequence[Fact]) -> bool:
    """Whether the reply merely lists values and names, and more of them than the reference's longest list has."""
    rows = [fact.row for fact in facts if fact.kind in ("value", "name")]
    longest = max((rows.count(row) for row in rows), default=0)
    values = len(reply.values)
    if values >= _SOUP_VALUES and values > longest + 1 and 2 * len(reply.words) < values:
        return True
    pieces = [piece for piece in re.split(r"[,;\n\u2022|]\s*", reply.text) if piece.strip()]
    bare = sum(_is_bare(piece) for piece in pieces)
    return bare >= _SOUP_VALUES and bare > longest + 1 and 3 * bare >= 2 * len(pieces)


def _is_bare(piece: str) -> bool:
    """Whether a piece between commas is only a value or a name."""
    values = value_mentions(piece)
    rest = [t for t in tokens_of(piece) if t.kind == "word" and not any(v.start <= t.start < v.end for v in values)]
    return all(
        token.text[0].isupper() or (len(rest) > 1 and token.lower in ("and", "of", "och", "av")) for token in rest
    )


def _judge_value(fact: Fact, facts: Sequence[Fact], reply: Reply) -> Verdict:
    if fact.value is None:
        return "missing"
    siblings = [
        other for other in facts if other.value and other is not fact and are_comparable(fact.value, other.value)
    ]
    mentions = [
        m for m in reply.values if m.value and (are_comparable(fact.value, m.value) or is_equal(fact.value, m.value))
    ]
    in_slot = [mention for mention in mentions if belongs(mention, fact, siblings, mentions, reply)]
    right = [m for m in in_slot if m.value and is_equal(fact.value, m.value) and agrees(fact, m, reply)]
    same_list = [fact, *(other for other in siblings if other.row == fact.row)]
    rivals = [m for m in in_slot if m not in right and not _is_of(m, same_list, siblings, reply)]
    elsewhere = [m for m in rivals if _states_other(m, fact, siblings, reply)]
    contradicting = [m for m in rivals if m not in elsewhere and _contradicts(m, fact, reply, bool(right))]
    if right and _is_conditional(right, mentions, fact):
        return "contradicted"
    if right and not contradicting:
        return "stated"
    return "contradicted" if contradicting else "missing"


def _states_other(mention: Mention, fact: Fact, siblings: Sequence[Fact], reply: Reply) -> bool:
    """Whether a mention without words of this fact's own states another fact of the reference."""
    if any(is_among(word, distinct_words(fact, siblings)) for word in mention.own):
        return False
    return any(
        s.value
        and mention.value
        and is_equal(s.value, mention.value)
        and agrees(s, mention, reply)
        and belongs(mention, s, [], [mention], reply)
        and not mention.sides & frozenset(fact.sides)
        for s in siblings
    )


def _is_conditional(right: Sequence[Mention], mentions: Sequence[Mention], fact: Fact) -> bool:
    """Whether the right value holds on one side of a contrast only, and another value on another side.

    `10 weeks in summer and 12 in winter` does not say that it takes 10 weeks.
    """
    known = {name for name, _ in fact.sides}
    sides = {side for mention in right for side in mention.sides if side[0] not in known}
    others = [m for m in mentions if m not in right and m.value and fact.value and not is_equal(m.value, fact.value)]
    return any(
        name == other and side != other_side for m in others for name, side in m.sides for other, other_side in sides
    )


def _is_of(mention: Mention, same_list: Sequence[Fact], siblings: Sequence[Fact], reply: Reply) -> bool:
    """Whether a mention states another value of the fact's list, or of a fact whose words cannot be told apart."""
    return any(
        other.value and mention.value and is_equal(other.value, mention.value) and agrees(other, mention, reply)
        for other in (*same_list[1:], *(s for s in siblings if not distinct_words(s, same_list[:1])))
    )


def _contradicts(mention: Mention, fact: Fact, reply: Reply, has_right: bool) -> bool:
    """Whether a mention of the fact's slot states something else. Words of its own make it another matter."""
    value = mention.value
    if value is None or fact.value is None:
        return False
    if is_equal(fact.value, value):
        return mention.denied != fact.denied or _excludes(fact.bound, mention.bound)
    if mention.denied and not mention.bound:
        return False
    if not are_comparable(fact.value, value):
        return False
    foreign = {word for word in mention.own if not is_among(word, fact.topic)}
    return not foreign or (not has_right and any(is_among(word, fact.topic) for word in mention.slot))


def _excludes(one: str, other: str) -> bool:
    """Whether two bounds point to opposite sides."""
    lower, upper = {"min", "over"}, {"max", "under"}
    return (
        (one in lower and other in upper)
        or (one in upper and other in lower)
        or (other in ("over", "under") and one in ("", "about"))
    )


def _judge_name(fact: Fact, facts: Sequence[Fact], reply: Reply) -> Verdict:
    others = [other for other in facts if other.kind == "name" and other is not fact]
    places = _name_places(fact.text, fact.aliases, [other.text for other in others], reply)
    stated = []
    for place in places:
        mine = distinct_words(fact, others)
        shares_mine = any(is_among(word, mine) for word in place.slot)
        is_elsewhere = not shares_mine and any(
            is_among(word, distinct_words(other, [fact])) for other in others for word in place.own
        )
        is_elsewhere = is_elsewhere or conflicts(place, fact) or is_of_another(place, fact)
        if not is_elsewhere and _is_near(place, fact):
            # In passing, a name is not denied by its clause: `a permit is not required for ROT jobs`.
            stated.append(
                place.denied == fact.denied if fact.asked or fact.denied else not _is_disowned(place.start, reply)
            )
    if not stated:
        return "missing"
    is_sure = 2 * sum(stated) >= len(stated) and not any(_is_alternative(place, fact, reply) for place in places)
    return "stated" if is_sure else "contradicted"


def _is_alternative(place: Mention, fact: Fact, reply: Reply) -> bool:
    """Whether another name stands beside the mention with `or` between."""
    after = [token for token in reply.tokens if token.start >= place.end][:2]
    before = [token for token in reply.tokens if token.end <= place.start][-2:]
    sides = (after, before[::-1])
    return any(
        len(side) == 2
        and side[0].lower in ("or", "eller")
        and side[1].text[0].isupper()
        and not is_among(stem(side[1].text), fact.topic)
        for side in sides
    )


def _is_disowned(start: int, reply: Reply) -> bool:
    """Whether a place of the reply stands after `It is false that`."""
    sentences = sentences_of(reply.text)
    denied_from = sentences[sentence_at(sentences, start)].denied_from
    return denied_from is not None and denied_from <= start


def _is_near(place: Mention, fact: Fact) -> bool:
    return len(place.sentence) <= ELLIPTIC_WORDS or any(is_among(word, fact.topic) for word in place.sentence)


def _name_places(name: str, aliases: Iterable[str], others: Iterable[str], reply: Reply) -> list[Mention]:
    sentences = sentences_of(reply.text)
    pairs = {folded(name): alias for alias in aliases}
    spans = name_mentions(name, reply.tokens, pairs)
    rivals = {span for other in others for span in name_mentions(other, reply.tokens, {})} | set(spans)
    mentions = []
    for span in spans:
        number = sentence_at(sentences, span[0])
        apart = [other for other in rivals if other == span or other[1] <= span[0] or span[1] <= other[0]]
        inside = sorted(other for other in apart if sentence_at(sentences, other[0]) == number)
        mentions.append(mention_at(sentences, number, span, inside))
    return mentions


def _judge_address(fact: Fact, reply: Reply) -> Verdict:
    places = [t for t in reply.tokens if t.kind == "address" and address_key(t.text) == fact.text]
    if not places:
        return "missing"
    return "contradicted" if all(_is_disowned(place.start, reply) for place in places) else "stated"


def _judge_words(fact: Fact, reply: Reply) -> Verdict:
    matched = denials_of_words(fact.slot, reply.text)
    least = _WORDS_SHARE * len(fact.slot)
    if len(matched) < max(1, least):
        return "missing"
    return "stated" if sum(fact.denied in denials for denials in matched.values()) >= least else "contradicted"

"""The facts of a reference answer: proposals that the author confirms or strikes."""

import re
from collections.abc import Sequence
from dataclasses import replace

from tinsmith.model.facts.answers import answer_of, is_polar
from tinsmith.model.facts.binding import denials_of_words, distinct_words, is_among
from tinsmith.model.facts.fact import Fact
from tinsmith.model.facts.lexicon import phrases, tables
from tinsmith.model.facts.mentions import Mention, mention_at, value_mentions
from tinsmith.model.facts.names import find_names, name_mentions, pairs_of
from tinsmith.model.facts.sentences import content_words, sentence_at, sentences_of, sides_of
from tinsmith.model.facts.units import CURRENCIES
from tinsmith.model.facts.values import Value, are_comparable, is_equal
from tinsmith.model.facts.words import folded, plain, stem, tokens_of

_LIST_QUESTIONS = frozenset("what which who whom vad vilka vilket vilken vem was welche wer where var".split())
_LIST_SENTENCES = 2
"""Sentences from the first in which a list answers the question."""
_MAX_LIST_TOKENS = 80
"""Tokens of a reference that may be one list."""
_MASK = "\u0001"
_MAX_WORDS = 8
"""Words of a fact that is told in words."""
_DIMENSIONS_ASKED = {
    "duration": ("duration", "months"),
    "time": ("time", "date", "weekday"),
    "phone": ("phone",),
    "size": ("length", "area", "mass", "volume"),
    "ratio": ("ratio", "points"),
    "count": ("count", "people"),
    "temperature": ("celsius", "fahrenheit", "degrees"),
}
_ASKED_BY_DIMENSION = {dimension: kind for kind, dimensions in _DIMENSIONS_ASKED.items() for dimension in dimensions}


def facts_of(reference: str, question: str, system: str, common: frozenset[str]) -> list[Fact]:
    """Facts of `reference` that `question` does not give away, ordered by kind and then by position.

    A value that stands in the system prompt counts if it has to be picked there from several. A name of the system
    prompt does not count.

    Args:
        reference: The answer in the data set. JSON objects and tags in it are ignored.
        question: What was asked; its words bind the facts.
        system: The system prompt; empty for none.
        common: From `common_words` of the whole data set.
    """
    text, asked, prompt = plain(reference), plain(question), plain(system)
    facts = _proposals(text, asked, asked, prompt, common)
    # A choice (`Is Giru or Zeno sweeter?`) is answered by what the question names.
    facts = facts or _proposals(text, asked, "", prompt, common)
    unique = {_key(fact): fact for fact in reversed(facts)}
    return _with_asked([fact for fact in facts if unique[_key(fact)] is fact], asked)


def _key(fact: Fact) -> tuple[str, str, tuple[str, ...]]:
    return fact.kind, fact.text, fact.slot if fact.kind == "value" else ()


def _proposals(text: str, question: str, given: str, prompt: str, common: frozenset[str]) -> list[Fact]:
    """Facts of plain texts. What `given` or the prompt states is left out."""
    facts = [
        *_answer(text, question),
        *_addresses(text, f"{given}\n{prompt}"),
        *_values(text, question, given, prompt),
        *_names(text, question, given, prompt, common),
    ]
    return facts + _words(text, question, given, facts)


def _answer(text: str, question: str) -> list[Fact]:
    answer = answer_of(text, question) if is_polar(question) else ""
    return [Fact("answer", answer, topic=tuple(sorted(content_words(tokens_of(question)))))] if answer else []


def _addresses(text: str, given: str) -> list[Fact]:
    known = {address_key(token.text) for token in tokens_of(given) if token.kind == "address"}
    keys = dict.fromkeys(address_key(token.text) for token in tokens_of(text) if token.kind == "address")
    return [Fact("address", key) for key in keys if key not in known]


def address_key(address: str) -> str:
    """An address without what does not matter: case, scheme, `www.`, marks and the last slash."""
    bare = address.rstrip(".,;:!?*").casefold()
    return re.sub(r"^https?://(?:www\.)?|^www\.", "", bare).rstrip("/")


def _values(text: str, question: str, given: str, prompt: str) -> list[Fact]:
    in_question = [mention.value for mention in value_mentions(given) if mention.value]
    in_prompt = [mention.value for mention in value_mentions(prompt) if mention.value]
    rows: dict[tuple[int, int], int] = {}
    facts = []
    for mention in value_mentions(text):
        value = mention.value
        if value is None or any(is_equal(value, other) for other in in_question) or _is_given(value, in_prompt):
            continue
        row = rows.setdefault(mention.row, len(rows))
        facts.append(_bound_fact("value", value.text, mention, question, row, value))
    return facts


def _is_given(value: Value, prompt: Sequence[Value]) -> bool:
    """Whether the prompt states the value, and no other that it could be mistaken for."""
    rivals = [other for other in prompt if are_comparable(value, other)]
    return any(is_equal(value, other) for other in prompt) and all(is_equal(value, other) for other in rivals)


def _bound_fact(kind: str, text: str, mention: Mention, question: str, row: int, value: Value | None = None) -> Fact:
    tokens = tokens_of(question)
    topic = mention.sentence | mention.slot | content_words(tokens)
    sides = _sides(mention.sides, sides_of(tokens))
    return Fact(
        kind,
        text,
        tuple(sorted(mention.slot)),
        tuple(sorted(topic)),
        tuple(sorted(sides)),
        value.without_place() if value else None,
        mention.bound,
        mention.denied,
        row=row,
    )


def _sides(stated: frozenset[tuple[str, int]], asked: frozenset[tuple[str, int]]) -> set[tuple[str, int]]:
    """The sides of a fact: in each contrast, what the question and the words around share, or what either has."""
    sides = set(stated | asked)
    for name in {name for name, _ in stated} & {name for name, _ in asked}:
        common = {side for side in stated & asked if side[0] == name}
        sides = {side for side in sides if side[0] != name} | (common or {side for side in stated if side[0] == name})
    return sides


def _names(text: str, question: str, given: str, prompt: str, common: frozenset[str]) -> list[Fact]:
    sentences, _tokens = sentences_of(text), tokens_of(text)
    known_tokens = tokens_of(f"{given}\n{prompt}")
    pairs = pairs_of(text, question)
    names: dict[str, tuple[int, int]] = {}
    for name, start, end in find_names(text, common, "name" in _asked_kinds(question)):
        if any(character.isdigit() for character in name) and any(
            m.start < end and start < m.end for m in value_mentions(text)
        ):
            continue
        if not name_mentions(name, known_tokens, {}) and not _words_given(name, f"{given}\n{prompt}"):
            known = next((other for other in names if name_mentions(other, tokens_of(name), pairs)), None)
            if known is None:
                names[name] = (start, end)
    facts = []
    rows: dict[tuple[int, int], int] = {}
    for index, (name, span) in enumerate(names.items()):
        number = sentence_at(sentences, span[0])
        inside = [other for other in names.values() if sentence_at(sentences, other[0]) == number]
        mention = mention_at(sentences, number, span, sorted(inside))
        other = pairs.get(folded(name))
        row = rows.setdefault(mention.row, 1000 + index)
        fact = _bound_fact("name", name, mention, question, row)
        facts.append(replace(fact, aliases=(other,) if other else (), bound=""))
    return facts


def _words_given(name: str, texts: str) -> bool:
    """Whether all words of the name occur in `texts`, in any order."""
    given = {token.lower for token in tokens_of(texts)}
    return all(token.lower in given for token in tokens_of(name) if token.kind == "word")


def _words(text: str, question: str, given: str, facts: Sequence[Fact]) -> list[Fact]:
    """Items of a list, or what the first sentence says, if nothing that is asked for is a value or a name."""
    if any(fact.kind == "answer" for fact in facts):
        return []
    asked = content_words(tokens_of(given))
    masked = _masked(text, facts)
    items = _list_items(masked)
    is_asked_for = bool({token.lower for token in tokens_of(question)} & _LIST_QUESTIONS)
    is_mostly_known = 2 * sum(_MASK in item for item in items) > len(items)
    if len(items) >= 2 and is_asked_for and len(tokens_of(text)) <= _MAX_LIST_TOKENS and not is_mostly_known:
        return [fact for item in items if _MASK not in item and (fact := _words_fact(item, text, asked))]
    if facts:
        return []
    sentences = sentences_of(text)
    fact = _words_fact(masked[sentences[0].start : sentences[0].end], text, asked) if sentences else None
    return [fact] if fact else []


def _masked(text: str, facts: Sequence[Fact]) -> str:
    """`text` with its values and names covered, in the same length."""
    spans = [(mention.start, mention.end) for mention in value_mentions(text)]
    spans += [(start, end) for _, start, end in find_names(text, frozenset())]
    for fact in facts:
        if fact.kind == "name":
            spans += [match.span() for match in re.finditer(re.escape(fact.text), text)]
    for start, end in spans:
        text = text[:start] + _MASK * (end - start) + text[end:]
    return text


def _list_items(text: str) -> list[str]:
    """Items of a list with marks, or of the longest row with commas."""
    marked = [item.strip() for item in re.findall(r"^\u2022 (.+)$", text, re.MULTILINE)]
    if len(marked) >= 2:
        return [re.split(r"[:(\u2014\u2013]", item)[0] for item in marked]
    best: list[str] = []
    for sentence in sentences_of(text)[:_LIST_SENTENCES]:
        body = text[sentence.start : sentence.end].rstrip(".!")
        body = body.rsplit(":", 1)[-1]
        body = re.sub(r"\([^)]*\)", "", body)
        items = re.split(r",\s+(?:and |och |or |eller )?|\s+(?:and|och)\s+", body)
        is_list = (len(items) >= 3 and "," in body) or (len(items) == 2 and len(body.split()) <= 8)
        if is_list and all(1 <= len(item.split()) <= 6 for item in items[1:]) and len(items) > len(best):
            # What leads to the first item (`We sell ...`) is dropped with the question's words.
            items[0] = " ".join(items[0].split()[-max(len(item.split()) for item in items[1:]) :])
            best = items
    return best


def _words_fact(item: str, text: str, asked: frozenset[str]) -> Fact | None:
    stems = list(dict.fromkeys(s for token in tokens_of(item) for s in content_words([token]) if s not in asked))
    if not stems:
        return None
    slot = tuple(stems[:_MAX_WORDS])
    denials = denials_of_words(slot, text).values()
    denied = 2 * sum(True in stated for stated in denials) > len(denials)
    shown = " ".join(item.replace(_MASK, " ").split()).strip(" .,;:()")
    return Fact("words", shown, slot, tuple(sorted(asked)), denied=denied)


def _asked_kinds(question: str) -> frozenset[str]:
    row = [token.lower for token in tokens_of(question)]
    return frozenset(
        kind
        for kind in tables()["asked"]
        if any(tuple(row[at : at + len(p)]) == p for p in phrases("asked", kind) for at in range(len(row)))
    )


def _asked_by(fact: Fact) -> str:
    """The row of the table of questions that a fact answers."""
    if fact.value is None:
        return fact.kind
    dimension = fact.value.dimension
    if dimension in CURRENCIES:
        return "money"
    if fact.value.kind == "number" and not fact.value.unit:
        year = fact.value.parts[0]
        return "time" if year is not None and 1900 <= int(year) <= 2100 and not fact.value.per else "count"
    return _ASKED_BY_DIMENSION.get(dimension, "count")


def _are_rivals(one: Fact, other: Fact) -> bool:
    """Whether a question may ask for one value and not for the other."""
    if one.value is None or other.value is None or one is other:
        return False
    if are_comparable(one.value, other.value):
        return one.row != other.row
    return one.value.dimension == other.value.dimension == "count"


def _with_asked(facts: list[Fact], question: str) -> list[Fact]:
    """Mark the facts that the question asks for: its yes or no, or those of the kind that it names; all if none fit.

    Of comparable values, only those count whose words or side of a contrast the question has, if it has any.
    """
    wanted = _asked_kinds(question)
    tokens = tokens_of(question)
    stems, sides = content_words(tokens), sides_of(tokens)

    def fits(fact: Fact) -> bool:
        if any(other.kind == "answer" for other in facts):
            return fact.kind == "answer"
        return fact.kind == "words" or _asked_by(fact) in wanted

    def hits(fact: Fact, others: Sequence[Fact]) -> int:
        own = distinct_words(fact, others) | {stem(word) for word in fact.unit.split()}
        return sum(is_among(word, own) for word in stems) + sum(
            side in fact.sides and all(side not in other.sides for other in others) for side in sides
        )

    fitting = [fact for fact in facts if fits(fact)] or facts
    asked = []
    for fact in fitting:
        rivals = [other for other in fitting if _are_rivals(other, fact)]
        is_outdone = any(hits(rival, [fact]) for rival in rivals) and not any(hits(fact, [rival]) for rival in rivals)
        if not is_outdone:
            asked.append(fact)
    return [replace(fact, asked=fact in asked) for fact in facts]

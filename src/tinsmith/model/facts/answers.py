"""Yes and no: whether a question asks for one, and which a text answers."""

import re
from collections.abc import Sequence

from tinsmith.model.facts.lexicon import contrasts, phrases, words
from tinsmith.model.facts.sentences import content_words, sentences_of
from tinsmith.model.facts.words import Token, stem, tokens_of

_SENTENCES = 3
"""Sentences from the first in which an answer is looked for."""
_PARTICLE_WORDS = 5
"""Words from the first among which yes or no is looked for, as in `Normally no, if ...`."""
_SHORT_CLAUSE = 4
"""Tokens of a clause that may answer with hardly a word of the question, as in `We do`."""
_MARKS = frozenset(", . ! : ; \u2013 \u2014 - (".split())
_CONTRASTS = ("allowed", "duty", "inclusion", "presence", "opening")


def is_polar(question: str) -> bool:
    """Whether a plain question is answered by yes or no: it starts with a verb such as `is`, `can` or `får`."""
    sentences = [part for part in re.split(r"(?<=[.!?])\s+", question.strip()) if part]
    row = [token.lower for token in tokens_of(sentences[-1])] if sentences else []
    while row and row[0] in words("answers", "openers"):
        if row[0] == "if" and "," in row:
            row = row[row.index(",") :]
        row = row[1:]
    is_choice = " or " in f" {question} " or " eller " in f" {question} "
    return bool(row) and row[0] in words("answers", "auxiliaries") and not is_choice


def answer_of(text: str, question: str) -> str:
    """`yes`, `no`, `depends`, or empty if plain `text` does not answer the polar question."""
    sentences = sentences_of(text)
    if not sentences:
        return ""
    denied_from = sentences[0].denied_from
    first = [token for token in sentences[0].tokens if denied_from is None or token.start >= denied_from]
    answer = _particle(first) or _restated([first, *(list(s.tokens) for s in sentences[1:_SENTENCES])], question)
    if denied_from is not None and answer in ("yes", "no"):
        return "no" if answer == "yes" else "yes"
    return answer


def _particle(row: Sequence[Token]) -> str:
    """Yes or no among the first words."""
    ends = words("answers", "after_particle")
    for index, token in enumerate(row[:_PARTICLE_WORDS]):
        following = row[index + 1].lower if index + 1 < len(row) else ""
        is_end = not following or following in _MARKS
        if token.lower in words("answers", "no") and (is_end or following in ends):
            return "no"
        if token.lower in words("answers", "yes") and (is_end or index == 0 or following in ends):
            is_denied = index > 0 and row[index - 1].lower in words("answers", "not")
            return "no" if is_denied else "yes"
        if token.lower in words("answers", "not") and (index == 0 or (is_end and index < _PARTICLE_WORDS - 2)):
            return "no"
        if token.text in _MARKS:
            break
    is_open = any(token.lower in words("answers", "depends") for token in row[: 2 * _SHORT_CLAUSE])
    return "depends" if is_open else ""


def _restated(sentences: Sequence[Sequence[Token]], question: str) -> str:
    """The polarity of the clause that says most of the question's words again."""
    asked = tokens_of(question)
    wanted = content_words(asked)
    clauses = [clause for sentence in sentences for clause in _clauses(sentence)]
    if not clauses:
        return ""
    opening = tuple(token.lower for token in clauses[0])
    if any(opening[: len(phrase)] == phrase for phrase in phrases("answers", "there_is_none")):
        return "no"
    best = max(clauses, key=lambda clause: len(wanted & content_words(clause)))
    opposite = _opposites(asked, best)
    is_restated = 2 * len(wanted & content_words(best)) >= max(1, len(wanted))
    if not (is_restated or opposite or _is_short_answer(clauses[0])):
        return ""
    clause = best if is_restated or opposite else clauses[0]
    count = _negations(clause, asked) + _negations(asked, asked) + opposite
    return "no" if count % 2 else "yes"


def _is_short_answer(clause: Sequence[Token]) -> bool:
    verbs = words("answers", "auxiliaries") | words("clauses", "verbs") | words("answers", "not")
    return len(clause) <= _SHORT_CLAUSE and any(token.lower in verbs for token in clause)


def _clauses(sentence: Sequence[Token]) -> list[list[Token]]:
    """Parts of a sentence between commas and words such as `if`, without what such a word leads."""
    clauses: list[list[Token]] = [[]]
    is_condition = False
    for token in sentence:
        is_break = token.lower in words("answers", "conditions")
        if is_break or token.text in _MARKS or token.lower in words("answers", "joins"):
            clauses.append([])
            is_condition = is_break
        elif not is_condition:
            clauses[-1].append(token)
    return [clause for clause in clauses if clause]


def _negations(tokens: Sequence[Token], asked: Sequence[Token]) -> int:
    """Negations of a clause. Those of nouns, such as `without a wall`, count only if the question has the noun."""
    row = [token.lower for token in tokens]
    count = sum(lower.endswith("n't") and index > 0 for index, lower in enumerate(row))
    joined = f" {' '.join(row)} "
    for phrase in phrases("negation", "harmless"):
        joined = joined.replace(f" {' '.join(phrase)} ", " ")
    for phrase in phrases("negation", "before"):
        count += joined.count(f" {' '.join(phrase)} ")
    stems = {stem(token.text) for token in asked}
    for index, lower in enumerate(row):
        if lower in words("negation", "none"):
            nouns = content_words(tokens[index + 1 : index + 4])
            count += lower in words("answers", "nobody") or bool(nouns & stems) or not nouns
    return count


def _opposites(asked: Sequence[Token], clause: Sequence[Token]) -> int:
    """Words of the clause that exclude a word of the question, as `forbidden` excludes `allowed`."""
    table = contrasts()
    one = {side for token in asked for side in table.get(token.lower, ()) if side[0] in _CONTRASTS}
    other = {side for token in clause for side in table.get(token.lower, ()) if side[0] in _CONTRASTS}
    contrary = {name for name, side in other if (name, 1 - side) in one and (name, side) not in one}
    # Their second sides say no by themselves, as `forbidden` does after `Can I ...?`.
    asked_for = {name for name, _ in one}
    negative = {name for name, side in other if side == 1 and name != "opening" and name not in asked_for}
    return len(contrary | negative)

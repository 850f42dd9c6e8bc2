"""Yes and no: whether a question asks for one, and which a text answers."""

import re

from tinsmith.model.facts.lexicon import contrasts, phrases, words
from tinsmith.model.facts.sentences import content_words, sentences_of
from tinsmith.model.facts.words import Token, stem, tokens_of


def is_polar(question: str) -> bool:
    """Whether a plain question is answered by yes or no: it starts with a verb such as `is`, `can` or `får`."""
    last = [part for part in re.split(r"(?<=[.!?])\s+", question.strip()) if part]
    row = [token.lower for token in tokens_of(last[-1])] if last else []
    while row and row[0] in ("and", "och", "but", "men", "so", "hi", "hello", "hej", ",", "then", "also", "if"):
        if row[0] == "if" and "," in row:
            row = row[row.index(",") :]
        row = row[1:]
    return (
        bool(row)
        and row[0] in words("answers", "auxiliaries")
        and " or " not in f" {question} "
        and " eller " not in f" {question} "
    )


def answer_of(text: str, question: str) -> str:
    """`yes`, `no`, `depends`, or empty if plain `text` does not answer the polar question."""
    sentences = sentences_of(text)
    if not sentences:
        return ""
    first = sentences[0]
    is_flipped = first.denied_from is not None
    row = [token for token in first.tokens if first.denied_from is None or token.start >= first.denied_from]
    said = _particle(row)
    if not said:
        said = _restated(row, question)
    if said in ("yes", "no") and is_flipped:
        return "no" if said == "yes" else "yes"
    return said


def _particle(row: list[Token]) -> str:
    """Yes or no among the first words, as in `Normally no, if ...` and `Yes`."""
    for index, token in enumerate(row[:5]):
        following = row[index + 1].lower if index + 1 < len(row) else ""
        is_end = following in (
            "",
            ",",
            ".",
            "!",
            ":",
            ";",
            "\u2013",
            "\u2014",
            "-",
            "(",
            "but",
            "men",
            "if",
            "om",
            "you",
            "it",
            "only",
            "the",
            "det",
            "du",
        )
        if (
            token.lower in words("answers", "no")
            and is_end
            and (index == 0 or following not in ("you", "it", "the", "only"))
        ):
            return "no"
        if token.lower in words("answers", "yes") and (is_end or index == 0):
            is_denied = index and row[index - 1].lower in ("not", "inte", "no")
            return "no" if is_denied else "yes"
        if (
            token.lower in ("not", "never", "inte", "aldrig")
            and (index == 0 or following in ("", ".", "!", ","))
            and index < 3
        ):
            return "no"
        if token.text in (",", "."):
            break
    if any(token.lower in words("answers", "depends") for token in row[:8]):
        return "depends"
    return ""


def _restated(row: list[Token], question: str) -> str:
    """The polarity of a first sentence that says the question's words again."""
    asked = tokens_of(question)
    clause: list[Token] = []
    for token in row:
        if clause and token.lower in (
            "if",
            "om",
            "unless",
            "because",
            "eftersom",
            "when",
            "även",
            "although",
            "provided",
            "but",
            "men",
            "since",
            ";",
            "(",
            "as",
        ):
            break
        clause.append(token)
    shared = content_words(asked) & content_words(clause)
    generic = {stem(t.text) for t in asked} & {stem(t.text) for t in clause} - {
        stem(word) for word in words("grammar", "words")
    }
    opposite = _opposites(asked, clause)
    if not shared and not generic and not opposite and len(clause) > 4:
        return ""
    count = _negations(clause) + _negations(asked) + opposite
    return "no" if count % 2 else "yes"


def _negations(tokens: list[Token]) -> int:
    row = [token.lower for token in tokens]
    count = sum(lower.endswith("n't") and index > 0 for index, lower in enumerate(row))
    joined = f" {' '.join(row)} "
    for phrase in phrases("negation", "harmless"):
        joined = joined.replace(f" {' '.join(phrase)} ", " ")
    for phrase in (*phrases("negation", "before"), *phrases("negation", "none")):
        count += joined.count(f" {' '.join(phrase)} ")
        joined = joined.replace(f" {' '.join(phrase)} ", " ")
    return count


def _opposites(asked: list[Token], clause: list[Token]) -> int:
    """Words of the clause that exclude a word of the question, as `forbidden` excludes `allowed`."""
    names = ("allowed", "duty", "inclusion", "presence", "opening")
    table = contrasts()
    one = {side for token in asked for side in table.get(token.lower, ()) if side[0] in names}
    other = {side for token in clause for side in table.get(token.lower, ()) if side[0] in names}
    contrary = {name for name, side in other if (name, 1 - side) in one and (name, side) not in one}
    # Their second sides say no by themselves, as `forbidden` does after `Can I ...?`.
    asked_for = {name for name, _ in one}
    negative = {name for name, side in other if side == 1 and name != "opening" and name not in asked_for}
    return len(contrary | negative)

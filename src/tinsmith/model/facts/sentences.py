"""Sentences of plain text, and for each place in them its bound, its denial and the words that it belongs to."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

from tinsmith.model.facts.lexicon import contrasts, phrases, words
from tinsmith.model.facts.words import Token, stem, tokens_of

_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[^a-zåäö\s])|\n+|;\s|(?=\u2022 )")
_ABBREVIATION = re.compile(
    r"\b(?:approx|ca|kl|kap|max|e\.g|i\.e|ch|nr|st|mr|mrs|dr|vs|bl\.a|t\.ex|inkl|incl|excl|sec|etc)\.$", re.IGNORECASE
)
_OPENER = re.compile(
    r"\b(?:false|untrue|incorrect|(?:not|isn't) (?:true|correct|right|the case)|wrong|a myth|a lie"
    r"|inte (?:sant|korrekt|rätt|riktigt)|osant|falskt|felaktigt|fel|en myt|en lögn|stämmer inte|nicht wahr|falsch)\b"
    r"[^.!?]{0,20}?\b(?:that|att|dass|to (?:say|claim|think|believe)(?: that)?)\b"
    r"|^\W*(?:false|wrong|falskt|fel|untrue)\s?:",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"^\W*(?:no, |nej, )?(?:actually|in fact|instead(?! of)|rather(?! than)|the (?:truth|correct|right|real)"
    r"|correct(?:ly)?|in reality|i själva verket|i verkligheten|egentligen|i stället(?! f)|istället(?! f)|rätt)\b",
    re.IGNORECASE,
)
_RESTATEMENT = re.compile(r"^\W*(?:it|they|that's|den|det|de)\b", re.IGNORECASE)
_SHORT_REPLY = 2
"""Sentences of a reply in which one that starts with `it` corrects a denial before it."""
_AFTER_BOUNDS = frozenset(
    "at least|at most|minimum|maximum|max|at the latest|som mest|som minst|högst|minst|eller mer|or more".split("|")
)
"""Bounds that may stand behind their value."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, heading or list item."""

    start: int
    end: int
    tokens: tuple[Token, ...]
    denied_from: int | None
    """From this place on everything is denied, as after `It is false that`; None for nowhere."""


@lru_cache(maxsize=4096)
def sentences_of(text: str) -> tuple[Sentence, ...]:
    """The sentences of plain text, in order. A denial of the first one holds until a sentence corrects it."""
    bounds, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        if match.group().startswith("\n") or not _ABBREVIATION.search(text[start : match.start()]):
            bounds.append((start, match.start()))
            start = match.end()
    bounds.append((start, len(text)))
    tokens = tokens_of(text)
    sentences: list[Sentence] = []
    is_denied = False
    for low, high in bounds:
        row = tuple(token for token in tokens if low <= token.start and token.end <= high)
        if not row:
            continue
        opener = _OPENER.search(text, low, high)
        is_correction = _CORRECTION.search(text[low:high]) or (
            len(bounds) <= _SHORT_REPLY and _RESTATEMENT.search(text[low:high])
        )
        if is_denied and not opener and is_correction:
            is_denied = False
        denied_from = opener.end() if opener else low if is_denied else None
        is_denied = is_denied or (opener is not None and not sentences)
        sentences.append(Sentence(low, high, row, denied_from))
    return tuple(sentences)


def sentence_at(sentences: Sequence[Sentence], place: int) -> int:
    """Index of the sentence that holds a place of the text."""
    return max((number for number, sentence in enumerate(sentences) if sentence.start <= place), default=0)


def content_words(tokens: Collection[Token]) -> frozenset[str]:
    """Stems of the words that say what something is about."""
    return frozenset(filter(None, [content_word(token.text) for token in tokens if token.kind == "word"]))


@lru_cache(maxsize=100_000)
def content_word(word: str) -> str:
    """The stem of a word, if it says what something is about; else empty."""
    lower = word.casefold()
    # Without `'s`, and without `'ll` and the like after a pronoun.
    is_content = lower.split("'")[0] not in _skipped_words() and len(word) > 1 and "n't" not in lower
    return stem(word) if is_content else ""


@cache
def _skipped_words() -> frozenset[str]:
    return words("grammar", "words") | words("grammar", "generic") | words("grammar", "generic_nouns")


def sides_of(tokens: Collection[Token]) -> frozenset[tuple[str, int]]:
    """The contrasts that the tokens' words take part in, with their side."""
    table = contrasts()
    # `No discount` is not about a discount.
    none = words("negation", "none")
    row = [token.lower for token in tokens]
    lowers = [lower for before, lower in zip(["", *row], row, strict=False) if before not in none]
    pairs = [" ".join(pair) for pair in pairwise(lowers)]
    return frozenset(side for word in (*lowers, *pairs) for side in table.get(word, ()))


def is_denied(sentence: Sentence, start: int, end: int, is_value: bool = False) -> bool:
    """Whether the place from `start` to `end` is denied: an odd number of negations reaches it.

    `Not only` denies a value (`not only 3 years but 5`), and nothing else.
    """
    before = [token for token in sentence.tokens if token.end <= start]
    after = [token for token in sentence.tokens if token.start >= end]
    opened = sentence.denied_from is not None and sentence.denied_from <= start
    if opened and sentence.denied_from is not None:
        before = [token for token in before if token.start >= sentence.denied_from]
    count = _negations_before(before, is_sentence_start=not opened, is_value=is_value) + _negation_after(after)
    return bool((count + opened) % 2)


def _negations_before(tokens: list[Token], is_sentence_start: bool, is_value: bool) -> int:
    """Negations whose reach extends to the end of `tokens`."""
    lowers = [token.lower for token in tokens]
    first = _reach(tokens)
    lowers = lowers[first:]
    if first == 0 and is_sentence_start and len(lowers) > 1:
        # `Not for a fence of 1 m` and `No, ...` answer the question; they do not deny the number.
        is_answer = (lowers[0] in words("answers", "not") and lowers[1] in words("answers", "after_not")) or (
            lowers[0] in words("answers", "no") and lowers[1] in words("answers", "after_no")
        )
        lowers = lowers[1:] if is_answer else lowers
    harmless = (
        *phrases("negation", "harmless"),
        *_negative_bounds(),
        *([] if is_value else phrases("negation", "only")),
    )
    row = _without(lowers, harmless)
    negations = (*phrases("negation", "before"), *phrases("negation", "none"))
    count = sum(lower.endswith("n't") for lower in row)
    for phrase in negations:
        matched, row = _count(row, phrase)
        count += matched
    return count


def _reach(tokens: list[Token]) -> int:
    """Index of the first token from which a negation reaches the end of `tokens`."""
    stops, pronouns = words("negation", "stops"), words("clauses", "pronouns")
    for index in range(len(tokens) - 1, -1, -1):
        lower = tokens[index].lower
        if lower == "but" and index and tokens[index - 1].lower in words("negation", "any_but"):
            continue
        following = tokens[index + 1].lower if index + 1 < len(tokens) else ""
        if lower in stops and lower not in pronouns and not (lower == "utan" and following not in ("", "att")):
            is_without = lower == "utan" and index > 0
            if not is_without:
                return index + 1
        if lower in (",", "(", "\u2014", "\u2013", ":") and following and tokens[index + 1].kind != "number":
            return index + 1
        if lower in ("and", "och") and following and tokens[index + 1].kind != "number":
            return index + 1
    return 0


def _negation_after(tokens: list[Token]) -> int:
    """1 if a verb with a negation follows directly, as in `25,000 SEK is not right` and `the board may not sign`."""
    row = [token.lower for token in tokens[:4]]
    if not row or not row[0][0].isalpha():
        return 0
    if row[0].endswith("n't"):
        return 1
    if row[1:2] == ["not"]:
        return int(row[0] in words("negation", "verbs") and row[2:3] not in (["only"], ["just"]))
    if row[1:2] in (["inte"], ["ej"], ["nicht"]):
        return int(row[0] not in words("answers", "conditions"))
    is_wrong = any(word in words("negation", "after") for word in row[1:3])
    return int(row[0] in words("negation", "being") and is_wrong)


def _without(row: list[str], unwanted: Sequence[tuple[str, ...]]) -> list[str]:
    for phrase in unwanted:
        _, row = _count(row, phrase)
    return row


def _count(row: list[str], phrase: tuple[str, ...]) -> tuple[int, list[str]]:
    """How often `phrase` is in `row`, and `row` without it."""
    kept, count, at = [], 0, 0
    if phrase[0] not in row:
        return 0, row
    while at < len(row):
        if tuple(row[at : at + len(phrase)]) == phrase:
            count, at = count + 1, at + len(phrase)
            kept.append("")
        else:
            kept.append(row[at])
            at += 1
    return count, kept


@cache
def _negative_bounds() -> list[tuple[str, ...]]:
    """Bounds such as `no more than`, whose first word denies nothing."""
    return [phrase for phrase, _ in _bounds() if phrase[0] in ("no", "not", "inte", "ej")]


@cache
def _bounds() -> list[tuple[tuple[str, ...], str]]:
    rows = [
        (phrase, bound) for bound in ("min", "max", "over", "under", "about") for phrase in phrases("bounds", bound)
    ]
    return sorted(rows, key=lambda row: -len(row[0]))


@cache
def _bounds_by_word(place: int) -> dict[str, list[tuple[tuple[str, ...], str]]]:
    there = {phrase[place] for phrase, _ in _bounds()}
    return {word: [one for one in _bounds() if one[0][place] == word] for word in there}


def bound_of(sentence: Sentence, start: int, end: int) -> str:
    """`min`, `max`, `over`, `under`, `about` or empty, for the value from `start` to `end`."""
    after = [token.lower for token in sentence.tokens if token.start >= end][:4]
    for phrase, bound in _bounds_by_word(0).get(after[0], ()) if after else ():
        if tuple(after[: len(phrase)]) == phrase and bound in ("min", "max"):
            follows = after[len(phrase) : len(phrase) + 1]
            is_free = not follows or not follows[0][:1].isdigit()
            if is_free and (phrase[0] in ("or", "and", "eller", "och") or " ".join(phrase) in _AFTER_BOUNDS):
                return bound
    bound = _bound_before([token.lower for token in sentence.tokens if token.end <= start])
    # `No later than an hour before` means at least an hour before.
    is_ahead = bound == "max" and after[:1] and after[0] in words("clauses", "ahead")
    return "min" if is_ahead and _is_time_bound(sentence, start) else bound


def _is_time_bound(sentence: Sentence, start: int) -> bool:
    return any(t.lower in words("clauses", "latest") for t in sentence.tokens if t.end <= start)


def _bound_before(before: list[str]) -> str:
    """The bound whose phrase ends nearest to the end of `before`, with nothing but fillers between."""
    at, skipped = len(before), 0
    while at > 0 and skipped <= 5:
        for phrase, bound in _bounds_by_word(-1).get(before[at - 1], ()):
            if tuple(before[max(0, at - len(phrase)) : at]) == phrase and bound != "about":
                is_wide = any(word in words("clauses", "wide_bounds") for word in phrase)
                fillers = before[at:]
                if all(word in words("clauses", "fillers") for word in fillers) or (
                    is_wide and not any(word in (",", ".", "(") for word in fillers)
                ):
                    return bound
        at, skipped = at - 1, skipped + 1
    return ""


def subject_before(tokens: Sequence[Token]) -> frozenset[str]:
    """Content words before the verb in the tokens that lead to a value.

    Empty if there is no verb, or if a pronoun is the subject.
    """
    for index, token in enumerate(tokens):
        if token.lower in words("clauses", "verbs") and index:
            subject = tokens[:index]
            is_pronoun = any(t.lower.split("'")[0] in words("clauses", "pronouns") for t in subject)
            return frozenset() if is_pronoun else content_words(subject)
    return frozenset()


def _respectively(
    left: tuple[Token, ...], right: tuple[Token, ...], count: int
) -> list[tuple[tuple[Token, ...], tuple[Token, ...]]]:
    """The words of each value of a list, as `Giru and Firu cost 49k and 44k respectively` orders them; or empty."""
    if count < 2 or not any(token.lower in words("clauses", "respectively") for token in right[:3]):
        return []
    items: list[list[Token]] = [[]]
    for token in left:
        if token.lower in words("clauses", "list_signs"):
            items.append([])
        else:
            items[-1].append(token)
    items = [item for item in items if content_words(item)]
    return [(tuple(item), ()) for item in items] if len(items) == count else []


def names_in(left: Sequence[Token], right: Sequence[Token], sentence: Sentence) -> frozenset[str]:
    """Stems of capitalised words before a place that do not start the sentence, and of acronyms behind it."""
    named = [token for token in left if token.text[0].isupper() and token.start > sentence.tokens[0].start]
    acronyms = [token for token in right if token.text.isupper() and len(token.text) > 1]
    return content_words([*named, *acronyms])


def segments(sentence: Sentence, spans: Sequence[tuple[int, int]]) -> list[tuple[tuple[Token, ...], tuple[Token, ...]]]:
    """For each span, the tokens before and after it that belong to it alone.

    `Latte costs 49k and straight 39k` gives `Latte costs` to the first and `straight` to the second. In `49k for a
    latte, 39k for a straight`, where no content stands before the first, the words after a span are its own. Spans
    with nothing but signs and `and` between them share all their words, as in a list.
    """

    def between(low: int, high: int) -> list[Token]:
        return [token for token in sentence.tokens if low <= token.start and token.end <= high]

    if not spans:
        return []
    head = between(sentence.start, spans[0][0])
    follows = next((token.lower for token in sentence.tokens if token.start >= spans[0][1]), "")
    is_led = any(token.lower in words("clauses", "pronouns") | words("clauses", "verbs") for token in head)
    is_postfix = not content_words(head) and (not is_led or follows in words("clauses", "belongs"))
    gaps = [between(one[1], other[0]) for one, other in pairwise(spans)]
    tail = between(spans[-1][1], sentence.end)
    lefts, rights = [head], []
    for gap in gaps:
        places = [index for index, token in enumerate(gap) if token.lower in words("clauses", "separators")]
        cut = (len(gap) if is_postfix else 0) if not places else places[-1] if is_postfix else places[0]
        rights.append(gap[:cut])
        lefts.append(gap[cut:])
    rights.append(tail)
    parts = [[*left] for left in lefts], [[*right] for right in rights]
    # Spans of one list share what stands before the first and after the last of them.
    group: list[int] = [0]
    groups = [group]
    for index, gap in enumerate(gaps, 1):
        if not all(token.lower in words("clauses", "list_signs") for token in gap):
            group = []
            groups.append(group)
        group.append(index)
    shared = []
    for group in groups:
        left, right = tuple(parts[0][group[0]]), tuple(parts[1][group[-1]])
        shared += _respectively(left, right, len(group)) or [(left, right)] * len(group)
    return shared

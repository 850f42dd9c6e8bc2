"""Names in text: which words are names, and where a text mentions one, inflected, abbreviated or misspelled."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from tinsmith.model.facts.lexicon import numbers
from tinsmith.model.facts.lexicon import words as lexicon_words
from tinsmith.model.facts.words import Token, folded, is_typo, plain, stem, tokens_of

_WORD = re.compile(r"[^\W\d_][\w'-]*")
_CODE = re.compile(r"\b(?=[\w-]*\d)(?=[\w-]*[A-Z])[A-Z][A-Za-zÅÄÖ]{0,5}[- ]?\d[\w.-]*\b(?![:/]\d)")
_ADDRESS_END = re.compile(r"\.(?:com|org|net|se|eu|de|nu|io)\b|@")
_NAME_LINK = re.compile(r"(?:[ \t]+(?:of|and|de|del|la|van|von|der|af|och|&|for)(?=[ \t]+[^\W\d_]))?[ \t]+")
_SENTENCE_END = re.compile(r"(?:^|[.!?:;\n\u2022]|[\u2013\u2014]\s)[\s*_\"'\u201c(\[\u00bf\u00a1-]*$")
_PAIR = re.compile(
    r"(?P<long>[^\W\d_][\w' -]{3,80}?)\s?\((?P<short>[A-ZÅÄÖ]{2,6})\)"
    r"|\b(?P<short2>[A-ZÅÄÖ]{2,6})\s?\((?P<long2>[^()\d]{4,80})\)"
)
_TWO_NAMES = re.compile(
    r"(?P<long>[A-ZÅÄÖ][\w'-]+(?: [A-ZÅÄÖ][\w'-]+){1,4})\s?\((?P<short>[A-ZÅÄÖ][\w'-]+(?: [A-ZÅÄÖ][\w'-]+){0,4})\)"
)
_SMALL = frozenset("of the and for in on to de del la van von der af och av i på för en ett a an &".split())
_NOT_NAMES = frozenset(
    "i i'd i'll i'm i've ok yes no the a an rp idr sek usd eur gbp jpy kr am pm mr mrs ms dr kl ja nej en ett det den"
    " vi du jag it's that's tkr msek ca approx max min major".split()
)


_TITLES = frozenset("mr mrs ms dr herr fru ask contact call by see with fråga kontakta ring by av".split())


def common_words(texts: Iterable[str]) -> frozenset[str]:
    """Words that occur in lower case anywhere in `texts`. They are not names even when capitalised."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word in _WORD.findall(plain(text)) if word.islower())
    return frozenset(counts)


def find_names(text: str, common: frozenset[str], is_asked: bool = False) -> list[tuple[str, int, int]]:
    """Names in plain text with their places: capitalised words that do not merely start a sentence, and codes.

    With `is_asked`, the first word of the text may be a name, too, as in `Anna handles permits`.
    """
    names = [
        (match.group().rstrip(".-"), match.start(), match.start() + len(match.group().rstrip(".-")))
        for match in _CODE.finditer(text)
    ]
    at = 0
    while match := _WORD.search(text, at):
        at = match.end()
        if not match.group()[0].isupper() or _ADDRESS_END.match(text, at):
            continue
        words = [match]
        while (link := _NAME_LINK.match(text, at)) and (after := _WORD.match(text, link.end())):
            # A possessive ends the name: `Giru's Latte` names Giru.
            if words[-1].group().endswith("'s") or not after.group()[0].isupper():
                break
            if link.group().strip() in ("and", "och") and not _is_joint(text, words, after, common):
                break
            words.append(after)
            at = after.end()
        name = _trimmed(text, words, common, is_asked)
        if name and not any(start < name[2] and name[1] < end for _, start, end in names):
            names.append(name)
    return sorted(names, key=lambda name: name[1])


def _is_joint(text: str, words: Sequence[re.Match[str]], after: re.Match[str], common: frozenset[str]) -> bool:
    """Whether `and` is part of a name, as in `Planning and Building Act`: a common word and a third one follow."""
    following = _WORD.match(text, after.end() + 1)
    is_long = following is not None and following.group()[0].isupper() and text[after.end()] == " "
    return is_long and after.group().casefold() in common | {"building", "bygg", "health", "safety", "trade", "welfare"}


def _trimmed(
    text: str, words: list[re.Match[str]], common: frozenset[str], is_asked: bool
) -> tuple[str, int, int] | None:
    """The name in a sequence of capitalised words; None if they are ordinary words.

    The first word of a sentence is capitalised anyway. It belongs to a name only if it is not a common word and
    capitalised words follow it. A single common word is no name, but several in a row are (`Building Permit Office`).
    """

    def is_common(word: re.Match[str]) -> bool:
        lower = word.group().casefold()
        return lower in common or lower in _NOT_NAMES or lower in numbers("weekdays") or lower in numbers("months")

    def is_acronym(word: re.Match[str]) -> bool:
        return word.group().isupper() and len(word.group()) > 1

    is_first = _SENTENCE_END.search(text[: words[0].start()]) is not None
    if is_first and not is_acronym(words[0]):
        is_whole = len(words) > 1 or _stands_alone(text, words[0]) or (is_asked and not words[0].start())
        if is_common(words[0]) or not is_whole or words[0].group().casefold() in _never_names():
            words = words[1:]
    while words and (words[0].group().casefold() in _NOT_NAMES or words[0].group().casefold() in numbers("months")):
        words = words[1:]
    while words and words[-1].group().casefold() in _NOT_NAMES:
        words = words[:-1]
    if not words or (len(words) == 1 and (is_common(words[0]) or len(words[0].group()) == 1)):
        return None
    name = text[words[0].start() : words[-1].end()].removesuffix("'s").rstrip("'-")
    return name, words[0].start(), words[0].start() + len(name)


def _never_names() -> frozenset[str]:
    return (
        lexicon_words("grammar", "words")
        | lexicon_words("grammar", "generic")
        | lexicon_words("grammar", "generic_nouns")
        | frozenset(numbers("numerals"))
    )


def _stands_alone(text: str, word: re.Match[str]) -> bool:
    """Whether a word is a whole sentence or list item, as in the answer `Nishio`."""
    is_end = re.match(r"\s*(?:[.!(\n]|$|,\s[A-ZÅÄÖ]|(?:and|och|or|eller)\s[A-ZÅÄÖ])", text[word.end() :])
    return is_end is not None and re.search(r"[.!?:]\s|\n|\u2022", text[: word.start()]) is None


def pairs_of(*texts: str) -> dict[str, str]:
    """Acronyms and what they stand for, both ways, where a text has one beside the other in brackets."""
    pairs: dict[str, str] = {}
    for text in texts:
        for match in _PAIR.finditer(text):
            short = match["short"] or match["short2"]
            words = (match["long"] or match["long2"]).split()
            long = " ".join(words[-8:] if match["long"] else words)
            capital = next(
                (i for i, word in enumerate(long.split()) if word[0].isupper() and word.casefold() != "the"),
                None,
            )
            if match["long"] and capital is not None:
                long = " ".join(long.split()[capital:])
            pairs[folded(short)] = folded(long)
            pairs[folded(long)] = folded(short)
        for match in _TWO_NAMES.finditer(text):
            long = match["long"].removeprefix("The ")
            pairs.setdefault(folded(long), folded(match["short"]))
            pairs.setdefault(folded(match["short"]), folded(long))
    return pairs


def name_mentions(name: str, tokens: Sequence[Token], pairs: dict[str, str]) -> list[tuple[int, int]]:
    """Places where the tokens of a text mention `name`."""
    places = _literal(name, tokens)
    other = pairs.get(folded(name))
    if other:
        places += _literal(other, tokens)
    if name.isupper() and 2 <= len(name) <= 6:
        places += _spelled_out(name, tokens)
    elif len(initials := _initials(name)) >= 2:
        places += [(t.start, t.end) for t in tokens if t.text.isupper() and folded(t.text) == initials]
    return sorted(set(places))


def _initials(name: str) -> str:
    return "".join(folded(word)[0] for word in name.split() if word.casefold() not in _SMALL)


def _spelled_out(acronym: str, tokens: Sequence[Token]) -> list[tuple[int, int]]:
    """Places where capitalised words have the acronym's letters as initials, as `Planning and Building Act` has PBA."""
    letters, places = folded(acronym), []
    content = [token for token in tokens if token.kind == "word" and token.lower not in _SMALL]
    for index in range(len(content) - len(letters) + 1):
        row = content[index : index + len(letters)]
        is_near = row[-1].end - row[0].start < 25 * len(letters)
        if is_near and row[0].text[0].isupper() and "".join(folded(token.text)[0] for token in row) == letters:
            places.append((row[0].start, row[-1].end))
    return places


def _literal(name: str, tokens: Sequence[Token]) -> list[tuple[int, int]]:
    wanted = [token for token in tokens_of(name) if token.kind in ("word", "number") and token.lower not in _SMALL]
    usable = [token for token in tokens if token.kind in ("word", "number") and token.lower not in _SMALL]
    if not wanted:
        return []
    places = []
    for index in range(len(usable) - len(wanted) + 1):
        row = usable[index : index + len(wanted)]
        if all(is_same_name_word(a.text, b.text) for a, b in zip(wanted, row, strict=True)) and _is_close(row):
            places.append((row[0].start, row[-1].end))
    if not places:
        places = _joined(wanted, usable)
    return places or _parts_of(wanted, usable)


def _parts_of(wanted: Sequence[Token], usable: Sequence[Token]) -> list[tuple[int, int]]:
    """Places of the surname alone, or of the first of two words, unless beside another capitalised word."""
    places = []
    if len(wanted) < 2 or not all(token.text[0].isupper() for token in wanted):
        return places
    for index, token in enumerate(usable):
        before = usable[index - 1] if index else None
        after = usable[index + 1] if index + 1 < len(usable) else None
        is_led = before is not None and before.text[0].isupper() and before.end + 1 == token.start
        is_other = is_led and before is not None and before.lower not in _TITLES | _never_names()
        is_surname = len(wanted[-1].text) > 3 and is_same_name_word(wanted[-1].text, token.text) and not is_other
        is_followed = after is not None and after.text[0].isupper() and token.end + 1 == after.start
        is_first = len(wanted) == 2 and is_same_name_word(wanted[0].text, token.text) and not is_followed
        if token.text[0].isupper() and (is_surname or (is_first and len(token.text) > 2)):
            places.append((token.start, token.end))
    return places


def _joined(wanted: Sequence[Token], usable: Sequence[Token]) -> list[tuple[int, int]]:
    """Places where the name has other spaces or hyphens, such as `ABS 18` for `ABS18`."""
    target = "".join(folded(token.text) for token in wanted).replace("-", "")
    places = []
    for index in range(len(usable)):
        joined = ""
        for token in usable[index : index + 4]:
            joined += folded(token.text).replace("-", "")
            if joined == target or (len(joined) > 8 and joined in (target + "s", target + "n", target + "en")):
                places.append((usable[index].start, token.end))
                break
            if len(joined) > len(target):
                break
    return places


def _is_close(row: Sequence[Token]) -> bool:
    return all(b.start - a.end <= 6 for a, b in pairwise(row))


def is_same_name_word(one: str, other: str) -> bool:
    """Whether two words of a name are equal but for case, accents, a genitive, a Swedish article or a typing error."""
    a, b = (folded(word).removesuffix("'s").removesuffix("'") for word in (one, other))
    if a == b:
        return True
    if min(len(a), len(b)) < 4 or one.isdigit() or other.isdigit():
        return a == b.removesuffix("s") or b == a.removesuffix("s") if min(len(a), len(b)) >= 3 else False
    longer, shorter = sorted((a, b), key=len, reverse=True)
    if longer.startswith(shorter) and longer[len(shorter) :] in ("s", "n", "en", "et", "ens", "ets", "es"):
        return True
    return is_typo(a, b) or (stem(a) == stem(b) and abs(len(a) - len(b)) <= 3)

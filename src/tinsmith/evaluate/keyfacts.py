"""Find the key facts of a reference answer, and which of them another answer states.

There are three kinds: numbers with their unit or currency, names (capitalised words), and addresses (URLs and e-mail).
Facts that the question or the system prompt gives away do not count. Matching compares normalised values and whole
words, so it can be fooled (`not 25,000 SEK` states 25,000 SEK). It counts facts and does not judge an answer.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tinsmith.model.numbers import Number, find_numbers

_URL = re.compile(r"(?:https?://|www\.)[^\s<>()\[\]\"']+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][\w-]*>")
_LIST_MARK = re.compile(r"^[ \t]*(?:[-*\u2022#>]+|\d{1,2}[.)])[ \t]+", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_][\w\u2019'-]*")
_NAME_LINK = re.compile(r"(?:[ \t]+(?:of|de|del|la|van|von|der|af|och|&)(?=[ \t]+[^\W\d_]))?[ \t]+")
_SENTENCE_END = re.compile(r"(?:^|[.!?:;\n]|[\u2013\u2014]\s)[\s*_\"'\u201c\u2018(\[\u00bf\u00a1-]*$")

# Capitalised in mid-sentence, but not names. Currencies are part of numbers.
_NOT_NAMES = frozenset(
    "i i'd i'll i'm i've ok yes no the a an rp idr sek usd eur gbp jpy am pm mr mrs ms dr"
    " monday tuesday wednesday thursday friday saturday sunday".split()
)


@dataclass(frozen=True, slots=True)
class Fact:
    """A number, name or address in a reference."""

    kind: str
    """`number`, `name` or `address`."""
    text: str
    """As a person would write it; unique in its reference."""
    number: Number | None = None


def common_words(texts: Iterable[str]) -> frozenset[str]:
    """Words that occur in lower case anywhere in `texts`. They are not names even when capitalised."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word in _WORD.findall(_prose(text)) if word.islower())
    return frozenset(counts)


def key_facts(reference: str, prompt: str, common: frozenset[str]) -> list[Fact]:
    """Facts of `reference` that `prompt` does not state, each once, ordered by kind and then by position.

    `prompt` states a name if all its words occur, in any order: `Giru: Straight | Latte` states `Giru Latte`.

    Args:
        reference: The answer in the data set. JSON objects and tags in it are ignored.
        prompt: Question and system prompt.
        common: From `common_words` of the whole data set.
    """
    facts: dict[str, Fact] = {}
    prose = _prose(reference)
    for address in _addresses(prose):
        facts.setdefault(address, Fact("address", address))
    prose = _URL.sub("\n", prose)
    for number in find_numbers(_LIST_MARK.sub("", prose)):
        facts.setdefault(number.text, Fact("number", number.text, number))
    for name in _names(prose, common):
        facts.setdefault(_folded(name), Fact("name", name))
    already_stated = stated_facts(list(facts.values()), prompt)
    prompt_words = set(_WORD.findall(_folded(prompt)))
    return [
        fact
        for fact in facts.values()
        if fact not in already_stated
        and not (fact.kind == "name" and prompt_words.issuperset(_WORD.findall(_folded(fact.text))))
    ]


def stated_facts(facts: list[Fact], answer: str) -> list[Fact]:
    """The `facts` that `answer` states.

    A number is stated if the answer contains its value, with the same unit or without one. A name is stated if its
    words appear in a row, in any case. An address is stated if it appears.
    """
    numbers = find_numbers(_LIST_MARK.sub("", _URL.sub(" ", answer)))
    folded = _folded(answer)
    addresses = set(_addresses(answer))

    def is_stated(fact: Fact) -> bool:
        if fact.number is not None:
            return any(_same_number(fact.number, number) for number in numbers)
        if fact.kind == "address":
            return fact.text in addresses
        return re.search(rf"(?<!\w){re.escape(_folded(fact.text))}(?:'?s)?(?!\w)", folded) is not None

    return [fact for fact in facts if is_stated(fact)]


def _same_number(fact: Number, stated: Number) -> bool:
    return fact.value == stated.value and stated.unit in (fact.unit, "")


def _addresses(text: str) -> list[str]:
    matches = (match.group().rstrip(".,;:!?*").casefold() for match in _URL.finditer(text))
    return [re.sub(r"^https?://(?:www\.)?|^www\.", "", match).rstrip("/") for match in matches]


def _names(prose: str, common: frozenset[str]) -> list[str]:
    """Names in `prose`, in order: sequences of capitalised words that do not merely start a sentence."""
    names = []
    at = 0
    while match := _WORD.search(prose, at):
        at = match.end()
        if not match.group()[0].isupper():
            continue
        words = [match]
        while (link := _NAME_LINK.match(prose, at)) and (after := _WORD.match(prose, link.end())):
            # A possessive ends the name: `Giru's Latte` names Giru.
            if re.search("['\u2019]s$", words[-1].group()):
                break
            if not after.group()[0].isupper():
                break
            words.append(after)
            at = after.end()
        name = _trimmed(prose, words, common)
        if name:
            names.append(name)
    return names


def _trimmed(prose: str, words: list[re.Match], common: frozenset[str]) -> str:
    """The name in a sequence of capitalised words; empty if they are ordinary words.

    The first word of a sentence is capitalised anyway. It belongs to a name only if it is not a common word and
    capitalised words follow it. A single common word is no name, but several in a row are (`Building Permit Office`).
    """

    def is_common(word: re.Match) -> bool:
        lower = word.group().casefold()
        return lower in common or lower in _NOT_NAMES

    if _SENTENCE_END.search(prose[: words[0].start()]) and (len(words) == 1 or is_common(words[0])):
        words = words[1:]
    while words and words[0].group().casefold() in _NOT_NAMES:
        words = words[1:]
    while words and words[-1].group().casefold() in _NOT_NAMES:
        words = words[:-1]
    if not words or (len(words) == 1 and (is_common(words[0]) or len(words[0].group()) == 1)):
        return ""
    return prose[words[0].start() : words[-1].end()].removesuffix("'s").removesuffix("\u2019s")


def _folded(text: str) -> str:
    """`text` in lower case, without accents, with straight apostrophes and single spaces."""
    import unicodedata

    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.sub(r"\s+", " ", plain.replace("\u2019", "'").replace("*", "").casefold())


def _prose(text: str) -> str:
    """`text` without JSON objects and tags."""
    decoder = json.JSONDecoder()
    pieces, at = [], 0
    while (start := text.find("{", at)) >= 0:
        pieces.append(text[at:start])
        try:
            _, at = decoder.raw_decode(text, start)
            pieces.append("\n")
        except ValueError:  # A brace that opens no JSON object is ordinary text.
            pieces.append("{")
            at = start + 1
    pieces.append(text[at:])
    return _TAG.sub("\n", "".join(pieces))

"""What a question is about, which property of it is asked for, and what turns its meaning."""

import re
from collections.abc import Iterable
from functools import lru_cache

from tinsmith.model.facts.sentences import content_word, sides_of
from tinsmith.model.facts.words import plain, stem, tokens_of, words_of

_GLOSS = re.compile(r"\([^)]*\)")


def _words_of(text: str) -> frozenset[str]:
    return frozenset(text.casefold().split())


_INTERROGATIVES = _words_of("how hur wie")
_DEGREES = _words_of(
    "long much many often tall high large big old far wide deep late early fast hot heavy expensive cold warm "
    "thick lång långt länge dags mycket många ofta hög högt stor stort stora gammal gamla bred brett djup djupt "
    "sen sent tidigt snabb snabbt tung tungt varm varmt dyr dyrt lang lange viel viele oft hoch groß alt weit "
    "breit tief spät früh schnell heiß schwer teuer warm kalt dick"
)
"""Words that ask for a property after `how`; elsewhere they tell things apart, as in `long hair`."""
_PROPERTIES = _words_of(
    "what which how when where why who mean time year much take takes cost costs price charge pay average speed "
    "size weight length life lifetime lifespan height width depth area duration distance temperature period limit "
    "cap ceiling amount number count total vad hur vilken vilket vilka när var vem varför innebär betyder tid "
    "tiden år tar kostar kosta kostnad kostnaden pris priset betala yta ytan storlek storleken vikt vikten längd "
    "längden höjd höjden bredd bredden djup djupet hastighet hastigheten avstånd avståndet temperatur "
    "temperaturen gräns gränsen antal antalet was wie wann wo wer warum welche welcher welches welchen welchem ab "
    "uhr jahr zeit dauert kostet kosten preis zahlen beträgt fläche größe gewicht länge höhe breite tiefe "
    "geschwindigkeit entfernung dauer temperatur grenze anzahl"
)
"""Words that tell which property is asked for, but not of what."""
_PERMISSIONS = _words_of(
    "allowed permitted possible bring welcome ha tillåtet tillåten tillåtna möjligt möjlig erlaubt gestattet "
    "möglich mitbringen"
)
"""Words that ask no more than `can I` does."""
_DUTIES = _words_of(
    "must need needs needed require required requires mandatory compulsory obligatory måste behöver krävs "
    "obligatoriskt muss müssen brauche braucht nötig pflicht"
)
_NEGATIONS = _words_of("not without no never inte utan ej aldrig nicht ohne kein keine nie sin")
_RESTRICTIONS = _words_of(
    "but except unless only if provided men utom om bara endast förutsatt aber außer nur wenn sofern"
)


def _sides_by_word(*rows: str) -> dict[str, list[tuple[str, int]]]:
    """Word -> its contrasts, each with the number of its side; sides are separated by slashes."""
    table: dict[str, list[tuple[str, int]]] = {}
    for row in rows:
        for place, side in enumerate(row.casefold().split(" / ")):
            for word in side.split():
                table.setdefault(word, []).append((row.split()[0], place))
    return table


_OPPOSITE_SIDES = _sides_by_word(
    "short korta kort kurze kurzes kurzen / long långa långt lange langes langen",
    "small little liten litet små kleine kleiner kleines kleinen"
    " / large big stor stort stora große großer großes großen",
    "new ny nytt nya neue neuer neues neuen / old gammal gammalt gamla alte alter altes alten",
    "light lätt lätta leichte / heavy tung tungt tunga schwere",
    "thin tunn tunna dünne / thick tjock tjocka dicke",
    "under below less fewer younger mindre färre yngre unter weniger jünger"
    " / over above exceeding more older mer fler äldre över über mehr älter",
    "private privat privata / public offentlig offentliga öffentliche",
)
"""Of words that tell things apart, unless they follow `how`."""
_PROPERTY_SIDES = _sides_by_word(
    "property_length long länge långt lang lange länger / wide width bred brett bredd breit breite"
    " / high tall height hög högt höjd hoch höhe / deep depth djup djupt tief tiefe / thick tjock tjockt dick dicke"
    " / heavy weight tung tungt vikt schwer gewicht",
)
"""Of words for the property asked for: nouns, and adjectives after `how`."""
_SAME_PAYMENT = {("payment", 0), ("payment", 1)}
"""A price and a fee."""
_COMPOUND_HEAD = re.compile(
    r"(?<=\w{4})(?:kosten|kostnad(?:en|er|erna)?|pris(?:et|er|erna)?|preise?n?|gebühr(?:en)?|avgift(?:en|er)?|zeit(?:en)?"
    r"|tid(?:en|er)?|dauer|höhe|länge|breite|tiefe|höjd(?:en)?|längd(?:en)?|bredd(?:en)?|djup(?:et)?)$"
)
"""What ends a Swedish or German compound and tells a property: `Versandkosten` is about `Versand`."""
_GERMAN = _words_of(
    "der die das den dem des ein eine einen einem einer eines und oder in im an am auf für von vom zu zum zur mit "
    "bei beim ist sind war wird werden wurde hat haben kann man ich wir sie es mein meine ihr ihre nach aus über "
    "unter bis gibt geben muss darf soll dauert gilt gelten kein keine nicht auch nur sich beträgt"
)
"""German words without content, which `model/facts` does not know."""
_ASKING = _PROPERTIES | _PERMISSIONS | _GERMAN
_MIN_COMPOUND = 7
_UNIT_WORDS = frozenset(
    map(
        stem,
        _words_of(
            "sek kr kronor eur euro usd dollar gbp m2 percent procent year month week day hour minute år månad vecka "
            "veckor dag dagar timme timmar minut jahr jahre monat monate woche wochen tag tage stunde stunden"
        ),
    )
)
EMPTY_STEMS = _UNIT_WORDS | frozenset(map(stem, _GERMAN | _PROPERTIES))
"""Stems that do not tell two things apart."""


def topic_words(question: str) -> frozenset[str]:
    """Stems and numbers of a question that tell what it is about."""
    kept = []
    before = ""
    for kind, text in _words_with_kinds(_GLOSS.sub(" ", plain(question))):
        lower = text.casefold()
        if not (lower in _ASKING or (lower in _DEGREES and before in _INTERROGATIVES)):
            kept.append((kind, _without_head(text)))
        before = lower
    return _specific(kept)


@lru_cache(maxsize=100_000)
def _without_head(word: str) -> str:
    lower = word.casefold()
    head = _COMPOUND_HEAD.search(lower) if len(lower) >= _MIN_COMPOUND else None
    return word[: head.start()] if head else word


def specific_words(text: str) -> frozenset[str]:
    """Stems and numbers of plain text, without words of grammar and units. Parts of a compound with hyphens count."""
    return _specific((kind, word) for kind, word in _words_with_kinds(text) if not _is_german(word))


def _words_with_kinds(text: str) -> list[tuple[str, str]]:
    return words_of(text.replace("-", " "))


@lru_cache(maxsize=100_000)
def _is_german(word: str) -> bool:
    return word.casefold() in _GERMAN


def _specific(words: Iterable[tuple[str, str]]) -> frozenset[str]:
    specific = set()
    for kind, word in words:
        if kind == "word":
            specific.add(content_word(word))
        elif kind == "number":
            specific.add(word)
    specific.discard("")
    return frozenset(specific - _UNIT_WORDS)


def negations(question: str) -> frozenset[str]:
    """Words of a question that turn its meaning, such as `without`."""
    return _words(question) & _NEGATIONS


def is_restricted(statement: str) -> bool:
    """Whether a statement has a word that limits what it says, such as `unless`."""
    return not _words(statement).isdisjoint(_RESTRICTIONS | _NEGATIONS)


def asks_for_duty(question: str) -> bool:
    """Whether a question asks what must be, not what may be."""
    return not _words(question).isdisjoint(_DUTIES)


def are_opposite(one: frozenset[tuple[str, int]], other: frozenset[tuple[str, int]]) -> bool:
    """Whether sides are on different sides of a contrast."""
    names = {name for name, _ in one} & {name for name, _ in other}
    return any({s for s in one if s[0] == name}.isdisjoint(s for s in other if s[0] == name) for name in names)


def sides(question: str) -> frozenset[tuple[str, int]]:
    """Contrasts in which a question takes a side, with that side: short or long, width or height, open or close."""
    tokens = tokens_of(plain(question))
    own = set()
    before = ""
    for token in tokens:
        lower = token.lower
        is_degree = before in _INTERROGATIVES
        if is_degree or lower not in _DEGREES:
            own.update(_PROPERTY_SIDES.get(lower, ()))
        if not is_degree:
            own.update(_OPPOSITE_SIDES.get(lower, ()))
        before = lower
    return frozenset(own) | (sides_of(tokens) - _SAME_PAYMENT)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold()))

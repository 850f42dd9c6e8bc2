"""Dates, times of day, weekdays, phone numbers and codes in plain text."""

import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import cache

from tinsmith.model.facts.lexicon import numbers
from tinsmith.model.facts.values import Part, Value

_SPAN = r"\s?(?:-|\u2013|\u2014|to|till|until|bis|through)\s?"
_RANGE = r"\s?(?:-|\u2013|\u2014|to|till|until|bis|and|och)\s?"


_LETTERS = re.compile(r"[^\W\d_]+")
_DIGIT = re.compile(r"\d")
_AROUND = 120
"""More characters than any pattern matches before its first digit or behind its last one."""
_SHORT_DAYS = frozenset("mon tue tues wed thu thur thurs fri sat sun".split())
_NEAR = 6
"""Characters between a weekday and its date."""


def find_calendar(text: str) -> list[Value]:
    """All of them in plain text, in order. Each place of the text counts once; the first pattern that fits wins."""
    values: list[Value] = []
    has_words = not _calendar_words().isdisjoint(_LETTERS.findall(text.casefold()))
    start, end = (0, len(text)) if has_words else _around_digits(text)
    for pattern, read in _patterns() if has_words else _patterns_of_digits():
        for match in pattern.finditer(text, start, end):
            if any(match.start() < value.end and value.start < match.end() for value in values):
                continue
            values += [
                Value(kind, parts, unit, "", edge, *match.span()) for kind, parts, unit, edge in read(match) if parts
            ]
    values = [value for value in values if not _is_day_of_date(value, values)]
    return sorted(values, key=lambda value: (value.start, value.edge != "start"))


def _around_digits(text: str) -> tuple[int, int]:
    """The part of a text that patterns with digits can match."""
    first = _DIGIT.search(text)
    if not first:
        return 0, 0
    last = max(match.start() for match in _DIGIT.finditer(text, first.start()))
    return max(0, first.start() - _AROUND), min(len(text), last + 1 + _AROUND)


@cache
def _calendar_words() -> frozenset[str]:
    """Words that a pattern can match without a digit."""
    listed = (*numbers("months"), *numbers("weekdays"), *numbers("spoken_times"), *_hour_words())
    named = (part for word in listed for part in _LETTERS.findall(word.casefold()))
    return frozenset(named) | frozenset("half quarter kvart halv noon midday midnight midnatt".split()) | _SHORT_DAYS


def _hour_words() -> list[str]:
    return [word for word, value in numbers("numerals").items() if 1 <= value <= 12 and len(word) > 2]


def _is_day_of_date(value: Value, values: Sequence[Value]) -> bool:
    """Whether a weekday only names the day of a date beside it, as in `Friday 14 March`."""
    return value.kind == "weekday" and any(
        other.kind == "date" and other.parts[2] is not None and 0 <= other.start - value.end <= _NEAR
        for other in values
    )


_Read = Iterator[tuple[str, tuple[Part, ...], str, str]]
"""Kind, parts, unit and edge of each value that a pattern's match states."""
_Pattern = tuple[re.Pattern[str], Callable[[re.Match[str]], _Read]]


@cache
def _patterns_of_digits() -> tuple[_Pattern, ...]:
    """Patterns that can match without a word of the calendar: those that find one in digits and signs alone."""
    return tuple(one for one in _patterns() if one[1] not in _READ_WORDS and "name" not in one[0].groupindex)


@cache
def _patterns() -> tuple[_Pattern, ...]:
    numeral = "|".join(_hour_words())
    return (
        *_date_patterns(),
        (_re(rf"(?P<phone>(?<![\w.,/-])(?<!\d ){_PHONE_NUMBER})(?!\w)"), _phone),
        *_clock_patterns(rf"(?P<hour>\d{{1,2}}|{numeral})", numeral),
        *_other_patterns(),
    )


def _date_patterns() -> list[_Pattern]:
    name = rf"(?P<name>{_any('months')})"
    # Words such as may and march are months only beside a day or a year, or with a capital after a preposition.
    sure = "|".join(
        word for word in numbers("months") if word not in ("may", "march", "mar", "mars", "jan", "sep", "dec")
    )
    day = r"(?P<day>\d{1,2})(?:st|nd|rd|th|:[ea])?"
    year = r"(?:,?\s(?P<year>\d{4})(?!\d))?"
    slashed = r"(?P<first>\d{1,2})(?P<sign>[./])(?P<second>\d{1,2})(?P=sign)(?P<year>\d{4})"
    return [
        (_re(r"(?<![\d.-])(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})(?!\d)"), _date),
        (_re(rf"(?<![\d.:/-]){slashed}(?![\d/])"), _slashed),
        (_re(r"(?<![\w.:/-])(?!24/7)(?P<day>1[3-9]|2\d|3[01])/(?P<month>1[0-2]|[1-9])(?![\w/]|[.,]\d)"), _date),
        (_re(rf"(?<![\w:.]){day}(?:\sof)?\s{name}\b\.?{year}"), _date),
        (_re(rf"\b{name}\.?\s{day}(?![\d:.]\d|\d){year}"), _date),
        (_re(rf"\b{name}\.?,?\s(?P<year>(?:19|20)\d\d)\b"), _date),
        (_re(rf"\b(?P<name>{sure})\b"), _date),
        (_re(r"\b(?:in|of|until|till|from|during|before|after|by|since) (?-i:(?P<name>May|March))\b"), _date),
    ]


def _clock_patterns(hour: str, numeral: str) -> list[_Pattern]:
    half = (
        r"(?P<half>\s?(?:am|pm|a\.m\.?|p\.m\.?)(?!\w)|\s(?:o'clock\s)?in the (?:morning|afternoon|evening)|\sat night"
        r"|\s(?:på )?(?:morgonen|eftermiddagen|kvällen))"
    )
    clock = r"(?:kl\.?|klockan|@)\s?"
    cue = (
        r"(?:kl\.?|klockan|at|from|until|till|by|before|after|between|mellan|från|före|efter|to|and|open|öppet|opens"
        r"|closes|stänger|öppnar|går|avgår|kommer|börjar|slutar|startar|leaves|departs|arrives|starts|ends)\s"
    )
    opened = r"(?:open|opens|opening hours|hours|öppet|öppettider|kl\.?|klockan)\b[^.\d\n]{0,40}?"
    span = r"(?<![\w.])(?:from\s|från\s)?"
    minute = r"(?P<minute>\d{2})"
    other_hour = rf"(?P<hour2>\d{{1,2}}|{numeral})"
    no_amount = r"(?![\w%]|[.,:]\d|\s?(?:%|days|hours|weeks|dagar|timmar|kr|SEK))"
    at_end = r"(?=\s?(?:[.!?;,]|$|\n|on\b|every\b|daily\b|and\b))"
    two = r"\d{1,2}[:.]\d{2}"
    return [
        (_re(rf"{span}(?P<a>{two}){_RANGE}(?:kl\.?\s?)?(?P<b>{two})(?![\w:]|[.,]\d)"), _hours),
        (_re(rf"{span}(?P<a>\d{{1,2}})\s?(?P<ahalf>am|pm)?{_RANGE}(?P<b>\d{{1,2}})\s?(?P<bhalf>am|pm)(?!\w)"), _hours),
        (_re(rf"\b{opened}(?P<a>\d{{1,2}}){_RANGE}(?P<b>\d{{1,2}}){no_amount}"), _hours),
        (_re(rf"(?<![\w.:/-])(?:{clock})?(?P<hour>\d{{1,2}}):{minute}(?![\w:]){half}?"), _time),
        (_re(rf"(?<!\w){clock}(?P<hour>\d{{1,2}})\.{minute}(?![\w:]|[.,]\d)"), _time),
        (_re(rf"\b{cue}(?P<hour>\d{{1,2}})\.{minute}{no_amount}(?!\s?(?:m|kg)\b)"), _time),
        (_re(rf"(?<![\w.,:])(?P<hour>\d{{1,2}})\.{minute}{half}"), _time),
        (_re(rf"\bhalf past {hour}{half}?"), _half_past),
        (_re(rf"\b(?:a )?quarter past {hour}{half}?|\bkvart över {other_hour}"), _quarter_past),
        (_re(rf"\b(?:a )?quarter to {hour}{half}?|\bkvart i {other_hour}"), _quarter_to),
        (_re(rf"\bhalv {hour}\b(?! gånger)"), _half_to),
        (_re(rf"\b(?P<minutes>{_any('spoken_times')}) (?:minutes )?(?:past|över) {hour}{half}?"), _minutes_past),
        (_re(rf"(?<![\w.,]){hour}{half}"), _time),
        (_re(rf"(?<!\w){clock}{hour}(?![\w%]|[.,:]\d)"), _time),
        (_re(rf"(?<![\w.,]){hour} o'clock"), _time),
        (_re(rf"\b(?:at|closes|opens|shuts|until) {hour}(?: sharp)?{at_end}"), _time),
        (_re(r"\b(?P<noon>noon|midday|midnight|midnatt)\b"), _noon),
    ]


_PHONE_NUMBER = r"(?:\+\d{1,3}|00[1-9]\d|\(?0[1-9]\d{0,2}\)?)(?:[ ()/-]{0,3}\d{1,4}){2,6}"


def _other_patterns() -> list[_Pattern]:
    weekday = _any("weekdays")
    short_days = r"(?-i:Mon|Tue|Tues|Wed|Thu|Thur|Thurs|Fri|Sat|Sun)"
    code = r"\d{1,4}:\d{1,4}|\d+\.\d+\.\d+(?:\.\d+)*|\d{1,4}/\d{4}"
    return [
        (_re(rf"\b(?P<a>{weekday}){_SPAN}(?P<b>{weekday})\b"), _weekdays),
        (_re(rf"\b(?P<a>{short_days}|{_full_weekdays()})\b"), _weekdays),
        (_re(rf"(?<![\w.:/-])(?P<code>{code})(?![\w:]|[.,]\d)"), _code),
    ]


def _re(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _any(table: str) -> str:
    return "|".join(sorted(numbers(table), key=len, reverse=True))


def _full_weekdays() -> str:
    return "|".join(word for word in sorted(numbers("weekdays"), key=len, reverse=True) if len(word) > 5)


def _date(match: re.Match[str]) -> _Read:
    groups = match.groupdict()
    name = groups.get("name")
    month = numbers("months")[name.casefold()] if name else Fraction(groups["month"])
    year, day = groups.get("year"), groups.get("day")
    if month <= 12 and int(day or 1) <= 31:
        yield "date", (Fraction(year) if year else None, month, Fraction(day) if day else None), "", ""


def _slashed(match: re.Match[str]) -> _Read:
    first, second = int(match["first"]), int(match["second"])
    if second > 12:
        first, second = second, first
    if first <= 31 and second <= 12:
        yield "date", (Fraction(match["year"]), Fraction(second), Fraction(first)), "", ""


def _phone(match: re.Match[str]) -> _Read:
    digits = re.sub(r"\D", "", match["phone"])
    is_international = match["phone"].startswith(("+", "00"))
    if len(digits) >= 7 and (is_international or re.search(r"[ ()/-]", match["phone"]) or len(digits) >= 9):
        national = re.sub(r"\(0\)", "", match["phone"])
        yield "phone", (re.sub(r"\D", "", national).removeprefix("00").lstrip("0"),), "", ""


def _minutes(hour: str, minute: str = "0", half: str = "") -> tuple[Fraction, str] | None:
    hours = numbers("numerals").get(hour.casefold()) if not hour.isdigit() else Fraction(hour)
    half = (half or "").strip().casefold().replace(".", "")
    is_late = (half.startswith("p") and "morgon" not in half) or any(
        w in half for w in ("afternoon", "evening", "night", "eftermid", "kväll")
    )
    if hours is None or hours > 24 or int(minute) > 59:
        return None
    if is_late and hours < 12:
        hours += 12
    elif half.startswith("a") and hours == 12:
        hours = Fraction(0)
    is_open = not half and 1 <= hours <= 12 and not (len(hour) == 2 and hour.startswith("0"))
    return 60 * hours + int(minute), "?" if is_open else ""


def _time(match: re.Match[str]) -> _Read:
    groups = match.groupdict()
    time = _minutes(groups["hour"], groups.get("minute") or "0", groups.get("half") or "")
    if time:
        # With minutes it is a 24-hour time unless am or pm follows; `5:30` may still be either.
        yield "time", (time[0],), time[1], ""


def _shifted(minutes: int) -> Callable[[re.Match[str]], _Read]:
    def read(match: re.Match[str]) -> _Read:
        groups = match.groupdict()
        time = _minutes(groups.get("hour") or groups.get("hour2") or "", "0", groups.get("half") or "")
        if time:
            yield "time", (time[0] + minutes,), time[1], ""

    return read


_half_past, _quarter_past, _quarter_to, _half_to = _shifted(30), _shifted(15), _shifted(-15), _shifted(-30)


def _minutes_past(match: re.Match[str]) -> _Read:
    return _shifted(int(numbers("spoken_times")[match["minutes"].casefold()]))(match)


def _noon(match: re.Match[str]) -> _Read:
    yield "time", (Fraction(0 if match["noon"].casefold().startswith("midn") else 720),), "", ""


def _hours(match: re.Match[str]) -> _Read:
    groups = match.groupdict()
    ends = []
    for name in ("a", "b"):
        hour, _, minute = groups[name].replace(".", ":").partition(":")
        ends.append(_minutes(hour, minute or "0", groups.get(f"{name}half") or ""))
    if ends[0] and ends[1]:
        yield "time", (ends[0][0],), ends[0][1], "start"
        yield "time", (ends[1][0],), ends[1][1], "end"


def _weekdays(match: re.Match[str]) -> _Read:
    groups = match.groupdict()
    first = [int(digit) for digit in str(numbers("weekdays")[groups["a"].casefold()])]
    last = [int(digit) for digit in str(numbers("weekdays")[groups["b"].casefold()])] if groups.get("b") else first
    is_range = len(first) == len(last) == 1 and first[0] < last[0]
    days = range(first[0], last[0] + 1) if is_range else sorted({*first, *last})
    yield "weekday", tuple(Fraction(day) for day in days), "", ""


def _code(match: re.Match[str]) -> _Read:
    yield "code", (match["code"],), "", ""


_READ_WORDS = (_half_past, _quarter_past, _quarter_to, _half_to, _minutes_past, _noon, _weekdays)
"""What reads a match that has a word of the calendar."""

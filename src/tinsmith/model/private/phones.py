"""Phone numbers: the numbering plans of the library `phonenumbers`, spelling and the words before decide together."""

import re
from collections.abc import Iterator
from functools import lru_cache

import phonenumbers
from phonenumbers import PhoneNumberType

from tinsmith.model.private.context import label, mentions
from tinsmith.model.private.item import PrivateItem

_SEPARATOR = r"(?:[ \n]?[-/.][ ]?|[ \n]|\(0\)[ ]?|\)[ ]?|[ ]\()"
_INTERNATIONAL = re.compile(
    rf"(?<![\w+.,])(?:\+|%2B|00(?=[1-9 ]))[ ]?\(?[0-9](?:{_SEPARATOR}{{0,2}}[0-9]){{6,14}}(?![0-9])", re.IGNORECASE
)
_NATIONAL = re.compile(rf"(?<![\w.,/:+-])(?<![0-9] )\(?0[0-9](?:{_SEPARATOR}{{0,2}}[0-9]){{5,11}}(?![0-9]|[.,:][0-9])")
_AMERICAN = re.compile(
    r"(?<![\w.,/:+-])(?:1[-. ])?(?:\([2-9][0-9]{2}\) ?[0-9]{3}|[2-9][0-9]{2}[-.][2-9][0-9]{2})[-. \n][0-9]{4}"
    r"(?![\w-]|[.,][0-9])"
)
_LABELLED = re.compile(rf"(?<![\w.,:+])[1-9(][0-9]?(?:{_SEPARATOR}{{0,2}}[0-9]){{5,11}}(?![0-9\w]|[ .,:-]{{1,3}}[0-9])")
_DATE = re.compile(
    r"(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/. ]{1,2}[0-9]{1,2}[-/. ]{1,2}(?:19|20)?[0-9]{2}\b)"
)
_HOURS = re.compile(r"[0-2]?[0-9][-.][0-5]?[0-9](?:[ \n][0-2]?[0-9][-.][0-5]?[0-9])*")
_REGIONS = ("SE", "DE", "GB", "FR", "NL", "CH", "AT", "IT", "BE")
"""Countries whose numbers are recognised without a country code, if they start with 0."""
_MIN_DIGITS, _MAX_DIGITS, _VALUE_DIGITS = 7, 15, 8
_LAST_GROUP = re.compile(r"(?<=[0-9])[^0-9]+[0-9]+$")
_MOBILE = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE, PhoneNumberType.PERSONAL_NUMBER)


def phone_numbers(text: str, start: int, end: int) -> Iterator[PrivateItem]:
    """Phone numbers in a part of `text` full of digits. Their value is the end that all spellings of a number share."""
    for shape, is_phone in (
        (_INTERNATIONAL, _is_international),
        (_NATIONAL, _is_national),
        (_AMERICAN, _is_american),
        (_LABELLED, _is_labelled),
    ):
        for match in shape.finditer(text, start, end):
            # Digits that only words before them call a phone number have to be all of them.
            for number in [match.group()] if shape is _LABELLED else _shortened(match.group()):
                digits = re.sub(r"%2B|[^0-9]", "", number, flags=re.IGNORECASE)
                if is_phone(text, match.start(), number, digits):
                    yield PrivateItem(match.start(), match.start() + len(number), "phone", digits[-_VALUE_DIGITS:])
                    break


def _shortened(number: str) -> Iterator[str]:
    """The number, then without its last group, and so on: a time or an amount may follow it."""
    while number:
        yield number
        number = number[: match.start()] if (match := _LAST_GROUP.search(number)) else ""


def _is_international(text: str, start: int, number: str, digits: str) -> bool:
    digits = digits if number[0] in "+%" else digits.removeprefix("00")
    digits = digits.replace("0", "", 1) if "(0)" in number else digits
    if not _MIN_DIGITS < len(digits) <= _MAX_DIGITS or label(text, start) == "other":
        return False
    is_valid, is_possible, _ = _plan(f"+{digits}", None)
    return is_valid or (is_possible and mentions(text, start, "phone"))


def _is_national(text: str, start: int, number: str, digits: str) -> bool:
    name = label(text, start)
    if not 8 <= len(digits) <= 12 or name in ("other", "identity") or _is_date_or_hours(number):
        return False
    if name == "phone" or mentions(text, start, "phone"):
        return True
    is_grouped = number != digits
    plans = [_plan(digits, region) for region in _REGIONS]
    if is_grouped:
        return any(is_valid for is_valid, _, _ in plans)
    return any(is_mobile for _, _, is_mobile in plans) and not mentions(text, start, "other")


def _is_american(text: str, start: int, number: str, digits: str) -> bool:
    return len(digits) >= 10 and label(text, start) not in ("other", "identity")


def _is_labelled(text: str, start: int, number: str, digits: str) -> bool:
    is_named = label(text, start) == "phone" and not mentions(text, start, "other")
    is_decimal = number.count(".") == 1
    return is_named and _MIN_DIGITS <= len(digits) <= 11 and not is_decimal and not _is_date_or_hours(number)


def _is_date_or_hours(number: str) -> bool:
    return bool(_DATE.match(number) or _HOURS.fullmatch(number))


@lru_cache(maxsize=65_536)
def _plan(number: str, region: str | None) -> tuple[bool, bool, bool]:
    """Whether a number is valid, possible, and a valid mobile one, by its country's plan."""
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return False, False, False
    is_valid = phonenumbers.is_valid_number(parsed)
    is_mobile = is_valid and phonenumbers.number_type(parsed) in _MOBILE
    return is_valid, phonenumbers.is_possible_number(parsed), is_mobile

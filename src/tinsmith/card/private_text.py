"""Warnings about texts that look private. They help a person decide; finding nothing proves nothing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # AWS
    r"|\b(?:gh[pousr]|github_pat|glpat|hf|sk|pk|rk|xox[abprs])[_-][\w-]{16,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # JSON web token
    r"|\b(?=\S*\d)(?=\S*[a-z])(?=\S*[A-Z])[A-Za-z0-9+/_]{32,}={0,2}"  # long, with digits, upper and lower case
)
_CARD = re.compile(r"(?<![\d.,])\d(?:[ -]?\d){12,18}(?![\d.,]*\d)")
_PHONE = re.compile(r"(?<![\w.,/:-])(?<!\d )(?:\+|\(|00?)?\d(?:[ ()/-]{0,2}\d){6,14}(?!\w|[ -]\d)")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,2}[/-]\d{1,2}[/-]\d{4}")


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A part of a text that looks private."""

    kind: str
    """Such as `an e-mail address`."""
    text: str


def suspicions(text: str) -> list[Suspicion]:
    """Parts that look like an e-mail address, a key, a card number or a phone number, in that order."""
    parts: list[Suspicion] = []
    rest = text
    for kind, matches in (
        ("an e-mail address", _EMAIL.findall),
        ("a key or password", _KEY.findall),
        ("a card number", _card_numbers),
        ("a phone number", _phone_numbers),
    ):
        for match in matches(rest):
            parts.append(Suspicion(kind, match))
            rest = rest.replace(match, "\n")
    return parts


def _card_numbers(text: str) -> Iterator[str]:
    return (match.group() for match in list(_CARD.finditer(text)) if _passes_luhn(re.sub(r"\D", "", match.group())))


def _passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit that payment cards have (ISO/IEC 7812-1)."""
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


def _phone_numbers(text: str) -> Iterator[str]:
    for match in list(_PHONE.finditer(text)):
        number = match.group()
        count = len(re.sub(r"\D", "", number))
        # Seven digits can be a price or a range of years. Only longer numbers count as phone numbers.
        if count >= (8 if number[0] in "+(0" else 10) and not _DATE.match(number):
            yield number

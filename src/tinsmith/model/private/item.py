"""One part of a text that is personal data or a secret."""

from dataclasses import dataclass

_DESCRIPTIONS = {
    "email": "an e-mail address",
    "phone": "a phone number",
    "card": "a card number",
    "iban": "a bank account number",
    "personal_id": "a national identity number",
    "ip": "an IP address",
    "mac": "a MAC address",
    "wallet": "a cryptocurrency address",
    "address": "a postal address",
    "person": "the name of a person",
    "url_login": "a URL with a password",
    "url_token": "a URL with a key",
    "password": "a password",
}
"""Kind -> what it is. Every other kind is a key or token of a service, such as `aws_key`."""


@dataclass(frozen=True, slots=True)
class PrivateItem:
    """A part of a text that looks private."""

    start: int
    end: int
    kind: str
    """Such as `email` or `github_token`; in a mask, in upper case."""
    value: str
    """The item in one spelling, whatever spaces, dashes and letter case the text uses."""


def described(kind: str) -> str:
    """A kind in words, with its article, such as `an e-mail address`."""
    return _DESCRIPTIONS.get(kind, "a key or password")


def shortened(text: str) -> str:
    """The ends of a private text, enough for its owner to recognise it: `ad...le (20 characters)`."""
    text = " ".join(text.split())
    shown = min(2, len(text) // 5)
    return f"{text[:shown]}...{text[len(text) - shown :]} ({len(text)} characters)"

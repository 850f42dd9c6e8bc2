"""What the words before a number call it: a phone, a person's identity, or something public such as an order.

Digits alone often fit several kinds. Only the words close before them tell an order number from a phone number.
"""

import re

_WINDOW_CHARACTERS = 48

_PHONE = """
    tel phone telephone fon telefon\\w* mobil\\w* cell call\\w* ring\\w* nå\\w* sms\\w* text texta whatsapp fax
    ruf\\w* rufnummer anruf\\w* angerufen handy\\w* rückruf\\w* durchwahl telefonnummer reach\\w* swish\\w*
    erreich\\w* contact kontakt\\w* dial\\w* number nummer numret signal msisdn
"""
_IDENTITY = """
    personnummer\\w* samordningsnummer\\w* personnr pers\\.?nr pnr ssn social\\ security taxpayer tax\\ id tin
    steuer\\w* steuer-id\\w* steuer-identifikationsnummer idnr identifikationsnummer identitets\\w*
    national\\ insurance nino ni\\ number dni nie nif nir insee sécurité\\ sociale bsn burgerservicenummer pesel
    cpr\\w* henkilötunnus hetu fødselsnummer\\w* ahv\\w* rijksregister\\w* nhs national\\ id\\w* identity
    id-nummer id-number ausweis\\w* sozialversicherung\\w* versicherungsnummer svnr
"""
_OTHER = """
    order\\w* beställning\\w* bestell\\w* auftrag\\w* art artnr art\\.nr art\\.?-nr artikel\\w* article item product
    produkt\\w* sku ean gtin isbn upc barcode streckkod\\w* invoice\\w* faktura\\w* rechnung\\w* kundnummer
    kundennummer customer ticket\\w* case ärende\\w* vorgang\\w* ref\\w* tracking kolli\\w* sändning\\w*
    sendung\\w* paket\\w* parcel serial\\w* serie\\w* version ver build firmware model\\w* modell\\w* part
    reservdel\\w* orgnr org\\.?-?nr organisationsnummer vat moms\\w* batch lot charge\\w* policy sfs iso afs bfs
    pris\\w* price\\w* preis\\w* sek eur usd gbp page sida coordinates? koordinat\\w* lat lon commit hash
    checksum md5 sha\\d* size storlek größe maß\\w* mått värde wert value
"""
_LINKS = (
    "no nr num number nummer nummern id code is was är var ist war lautet to på at unter under von of the me mig mich"
)


def _either(words: str) -> str:
    return "|".join(re.split(r"(?<!\\)\s+", words.strip()))


_LABEL = re.compile(
    rf"(?<![^\W_])(?:(?P<other>{_either(_OTHER)})|(?P<identity>{_either(_IDENTITY)})|(?P<phone>{_either(_PHONE)}))"
    rf"(?:[^\w\n]{{1,4}}(?:{_either(_LINKS)})\b){{0,4}}[^\w]{{0,8}}$",
    re.IGNORECASE,
)
_MENTION = {
    name: re.compile(rf"(?<![^\W_])(?:{_either(words)})(?![^\W_])", re.IGNORECASE)
    for name, words in (("phone", _PHONE), ("identity", _IDENTITY), ("other", _OTHER))
}


def label(text: str, start: int) -> str:
    """What the words right before `start` call it: `phone`, `identity`, `other`, or nothing (empty)."""
    match = _LABEL.search(text[max(0, start - _WINDOW_CHARACTERS) : start])
    return (match.lastgroup or "") if match else ""


def mentions(text: str, start: int, what: str, more: int = 0) -> bool:
    """Whether words for `phone`, `identity` or `other` stand in the 48 characters before `start`, and `more` before."""
    return _MENTION[what].search(text, max(0, start - _WINDOW_CHARACTERS - more), start) is not None

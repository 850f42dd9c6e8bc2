"""Made-up personal data and secrets with valid check digits. None of them is real.

Where a country or company reserves values for films, tests or documentation, these are drawn from: `.example` domains
(RFC 2606), addresses for documentation (RFC 5737, RFC 3849), phone numbers for drama (PTS, Bundesnetzagentur, Ofcom,
NANPA), test series of card numbers. All others are drawn at random.
"""

import base64
import hashlib
import random
import string
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

LOWER_DIGITS = string.ascii_lowercase + string.digits
ALPHANUMERIC = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Value:
    """A value in its usual spelling and in others that people use."""

    kind: str
    """As the detector calls it."""
    group: str
    """Which sentences fit."""
    text: str
    other: str
    """With other separators, if there are any."""
    compact: str
    """Without separators, as in a URL."""
    any_case: bool = True
    """Whether upper case is the same value."""


def luhn_digit(digits: str) -> str:
    """Check digit that makes `digits` pass the Luhn test."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 - index % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)


def digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices(string.digits, k=count))


def drawn(rng: random.Random, alphabet: str, count: int) -> str:
    """Random characters, with a digit and a letter at least if the alphabet has both."""
    while True:
        text = "".join(rng.choices(alphabet, k=count))
        has_digit = any(c.isdigit() for c in text) or not any(c.isdigit() for c in alphabet)
        has_lower = any(c.islower() for c in text) or not any(c.islower() for c in alphabet)
        if has_digit and has_lower:
            return text


def grouped(text: str, *sizes: int, by: str = " ") -> str:
    """`text` in groups of these sizes; the last size repeats."""
    parts, at = [], 0
    sizes = sizes or (4,)
    while at < len(text):
        size = sizes[min(len(parts), len(sizes) - 1)]
        parts.append(text[at : at + size])
        at += size
    return by.join(parts)


def _email(rng: random.Random) -> Value:
    first = rng.choice("ada björn kim lena oskar priya sam yusuf zoë maria hans".split())
    last = rng.choice("berg lund meyer novak okafor schulz smith svensson wang".split())
    local = rng.choice((f"{first}.{last}", f"{first}_{last[0]}", f"{first[0]}{last}{digits(rng, 2)}", f"{first}+shop"))
    domain = rng.choice(("mail.example", "post.shop.example", "example.org", "kund-service.example", "uni.example"))
    text = f"{local}@{domain}"
    spelled = rng.choice(
        (f"{local} (at) {domain}", f"{local}[at]{domain}", f"{local} [at] {domain.replace('.', ' [dot] ')}")
    )
    return Value("email", "email", text, spelled, text)


_PHONES = (
    ("+46", "70", "1740{:03d}", (605, 699), (3, 2, 2)),
    ("+46", "8", "46500{:03d}", (400, 499), (3, 3, 2)),
    ("+46", "31", "3900{:03d}", (600, 649), (3, 2, 2)),
    ("+49", "30", "23125{:03d}", (0, 999), (3, 2, 3)),
    ("+49", "171", "39200{:02d}", (0, 99), (3, 2, 2)),
    ("+49", "221", "4710{:03d}", (0, 999), (4, 3)),
    ("+44", "20", "79460{:03d}", (0, 999), (4, 4)),
    ("+44", "161", "4960{:03d}", (0, 999), (3, 4)),
    ("+1", "212", "55501{:02d}", (0, 99), (3, 4)),
    ("+1", "415", "55501{:02d}", (0, 99), (3, 4)),
)
"""Country, area, pattern of the rest, its range, and the groups in which people write the rest."""


def _phone(rng: random.Random, is_international: bool) -> Value:
    country, area, pattern, span, sizes = rng.choice(_PHONES)
    rest = pattern.format(rng.randint(*span))
    spaced = grouped(rest, *sizes)
    dashed = grouped(rest, *sizes, by="-")
    if is_international:
        other = rng.choice(
            (f"{country} ({area}) {spaced}", f"00{country[1:]} {area} {spaced}", f"{country}-{area}-{dashed}")
        )
        return Value("phone", "phone", f"{country} {area} {spaced}", other, f"{country}{area}{rest}")
    if country == "+1":
        return Value("phone", "phone", f"({area}) {dashed}", f"{area}-{dashed}", f"{area}-{dashed}")
    area = f"0{area}"
    other = rng.choice((f"{area} {spaced}", f"({area}) {spaced}", f"{area}/{rest}"))
    return Value("phone", "phone", f"{area}-{spaced}", other, f"{area}{rest}")


def _card(rng: random.Random) -> Value:
    prefix, length = rng.choice((("424242", 16), ("400000", 16), ("555555", 16), ("222300", 16), ("378282", 15)))
    body = prefix + digits(rng, length - len(prefix) - 1)
    number = body + luhn_digit(body)
    sizes = (4, 6, 5) if length == 15 else (4,)
    return Value("card", "card", grouped(number, *sizes), grouped(number, *sizes, by="-"), number)


def _iban(rng: random.Random) -> Value:
    country, bban = rng.choice(
        (
            ("DE", digits(rng, 18)),
            ("SE", "500" + digits(rng, 17)),
            ("GB", "WEST" + digits(rng, 14)),
            ("NL", "ABNA" + digits(rng, 10)),
            ("AT", digits(rng, 16)),
        )
    )
    values = "".join(str(int(character, 36)) for character in f"{bban}{country}00")
    number = f"{country}{98 - int(values) % 97:02d}{bban}"
    return Value("iban", "iban", grouped(number), grouped(number, by="-"), number)


def _swedish_id(rng: random.Random, is_coordination: bool) -> Value:
    year, month, day = rng.randint(1940, 2009), rng.randint(1, 12), rng.randint(1, 28)
    # Birth numbers from 980 are Skatteverket's test series.
    body = f"{year % 100:02d}{month:02d}{day + 60 * is_coordination:02d}{rng.randint(980, 999)}"
    number = body + luhn_digit(body)
    century = str(year)[:2]
    text = f"{number[:6]}-{number[6:]}"
    other = rng.choice((f"{century}{text}", f"{century}{number}"))
    return Value("personal_id", "id_sv", text, other, f"{century}{number}")


def _german_id(rng: random.Random) -> Value:
    numbers = rng.sample(range(1, 10), 9)
    numbers.insert(rng.randrange(2, 10), numbers[0])
    product = 10
    for number in numbers:
        product = ((number + product) % 10 or 10) * 2 % 11
    number = "".join(map(str, numbers)) + str((11 - product) % 10)
    return Value("personal_id", "id_de", grouped(number, 2, 3), grouped(number, 2, 3, by="-"), number)


def _american_id(rng: random.Random) -> Value:
    number = f"{rng.randint(1, 665):03d}{rng.randint(1, 99):02d}{rng.randint(1, 9999):04d}"
    return Value(
        "personal_id",
        "id_us",
        grouped(number, 3, 2, 4, by="-"),
        grouped(number, 3, 2, 4),
        grouped(number, 3, 2, 4, by="-"),
    )


def _british_id(rng: random.Random) -> Value:
    number = f"{rng.choice('ABCEHJKLMPRSTWXY')}{rng.choice('ABCEHJKLMPRSTWXYZ')}{digits(rng, 6)}{rng.choice('ABCD')}"
    number = "AB" + number[2:] if number[:2] in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ") else number
    return Value("personal_id", "id_gb", grouped(number, 2), grouped(number, 2, by="-"), number)


_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"


def _spanish_id(rng: random.Random) -> Value:
    if rng.random() < 0.5:
        number = digits(rng, 8)
        letter = _DNI_LETTERS[int(number) % 23]
        return Value("personal_id", "id_es", number + letter, f"{number}-{letter}", number + letter)
    prefix, number = rng.randrange(3), digits(rng, 7)
    letter = _DNI_LETTERS[int(f"{prefix}{number}") % 23]
    text = f"{'XYZ'[prefix]}{number}{letter}"
    return Value("personal_id", "id_es", text, f"{text[0]}-{number}-{letter}", text)


def _french_id(rng: random.Random) -> Value:
    department = f"{rng.choice([n for n in range(1, 96) if n != 20]):02d}"
    body = f"{rng.choice('12')}{digits(rng, 2)}{rng.randint(1, 12):02d}{department}"
    body += f"{rng.randint(1, 990):03d}{rng.randint(1, 999):03d}"
    number = f"{body}{97 - int(body) % 97:02d}"
    sizes = (1, 2, 2, 2, 3, 3, 2)
    return Value("personal_id", "id_fr", grouped(number, *sizes), grouped(number, *sizes, by="-"), number)


def _ip(rng: random.Random) -> Value:
    if rng.random() < 0.6:
        text = f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randint(1, 254)}"
    else:
        text = "2001:db8:" + ":".join(f"{rng.randint(1, 0xFFFF):x}" for _ in range(6))
    return Value("ip", "network", text, text, text)


def _mac(rng: random.Random) -> Value:
    pairs = [f"{rng.randrange(256):02x}" for _ in range(6)]
    return Value("mac", "network", ":".join(pairs), "-".join(pairs), ":".join(pairs))


def _wallet(rng: random.Random) -> Value:
    if rng.random() < 0.3:
        text = "0x" + drawn(rng, HEX, 40)
        return Value("wallet", "wallet", text, text, text, any_case=False)
    payload = bytes([rng.choice((0, 5))]) + rng.randbytes(20)
    payload += hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(payload), ""
    while number:
        number, rest = divmod(number, 58)
        text = _BASE58[rest] + text
    text = "1" * (len(payload) - len(payload.lstrip(b"\0"))) + text
    return Value("wallet", "wallet", text, text, text, any_case=False)


def _url_login(rng: random.Random) -> Value:
    user, password = rng.choice(("shop", "admin", "kim")), drawn(rng, ALPHANUMERIC, rng.randint(8, 16))
    return Value(
        "url_login", "url_login", f"{user}:{password}", f"{user}:{password}", f"{user}:{password}", any_case=False
    )


def _url_token(rng: random.Random) -> Value:
    text = drawn(rng, ALPHANUMERIC, rng.randint(20, 40))
    return Value("url_token", "url_token", text, text, text, any_case=False)


def _password(rng: random.Random) -> Value:
    word = rng.choice("Sommar Winter tiger Kaffee moln Ginger".split())
    text = rng.choice(
        (f"{word}{digits(rng, 4)}!x", drawn(rng, ALPHANUMERIC + "#%+", 12), f"{word}-{digits(rng, 2)}-{word.lower()}7")
    )
    return Value("password", "password", text, text, text, any_case=False)


def _jwt(rng: random.Random) -> str:
    parts = ('{"alg":"HS256","typ":"JWT"}', f'{{"sub":"{digits(rng, 8)}","name":"kim","iat":{digits(rng, 9)}}}')
    encoded = [base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, drawn(rng, ALPHANUMERIC + "-_", 43)])


def _pem(rng: random.Random) -> str:
    name = rng.choice(("RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY"))
    body = base64.b64encode(rng.randbytes(180)).decode()
    return f"-----BEGIN {name}-----\n" + "\n".join(textwrap.wrap(body, 64)) + f"\n-----END {name}-----"


_TOKENS: dict[str, Callable[[random.Random], str]] = {
    "aws_key": lambda rng: "AKIA" + drawn(rng, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16),
    "github_token": lambda rng: rng.choice(("ghp_", "gho_", "ghs_")) + drawn(rng, ALPHANUMERIC, 36),
    "gitlab_token": lambda rng: "glpat-" + drawn(rng, ALPHANUMERIC + "-_", 20),
    "slack_token": lambda rng: f"xoxb-{digits(rng, 12)}-{digits(rng, 13)}-{drawn(rng, ALPHANUMERIC, 24)}",
    "stripe_key": lambda rng: rng.choice(("sk_live_", "rk_live_", "sk_test_")) + drawn(rng, ALPHANUMERIC, 24),
    "openai_key": lambda rng: (
        "sk-proj-" + drawn(rng, ALPHANUMERIC + "-_", 74) + "T3BlbkFJ" + drawn(rng, ALPHANUMERIC, 74)
    ),
    "anthropic_key": lambda rng: "sk-ant-api03-" + drawn(rng, ALPHANUMERIC + "-_", 93) + "AA",
    "google_key": lambda rng: "AIza" + drawn(rng, ALPHANUMERIC + "-_", 34) + "x",
    "azure_secret": lambda rng: drawn(rng, ALPHANUMERIC, 3) + "8Q~" + drawn(rng, ALPHANUMERIC + "_~.", 33) + "a",
    "jwt": _jwt,
    "private_key": _pem,
    "npm_token": lambda rng: "npm_" + drawn(rng, ALPHANUMERIC, 36),
    "pypi_token": lambda rng: "pypi-AgEIcHlwaS5vcmc" + drawn(rng, ALPHANUMERIC + "-_", 70) + "x",
    "huggingface_token": lambda rng: "hf_" + drawn(rng, string.ascii_letters, 34),
    "telegram_token": lambda rng: f"{digits(rng, 9)}1:AA{drawn(rng, ALPHANUMERIC + '-_', 32)}x"[1:],
    "secret": lambda rng: drawn(rng, ALPHANUMERIC, rng.choice((24, 40))),
}


def _token(kind: str) -> Callable[[random.Random], Value]:
    def make(rng: random.Random) -> Value:
        text = _TOKENS[kind](rng)
        return Value(kind, "secret" if kind == "secret" else "key", text, text, text, any_case=False)

    return make


MAKERS: tuple[Callable[[random.Random], Value], ...] = (
    _email,
    lambda rng: _phone(rng, is_international=True),
    _email,
    lambda rng: _phone(rng, is_international=False),
    _card,
    _iban,
    lambda rng: _swedish_id(rng, is_coordination=False),
    lambda rng: _swedish_id(rng, is_coordination=True),
    _german_id,
    _american_id,
    _british_id,
    _spanish_id,
    _french_id,
    _ip,
    _mac,
    _wallet,
    _url_login,
    _url_token,
    _password,
    *map(_token, _TOKENS),
)
"""One for each kind, more for the most frequent kinds."""

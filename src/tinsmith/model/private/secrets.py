"""Keys, tokens and passwords. The shapes are those that services publish and that scanners of code look for.

Shapes: rule sets of gitleaks, detect-secrets and trufflehog, and the services' documentation.
"""

import re
from collections.abc import Iterator

from tinsmith.model.private.entropy import entropy_bits, is_random
from tinsmith.model.private.item import PrivateItem
from tinsmith.model.private.tables import column_cells

_END = r"(?![A-Za-z0-9_-])"
_START = r"(?<![A-Za-z0-9_-])"
_TOKENS: tuple[tuple[str, str, str], ...] = (
    ("aws_key", "A", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"),
    ("github_token", "gh", r"gh[pousr]_[A-Za-z0-9]{36,251}"),
    ("github_token", "github_pat_", r"github_pat_[A-Za-z0-9_]{22,255}"),
    ("gitlab_token", "gl", r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent)-[A-Za-z0-9_-]{20,}(?:\.[A-Za-z0-9_.-]+)?"),
    ("slack_token", "xox", r"xox[abeoprs](?:\.xox[abps])?-[A-Za-z0-9-]{10,}"),
    ("slack_token", "xapp-", r"xapp-[0-9]-[A-Z0-9]+-[0-9]+-[A-Za-z0-9]+"),
    ("slack_webhook", "hooks.slack.com", r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/_-]{20,}"),
    ("discord_webhook", "/api/webhooks/", r"discord(?:app)?\.com/api/webhooks/[0-9]{15,20}/[A-Za-z0-9_-]{40,}"),
    ("discord_token", ".", r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}"),
    ("stripe_key", "_", r"(?:sk|rk)_(?:live|test|prod)_[A-Za-z0-9]{10,247}"),
    ("stripe_key", "whsec_", r"whsec_[A-Za-z0-9+/]{24,}={0,2}"),
    ("anthropic_key", "sk-ant-", r"sk-ant-[A-Za-z0-9]+-[A-Za-z0-9_-]{20,}"),
    ("openrouter_key", "sk-or-", r"sk-or-v1-[0-9a-f]{64}"),
    ("openai_key", "sk-", r"sk-(?:proj-|svcacct-|admin-|None-)?[A-Za-z0-9_-]{20,200}"),
    ("google_key", "AIza", r"AIza[A-Za-z0-9_-]{35}"),
    ("google_key", "GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{28}"),
    ("google_token", "ya29.", r"ya29\.[A-Za-z0-9_-]{20,}"),
    ("azure_secret", "Q~", r"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}"),
    ("azure_key", "Key=", r"(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{43,86}={1,2}"),
    ("jwt", "eyJ", r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    ("npm_token", "npm_", r"npm_[A-Za-z0-9]{36}"),
    ("pypi_token", "pypi-", r"pypi-[A-Za-z0-9_-]{50,}"),
    ("huggingface_token", "hf_", r"hf_[A-Za-z0-9]{30,40}"),
    ("huggingface_token", "api_org_", r"api_org_[A-Za-z0-9]{34}"),
    ("telegram_token", ":A", r"[0-9]{8,10}:A[A-Za-z0-9_-]{34}"),
    ("sendgrid_key", "SG.", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"),
    ("twilio_key", "K", r"SK[0-9a-f]{32}"),
    ("mailchimp_key", "-us", r"[0-9a-f]{32}-us[0-9]{1,2}"),
    ("mailgun_key", "key-", r"key-[0-9a-f]{32}"),
    ("digitalocean_token", "_v1_", r"do[opr]_v1_[0-9a-f]{64}"),
    ("shopify_token", "shp", r"shp(?:at|ca|pa|ss)_[0-9A-Fa-f]{32}"),
    ("square_token", "sq0", r"sq0[a-z]{3}-[A-Za-z0-9_-]{22,43}"),
    ("docker_token", "dckr_", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,32}"),
    ("databricks_token", "dapi", r"dapi[0-9a-f]{32}(?:-[0-9])?"),
    ("grafana_token", "gls", r"glsa_[A-Za-z0-9]{32}_[0-9A-Fa-f]{8}"),
    ("vault_token", "hvs.", r"hvs\.[A-Za-z0-9_-]{24,}"),
    ("groq_key", "gsk_", r"gsk_[A-Za-z0-9]{52}"),
    ("replicate_token", "r8_", r"r8_[A-Za-z0-9]{37}"),
    ("perplexity_key", "pplx-", r"pplx-[A-Za-z0-9]{48}"),
    ("xai_key", "xai-", r"xai-[A-Za-z0-9]{80}"),
    ("linear_key", "lin_api_", r"lin_api_[A-Za-z0-9]{40}"),
    ("notion_token", "ntn_", r"ntn_[0-9]{11}[A-Za-z0-9]{32,35}"),
    ("postman_key", "PMAK-", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    ("atlassian_token", "ATATT3", r"ATATT3[A-Za-z0-9_=-]{60,200}"),
    ("age_key", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}"),
)
"""Kind, a text that every such token contains, and its pattern. The text is a fast check before the pattern."""
_PATTERNS = tuple((kind, hint, re.compile(_START + pattern + _END)) for kind, hint, pattern in _TOKENS)

_PEM = re.compile(
    r"-----BEGIN ([A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?)-----(?:.{1,20000}?-----END \1-----|[A-Za-z0-9+/=\s\\]{0,20000})",
    re.DOTALL,
)
_KEY_NAMES = (
    *("pass", "key", "token", "secret", "pwd", "lösenord", "nyckel", "kodord", "kennwort", "schlüssel", "credential"),
    *("bearer", "basic "),
)
"""Parts of the names that `_ASSIGNMENT` and `_HEADER` look for."""
_STRONG_NAME = r"pass(?:word|wd|phrase|wort)(?:et|s)?|kennwort|lösenord(?:et)?|pwd|kodord(?:et)?"
_NAMED_KEY = r"(?:api|access|private|secret|account|signing|encryption|master|auth|service)[ _-]?key"
_WEAK_NAME = (
    rf"secret|token|credentials?|client[ _-]?secret|{_NAMED_KEY}|(?:hemlig |api-?)?nyckeln?|(?:geheim|api-?)?schlüssel"
)
_LINK = r"[\"'`*]{0,3}\s{0,3}(?::=|=>|[:=|]|\bis\b|\bär\b|\bist\b|\blautet\b|\blyder\b)\s{0,3}[\"'`*]{0,3}"
_ASSIGNMENT = re.compile(
    rf"(?:(?P<strong>{_STRONG_NAME})|{_WEAK_NAME})[\w-]{{0,16}}{_LINK}(?P<value>[^\s\"'`<>,;|]{{6,160}})", re.IGNORECASE
)
_PASSWORD_COLUMN, _KEY_COLUMN = (
    re.compile(rf"[\s\"'`*]*[\w.-]{{0,16}}(?:{name})[\w-]{{0,16}}[\s\"'`*]*", re.IGNORECASE)
    for name in (_STRONG_NAME, _WEAK_NAME)
)
_HEADER = re.compile(r"\b(?:basic|bearer)[ ]+([A-Za-z0-9+/._~-]{16,}={0,2})", re.IGNORECASE)
_NOT_A_VALUE = re.compile(
    r"^(?:https?:|\$|%|\{|\[|your|my_|os\.|process\.|env\.|example)|\*{3}|x{4}|\.\.\.|[(){}\[\]]", re.IGNORECASE
)
_LONG_TOKEN = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_NOT_SECRET_BEFORE = re.compile(r"(?:sha(?:1|256|384|512)[-:]|base64,|[/.?=&#%][\w.?=&#%/-]*)$", re.IGNORECASE)
_MAX_LONG_TOKEN = 128
"""Longer ones are files in base64, such as pictures."""


def tokens(text: str, start: int, end: int) -> Iterator[PrivateItem]:
    """Keys and tokens of known services in a part of `text` without spaces."""
    word = text[start:end]
    for kind, hint, pattern in _PATTERNS:
        if hint in word:
            for match in pattern.finditer(text, start, end):
                if entropy_bits(match.group()) >= 2.5:
                    yield PrivateItem(*match.span(), kind, match.group())


def private_keys(text: str) -> Iterator[PrivateItem]:
    """Private keys in PEM."""
    if "PRIVATE KEY" in text:
        for match in _PEM.finditer(text):
            yield PrivateItem(*match.span(), "private_key", "".join(match.group().split()))


def named_secrets(text: str) -> Iterator[PrivateItem]:
    """Passwords and keys after a name that says so, such as `password: ...` or `api_key = "..."`."""
    if not _names_a_key(text.lower()):
        return
    for match in _ASSIGNMENT.finditer(text):
        value = match["value"].rstrip(".!?:)*")
        is_secret = _is_password(value) if match["strong"] else is_random(value)
        if is_secret and not _NOT_A_VALUE.search(value):
            start = match.start("value")
            yield PrivateItem(start, start + len(value), "password" if match["strong"] else "secret", value)
    if "\n" in text:
        for name, is_secret in ((_PASSWORD_COLUMN, _is_password), (_KEY_COLUMN, is_random)):
            for start, end in column_cells(text, name):
                value = text[start:end]
                if is_secret(value) and " " not in value and not _NOT_A_VALUE.search(value):
                    yield PrivateItem(start, end, "password", value)
    for match in _HEADER.finditer(text):
        if is_random(match[1]):
            yield PrivateItem(*match.span(1), "secret", match[1])


def _names_a_key(lowered: str) -> bool:
    # A loop is three times as fast as `any`, and this runs on every text.
    for name in _KEY_NAMES:  # noqa: SIM110
        if name in lowered:
            return True
    return False


def _is_password(value: str) -> bool:
    """Whether a text after `password:` is one and not a word of a sentence: letters and digits, or other signs."""
    has_letter = any(character.isalpha() for character in value)
    has_digit = any(character.isdigit() for character in value)
    has_sign = any(not character.isalnum() and character not in "-'.,/" for character in value)
    return len(value) >= 6 and has_letter and (has_digit or has_sign)


def long_tokens(text: str, start: int, end: int) -> Iterator[PrivateItem]:
    """Long random tokens in a part of `text`: upper case, lower case and digits mixed, as only keys are."""
    for match in _LONG_TOKEN.finditer(text, start, end):
        value = match.group()
        if len(value) > _MAX_LONG_TOKEN or not _is_mixed(value):
            continue
        if not _NOT_SECRET_BEFORE.search(text, max(0, match.start() - 80), match.start()):
            yield PrivateItem(*match.span(), "secret", value)


def _is_mixed(value: str) -> bool:
    classes = (str.isdigit, str.islower, str.isupper)
    return (
        all(any(map(is_of_class, value)) for is_of_class in classes) and is_random(value) and entropy_bits(value) >= 4
    )

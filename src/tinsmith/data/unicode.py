"""Invisible characters that hide or smuggle text, told from those that writing systems and emoji need."""

import io
import re
import unicodedata
from collections import Counter

_LINE_END = re.compile("\r\n|[\r\x0b\x0c\u2028\u2029]")
_SUSPICIOUS = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ue000-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
    + "".join(f"|[{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}]" for plane in range(1, 15))
)
"""Every character that is removed, except where `_is_needed` says that the text needs it."""
_FLAG = re.compile("[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")
"""Region of a flag such as Scotland's, after a black flag. Longer tag sequences can only hide text."""
_ZERO_WIDTH_SPACE, _NON_JOINER, _JOINER = "\u200b\u200c\u200d"
_BLACK_FLAG = "\U0001f3f4"
_KEYCAP = "\u20e3"
_VIRAMA = 9
"""Combining class of the signs that a joiner turns into half forms and ligatures."""

_JOINING_SCRIPT = re.compile(
    "[\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ua840-\ua87f\ufb50-\ufdcf\ufdf0-\ufdff\ufe70-\ufefe]"
)
"""Arabic, Syriac, N'Ko, Indic, Tibetan, Burmese, Khmer, Mongolian: letters whose shape a joiner changes."""
_UNSPACED_SCRIPT = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff]")
"""Thai, Lao, Tibetan, Burmese, Khmer: a zero-width space marks where a line may break."""
_EMOJI = re.compile(
    "[\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2934\u2935\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd]")
_VARIED_SYMBOL = re.compile("[\u1000-\u109f\u2200-\u22ff\u2a00-\u2aff\u3001\u3002\uff01-\uff1f\ua840-\ua87f]")
"""Burmese letters, operators and full-width punctuation, for which Unicode defines a second shape."""
_MONGOLIAN = re.compile("[\u1800-\u18af]")
_JAMO = re.compile("[\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff]")
_WINDOWS_1252 = {
    code: character for code in range(0x80, 0xA0) if (character := bytes([code]).decode("windows-1252", "ignore"))
}


def is_simple(text: str) -> bool:
    r"""Whether a text has only printable ASCII and \n, so that nothing in it is hidden or has another form."""
    return text.isascii() and (text.isprintable() or text.replace("\n", "").isprintable())


def with_newlines(text: str) -> str:
    r"""`text` with \n for every other line end, Unicode's separators and form feeds too."""
    return _LINE_END.sub("\n", text)


def with_punctuation(text: str) -> str:
    r"""`text` with the punctuation that was meant for control characters of \x80-\x9f.

    Quotes and dashes of Windows-1252 become these when a text is read as Latin-1. Browsers map them the same way.
    """
    return text if text.isascii() else text.translate(_WINDOWS_1252)


def without_hidden(text: str) -> tuple[str, str]:
    """`text` without hidden characters, and those removed, in order.

    Removed are control characters, zero-width characters, direction controls, soft hyphens, tags, private-use
    characters, noncharacters, fillers, and variation selectors or joiners that change nothing.
    """
    if not _SUSPICIOUS.search(text):
        return text, ""
    # Lists would hold a string for every hidden character, and those may be half of a text.
    kept, removed = io.StringIO(), io.StringIO()
    position, before = 0, ""
    while match := _SUSPICIOUS.search(text, position):
        kept.write(text[position : match.start()])
        before = text[match.start() - 1] if match.start() > position else before
        end = match.end()
        flag = _FLAG.match(text, match.start())
        if flag and text[match.start() - 1 : match.start()] == _BLACK_FLAG:
            kept.write(flag.group())
            end = flag.end()
            before = text[end - 1]
        elif _is_needed(match.group(), before, _SUSPICIOUS.sub("", text[end : end + 1])):
            kept.write(match.group())
            before = match.group()
        else:
            removed.write(match.group())
        position = end
    kept.write(text[position:])
    return kept.getvalue(), removed.getvalue()


def character_names(characters: str) -> str:
    """Code points, names and counts, such as `U+200B zero width space (3)`; the most frequent first, at most five."""
    counts = sorted(Counter(characters).items(), key=lambda item: (-item[1], item[0]))
    names = [f"U+{ord(character):04X} {_name(character)} ({count})" for character, count in counts[:5]]
    return ", ".join(names) + (f" and {len(counts) - 5} more" if len(counts) > 5 else "")


def _name(character: str) -> str:
    names = {"\x00": "null", "\x1b": "escape", "\x7f": "delete"}
    kinds = {"Cc": "control character", "Co": "private use", "Cn": "not a character"}
    kind = kinds.get(unicodedata.category(character), "unnamed character")
    return names.get(character) or unicodedata.name(character, kind).lower()


def _is_needed(character: str, before: str, after: str) -> bool:
    """Whether the writing system or emoji around `character` needs it."""
    if character == _ZERO_WIDTH_SPACE:
        return _are(_UNSPACED_SCRIPT, before, after)
    if character == _NON_JOINER:
        return _is_virama(before) or _are(_JOINING_SCRIPT, before, after)
    if character == _JOINER:
        is_after_emoji = bool(_EMOJI.match(before)) or before == "\ufe0f"
        return _is_virama(before) or _are(_JOINING_SCRIPT, before) or (is_after_emoji and _are(_EMOJI, after))
    if character in "\ufe0e\ufe0f":
        return _are(_EMOJI, before) or (before in {*"0123456789#*"} and after == _KEYCAP) or _are(_IDEOGRAPH, before)
    if "\ufe00" <= character <= "\ufe0d":
        return _are(_VARIED_SYMBOL, before) or _are(_IDEOGRAPH, before)
    if "\U000e0100" <= character <= "\U000e01ef":
        return _are(_IDEOGRAPH, before)
    if "\u180b" <= character <= "\u180f":
        return _are(_MONGOLIAN, before) and not "\u180b" <= before <= "\u180f"
    if character in "\u115f\u1160":
        return bool(_JAMO.match(before) or _JAMO.match(after))
    return False


def _are(script: re.Pattern[str], *characters: str) -> bool:
    return all(script.match(character) for character in characters)


def _is_virama(character: str) -> bool:
    return bool(character) and unicodedata.combining(character) == _VIRAMA

"""What one conversation shows: remnants and damage to flag at once, and small numbers to compare with all others.

Flags are warnings. Nothing is dropped because of them, so each rule prefers to miss a case over crying wolf.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tinsmith.data.language import language_of
from tinsmith.model.conversations import Conversation, Message

QUOTE_CHARACTERS = 140
_LANGUAGE_CHARACTERS = 400
"""Characters of a conversation that are enough to tell its language."""
_FEWEST_WORDS = 3
"""Shorter sentences and answers are not compared: many conversations share `Yes, we do`."""

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_HTML = re.compile(
    r"</?(?:a|abbr|article|aside|b|blockquote|body|br|button|center|code|div|em|font|footer|form|h[1-6]|head|header|hr|"
    r"html|i|iframe|img|input|label|li|link|main|meta|nav|ol|p|pre|script|section|small|span|strong|style|sub|sup|"
    r"table|tbody|td|th|thead|tr|u|ul)(?:\s[^<>]*)?/?>"
    r"|&(?:nbsp|amp|lt|gt|quot|apos|copy|reg|euro|szlig|aring|hellip|[nm]dash|[lr][sd]?a?quo|[aeiouy](?:uml|acute|grave|"
    r"circ)|#[0-9]{2,6}|#x[0-9a-f]{2,5});",
    re.IGNORECASE,
)
_SPECIAL_TOKEN = re.compile(
    r"<\|[a-z][a-z0-9_]*\|>|<(?:pad|unk|mask|s|repo_name|reponame|file_sep|filename|gh_stars|issue_(?:start|comment|"
    r"closed)|jupyter_(?:start|text|code|output|script)|empty_output|(?:start|end)_of_image|image_soft_token|"
    r"fim_(?:prefix|middle|suffix)|tool_call|tool_response)>|</s>|\[/?INST\]|<</?SYS>>|\[(?:PAD|CLS|SEP|MASK|UNK)\]"
)
_PLACEHOLDER = re.compile(
    r"\{\{[^{}\n]{1,40}\}\}|\$\{[a-z_.]{1,40}\}|\[object Object\]|lorem ipsum|<(?:your|insert)[ _-][^<>\n]{1,30}>"
    r"|\[(?:your|insert|company|customer|first|last)[ _-][^\]\n]{1,30}\](?!\()",
    re.IGNORECASE,
)
_REASONING = re.compile(r"</?think(?:ing)?>")
_CITATION_MARK = re.compile(r"【[^】\n]{1,40}†[^】\n]{0,40}】|oaicite|turn\d+(?:search|view|file)\d+")
_AI_PHRASES = (
    "as an ai language|as an ai model|as an ai assistant|as an ai,|as an ai i |as a language model|as a large language|"
    "an ai language model|i'm just an ai|i am just an ai|knowledge cutoff|knowledge cut-off|trained by openai|"
    "developed by openai|i cannot assist with|i can't assist with|i'm unable to assist with|i cannot fulfill|"
    "i can't fulfill|i don't have personal opinions|als ki-modell|als ki-sprach|als sprachmodell|"
    "als künstliche intelligenz|som en ai-modell|som en språkmodell|som språkmodell|en tant qu'ia|"
    "en tant que modèle de lang|como modelo de lenguaje|como un modelo de lenguaje|como modelo de linguagem|"
    "come modello linguistico|als taalmodel"
).split("|")
AI_HINTS = (
    "odel",
    "s an ai",
    "just an ai",
    "knowledge cut",
    "openai",
    "t assist with",
    "to assist with",
    "fulfill",
    "personal opinions",
    "a large language",
    "künstliche",
    "als ki-sprach",
    "als sprach",
    "tant qu",
    "modèle",
)
"""Every phrase of a language model has one of these; few other texts do."""
_NO_CONTENT = frozenset(("n a", "todo", "tbd", "null", "nan", "undefined", "answer", "answer here", "no answer"))
_NO_CONTENT_WORDS = 3
"""One more than the longest of them has."""
_LIST_LINE = re.compile(r"\s*(?:[-*•–#>|]|\d+[.)]\s)")
_MARKDOWN = re.compile(r"\*\*\S|^#{1,6}\s|^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE)
_EMOJI = re.compile("[\u2600-\u27bf\U0001f300-\U0001faff]")
_LABEL = re.compile(r":\s|\s\|\s")
"""A line such as `Sizes: small, large` needs no full stop."""
_ADDRESS = re.compile(r"https?://|www\.|.+@|[^.]+\.[a-z]{2,4}(?:/|\Z)", re.IGNORECASE)
_NEEDS_MORE = frozenset("the and or because und oder weil och eller att les des avec para".split())
"""Words that no sentence ends with."""
_WORD = re.compile(r"[^\W_]+")
_SENTENCE_END = re.compile(r"\s(?:(?<=[.!?;]\s)\s*|(?<=\n)\n*)")
"""Space after a full stop, or line ends. It starts with a space, which the search can jump to."""
_WIDE_SENTENCE_END = re.compile(r"(?<=[.!?;。！？])\s+|\n+|(?<=[。！？])")
_WIDE_STOP = re.compile("[。！？]")
_SPACES_BETWEEN_WORDS = bytes(code if chr(code).isalnum() and code < 128 else ord(" ") for code in range(256))
_CLOSING_TAG = re.compile(r"</([a-z][a-z0-9_-]{0,30})>\Z", re.IGNORECASE)

# UTF-8 read as Windows-1252 or Latin-1. A capital before an accented capital is a word in capitals, such as IRMÃ.
_CONTINUATION = "\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_MOJIBAKE = re.compile(
    rf"(?<![A-ZÀ-Þ])[ÃÂ][{_CONTINUATION}]|â(?:€|‚¬|†)|ðŸ[{_CONTINUATION}]|ï»¿|ï¿½|\ufffd"
    rf"|(?:[ÐÑ][{_CONTINUATION}]){{3}}|(?:[ÅÄ][{_CONTINUATION}]\w{{0,20}}\s?){{2}}|(?:[ã-ï][{_CONTINUATION}]{{1,2}}){{3}}"
)


@dataclass(frozen=True, slots=True)
class Flag:
    """A reason to look at a conversation."""

    reason: str
    """The same words for all conversations with the same problem."""
    detail: str
    """Where, with a quote."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer and the block of JSON or tagged text that it ends with."""

    prose: str
    block: str
    """`tag` of a tagged block, `{}` of bare JSON, or empty."""
    is_long: bool
    """Whether the block has several lines."""
    keys: str
    """Sorted keys of a JSON object."""
    is_broken: bool
    """Whether the block starts like JSON and cannot be read."""


FEATURES = {
    "language": str,
    "shortest_answer": int,
    "longest_answer": int,
    "question": int,
    "first_sentence": int,
    "last_sentence": int,
    "whole_answer": int,
    "answers": int,
    "blocks": int,
    "block_keys": int,
    "is_open": bool,
    "has_markdown": bool,
    "has_emoji": bool,
    "has_long_block": bool,
}
"""Columns of `features` and their types. Hashes are 63-bit numbers, 0 for nothing to compare; lengths in characters."""


def features(conversation: Conversation) -> dict[str, int | str | bool]:
    """Numbers that `style.py` compares across conversations; see `FEATURES`."""
    turns = [message for message in conversation.messages if message.role != "system"]
    answers = [_parsed(message.content) for message in turns if message.role == "assistant"]
    lengths = [len(answer.prose) for answer in answers]
    first, last = _sentences(answers[0].prose), _sentences(answers[-1].prose)
    texts = [turns[0].content, *(answer.prose for answer in answers)]
    blocks = [answer for answer in answers if answer.block]
    return {
        "language": language_of(_joined(texts)),
        "shortest_answer": min(lengths),
        "longest_answer": max(lengths),
        "question": _hash(turns[0].content),
        "first_sentence": _hash(first[0]) if len(first) > 1 else 0,
        "last_sentence": _hash(last[-1]) if len(last) > 1 else 0,
        "whole_answer": _hash(answers[0].prose),
        "answers": len(answers),
        "blocks": len(blocks),
        "block_keys": _hash_text(f"{blocks[-1].block} {blocks[-1].keys}") if blocks else 0,
        "is_open": _is_open(answers[-1].prose) and not _is_cut(answers[-1].prose),
        "has_markdown": any(_has_markdown(answer.prose) for answer in answers),
        "has_emoji": any(not answer.prose.isascii() and bool(_EMOJI.search(answer.prose)) for answer in answers),
        "has_long_block": any(answer.is_long for answer in blocks),
    }


def flags(conversation: Conversation) -> Iterator[Flag]:
    """Reasons to look at this conversation that need no other one. At most one for each reason."""
    seen: set[str] = set()
    for number, message in enumerate(conversation.messages, start=1):
        for reason, quote in _text_flags(message):
            if reason not in seen:
                seen.add(reason)
                yield Flag(reason, f"message {number}: {quote}")
    turns = [(n, m) for n, m in enumerate(conversation.messages, start=1) if m.role != "system"]
    for (_, question), (number, answer) in pairwise(turns):
        if answer.role != "assistant":
            continue
        for reason, quote in _answer_flags(question.content, _parsed(answer.content)):
            if reason not in seen:
                seen.add(reason)
                yield Flag(reason, f"message {number}: {quote}")


def shared_text(conversation: Conversation, column: str) -> str:
    """The sentence or answer behind a hash of `features`."""
    answers = [_parsed(message.content).prose for message in conversation.messages if message.role == "assistant"]
    if column == "first_sentence":
        return quoted(_sentences(answers[0])[0])
    if column == "last_sentence":
        return quoted(_sentences(answers[-1])[-1])
    return quoted(answers[0])


def quoted(text: str, around: int = 0) -> str:
    """One line of `text`, cut to a readable length around a position."""
    start = max(0, around - QUOTE_CHARACTERS // 3)
    piece = " ".join(text[start : start + QUOTE_CHARACTERS].split())
    return ("..." if start else "") + piece + ("..." if start + QUOTE_CHARACTERS < len(text) else "")


def _text_flags(message: Message) -> Iterator[tuple[str, str]]:
    text = message.content
    if not text.isascii():
        yield from _first_match("garbled characters: the text was read in a wrong encoding", _MOJIBAKE, text)
        yield from _first_match("citation marks of a chat tool", _CITATION_MARK, text)
    prose = _CODE.sub(" ", text) if "`" in text else text
    if "<" in prose or "&" in prose:
        yield from _first_match("HTML in the text", _HTML, prose)
    if "<" in text or "[" in text:
        yield from _first_match("text of a special token, read as plain text", _SPECIAL_TOKEN, text)
    if "{" in prose or "[" in prose or "<" in prose or "lorem" in prose.lower():
        yield from _first_match("placeholder that was never filled in", _PLACEHOLDER, prose)
    if message.role == "assistant":
        yield from _first_match("reasoning of a language model in an answer", _REASONING, text)
        lower = text.replace("’", "'").lower()
        is_suspect = any(hint in lower for hint in AI_HINTS)
        if is_suspect and (phrase := next((phrase for phrase in _AI_PHRASES if phrase in lower), "")):
            yield "answer speaks as a language model", quoted(text, lower.index(phrase))


def _first_match(reason: str, pattern: re.Pattern[str], text: str) -> Iterator[tuple[str, str]]:
    if match := pattern.search(text):
        yield reason, quoted(text, match.start())


def _answer_flags(question: str, answer: _Answer) -> Iterator[tuple[str, str]]:
    if answer.is_broken:
        yield "JSON at the end of an answer cannot be read", quoted(answer.prose[-QUOTE_CHARACTERS:])
    words = _words(answer.prose)
    if not answer.block and (not words or " ".join(words[:_NO_CONTENT_WORDS]) in _NO_CONTENT):
        yield "answer has no content", quoted(answer.prose)
    asked = _words(question)
    if len(asked) > _FEWEST_WORDS and words[: len(asked)] == asked:
        yield "answer repeats its question", quoted(answer.prose)
    if _is_cut(answer.prose):
        yield "answer seems cut off", "..." + answer.prose[-QUOTE_CHARACTERS // 2 :].replace("\n", " ")


def _is_cut(prose: str) -> bool:
    """Whether the text surely goes on: it ends with a comma, an open bracket, or a word that needs another."""
    last = prose.rstrip().rpartition("\n")[2]
    if last.endswith((",", "(", "[", "{")):
        return True
    if not last[-1:].isalpha():
        return False
    words = _WORD.findall(last)
    return len(words) > _FEWEST_WORDS and words[-1] in _NEEDS_MORE


def _has_markdown(prose: str) -> bool:
    """Whether a text has bold words, headings or lists."""
    if "\n" not in prose and "**" not in prose:
        # Text in one line can only have a mark at its start.
        return bool(_MARKDOWN.match(prose))
    return bool(_MARKDOWN.search(prose))


def _is_open(prose: str) -> bool:
    """Whether the text ends in the middle of a line of prose, without a mark that ends a sentence."""
    last = prose.rstrip().rpartition("\n")[2]
    if not last or not last[-1].isalnum() or _LIST_LINE.match(last) or _LABEL.search(last):
        return False
    if _ADDRESS.match(last.split()[-1][:100]):
        return False
    return len(_WORD.findall(last)) > 2 * _FEWEST_WORDS


def _parsed(text: str) -> _Answer:
    """An answer without the block at its end."""
    stripped = text.rstrip()
    if (closing := _CLOSING_TAG.search(stripped[-40:])) and (start := stripped.rfind(f"<{closing.group(1)}>")) >= 0:
        tag = closing.group(1)
        body = stripped[start + len(tag) + 2 : -len(closing.group())].strip()
        keys, is_broken = _keys(body) if body[:1] in ("{", "[") else ("", False)
        return _Answer(stripped[:start].rstrip(), tag, "\n" in stripped[start:], keys, is_broken)
    body = stripped.removesuffix("```").rstrip() if stripped.endswith("```") else stripped
    if body.endswith(("}", "]")):
        starts = [body.rfind("\n" + opening) for opening in "{["] + ([0] if body[:1] in ("{", "[") else [])
        start = max(starts)
        if start >= 0:
            keys, is_broken = _keys(body[start:].strip())
            if not is_broken:
                prose = body[:start].rstrip().removesuffix("```json").removesuffix("```").rstrip()
                return _Answer(prose, "{}", "\n" in body[start:].strip(), keys, False)
    return _Answer(stripped, "", False, "", False)


def _keys(body: str) -> tuple[str, bool]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return "", True
    return (" ".join(sorted(value)) if isinstance(value, dict) else ""), False


def _sentences(text: str) -> list[str]:
    is_wide = not text.isascii() and _WIDE_STOP.search(text)
    end = _WIDE_SENTENCE_END if is_wide else _SENTENCE_END
    return [sentence for sentence in end.split(text) if sentence.strip()] or [text]


def _words(text: str) -> list[str]:
    """Words of a text without case."""
    if text.isascii():
        return text.lower().encode().translate(_SPACES_BETWEEN_WORDS).decode().split()
    return _WORD.findall(text.casefold())


def _joined(texts: Sequence[str]) -> str:
    """The start of every text in equal parts, so that each counts."""
    share = _LANGUAGE_CHARACTERS // len(texts)
    return "\n".join(text[: max(share, 40)] for text in texts)[:_LANGUAGE_CHARACTERS]


def _hash(text: str) -> int:
    """Hash of the words of a text; 0 if they are too few to say anything."""
    words = _words(text)
    return _hash_text(" ".join(words)) if len(words) >= _FEWEST_WORDS else 0


def _hash_text(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1

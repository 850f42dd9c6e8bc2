"""Copy a folder of answers to where visitors get it, with what its owner agreed to publish and nothing else."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.core.errors import ArtifactError
from tinsmith.core.run_dir import entries, link_or_copy, read_json, write_checksums, write_json
from tinsmith.model.answers.small_talk import answered_small_talk, asked_texts

SETTINGS_FILE = "answers.json"
PASSAGES_FILE = "passages.json"

_TITLE_WORDS = 8
_TITLE_CHARACTERS = 60
"""Longest title made from a text, for languages without spaces between words."""
_ENCODER_FILES = ("graph", "weights", "layout", "tokenizer", "index")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_LINE_MARK = re.compile(r"^\s*(?:[-*+>]|#+|\d+[.)])\s+|\|", re.MULTILINE)
"""Markdown's lists, quotes, headings and table cells."""
_INLINE_MARK = re.compile(r"\*\*|`+|(?<![\w*])\*(?=\w)|(?<=[\w.,:;!?])\*(?!\w)")
"""Markdown's emphasis and code."""


@dataclass(frozen=True, slots=True)
class Published:
    """How much of the owner's is in the folder that visitors get."""

    passages: int
    wordings: int


def publish_answers(folder: Path, target: Path, unknown: str, with_questions: bool) -> Published:
    """Write the folder that visitors get, with its own digests.

    Args:
        folder: Answers as the knowledge stage writes them, whose titles are questions of the data.
        target: Existing or not; gets only the files that the settings name, and licences.
        unknown: What the page says if it does not know.
        with_questions: Whether titles may be questions of the data. Otherwise, an answer's first words are its title.

    Raises:
        ArtifactError: a file is missing or not JSON.
    """
    settings = read_json(folder / SETTINGS_FILE)
    passages = read_json(folder / settings["passages"])
    names = [encoder[kind] for encoder in settings["encoders"] for kind in _ENCODER_FILES]
    for name in (*names, *(path.name for path in entries(folder, "LICENSE*"))):
        if not (folder / name).is_file():
            raise ArtifactError(f"{folder / name}: missing", "Run its stage again: tinsmith run")
        link_or_copy(folder / name, target / name)
    write_json(target / PASSAGES_FILE, [_public(passage, with_questions) for passage in passages])
    small_talk = answered_small_talk(
        text for passage in passages for text in asked_texts(passage["kind"], passage["title"], passage["wordings"])
    )
    shown = {"passages": PASSAGES_FILE, "unknown": unknown, "small_talk": small_talk}
    write_json(target / SETTINGS_FILE, {**settings, **shown})
    write_checksums(target)
    return Published(len(passages), sum(len(passage["wordings"]) for passage in passages))


def first_words(text: str) -> str:
    """The beginning of a text as a title of one line, with `...` if the text goes on."""
    words = _INLINE_MARK.sub("", _LINE_MARK.sub(" ", _LINK.sub(r"\1", text))).split()
    title = " ".join(words[:_TITLE_WORDS])
    is_cut = len(words) > _TITLE_WORDS or len(title) > _TITLE_CHARACTERS
    return f"{title[:_TITLE_CHARACTERS].rstrip(' .,;:!?')}..." if is_cut else title


def _public(passage: dict[str, Any], with_questions: bool) -> dict[str, Any]:
    """The passage with the fields that are published, and no others."""
    fields = ("id", "kind", "title", "text", "category", "source", "wordings", "rows", "question_rows")
    public = {name: passage[name] for name in fields}
    if passage["kind"] == "answer" and not with_questions:
        public["title"] = first_words(passage["text"])
    return public

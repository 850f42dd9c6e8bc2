"""Made-up personal data and secrets for a whole run: one of each kind in conversations, and one in a document."""

import json
import random
import sys
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def _texts(seed: str) -> tuple[list[str], list[str]]:
    """Sentences with a value of each kind, and the values in two spellings."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from private_sentences import planted
        from private_values import MAKERS
    finally:
        sys.path.remove(str(BENCHMARKS))
    rng = random.Random(seed)
    sentences, values = [], []
    for make in MAKERS:
        value = make(rng)
        sentences.append(planted(value, "plain", "en", "developed", rng)[0])
        values += [value.text, value.compact]
    return sentences, values


def planted_conversations() -> tuple[list[dict[str, Any]], list[str]]:
    """Conversations with two values in the question and two in the answer, and the values."""
    sentences, values = _texts("conversations")
    groups = [sentences[at : at + 4] for at in range(0, len(sentences), 4)]
    return [
        {
            "messages": [
                {"role": "user", "content": " ".join(group[::2])},
                {"role": "assistant", "content": " ".join(group[1::2] or group)},
            ],
            "category": "tea",
        }
        for group in groups
    ], values


def planted_document() -> tuple[str, list[str]]:
    """A Markdown document with a section for every value, and the values."""
    sentences, values = _texts("document")
    sections = (f"## Note {number}\n\nA note of the shop. {text}\n" for number, text in enumerate(sentences, start=1))
    return "# Notes\n\n" + "\n".join(sections), values


def planted_values() -> list[str]:
    """All of them."""
    return [*planted_conversations()[1], *planted_document()[1]]


def planted_lines() -> list[str]:
    """Lines for a file of conversations."""
    return [json.dumps(conversation) for conversation in planted_conversations()[0]]

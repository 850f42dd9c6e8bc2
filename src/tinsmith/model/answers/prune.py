"""Cut an encoder's vocabulary to the tokens that a domain's questions need.

A multilingual vocabulary has 250,000 tokens, and their rows are four fifths of the encoder. A word whose token is left
out is spelled with shorter tokens.
"""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    pass

_WORD_START = "\u2581"
"""The character that SentencePiece puts before a word."""


def prune(
    tokenizer_json: str, texts: Iterable[str], frequent: Iterable[int], max_tokens: int
) -> tuple[str, np.ndarray]:
    """Keep special tokens, single characters, the tokens of `texts`, and then those of `frequent` up to `max_tokens`.

    Args:
        tokenizer_json: A `WordPiece` or `Unigram` tokenizer of Hugging Face tokenizers.
        texts: The owner's words; all their tokens stay, even beyond `max_tokens`.
        frequent: Ids of the language's tokens, the most frequent first.
        max_tokens: Size to fill up to.

    Returns:
        The pruned tokenizer as JSON, and the old ids of its tokens (V',).

    Raises:
        ValueError: the tokenizer is of another kind.
    """
    from tokenizers import Tokenizer

    definition: dict[str, Any] = json.loads(tokenizer_json)
    definition["truncation"] = definition["padding"] = None
    tokenizer = Tokenizer.from_str(json.dumps(definition))
    names = token_names(definition)
    texts = list(texts)
    kept = _always_kept(definition, names, set("".join(texts).lower()))
    for text in texts:
        kept.update(tokenizer.encode(text, add_special_tokens=False).ids)
    for id in frequent:
        if len(kept) >= max_tokens:
            break
        kept.add(id)
    old_ids = np.array(sorted(kept))
    new_ids = {int(old): new for new, old in enumerate(old_ids)}
    _renumber(definition, old_ids, new_ids, names)
    return json.dumps(definition, ensure_ascii=False, separators=(",", ":")), old_ids


def token_names(definition: dict[str, Any]) -> list[str]:
    """The names of all tokens of a tokenizer's definition, by id."""
    model = definition["model"]
    if model["type"] == "WordPiece":
        return sorted(model["vocab"], key=model["vocab"].__getitem__)
    if model["type"] == "Unigram":
        return [token for token, _ in model["vocab"]]
    raise ValueError(f"cannot prune a tokenizer of type {model['type']}")


def _always_kept(definition: dict[str, Any], names: Sequence[str], characters: set[str]) -> set[int]:
    """Ids of special tokens, and of single characters: ASCII and those of the owner's words."""
    special = {token["id"] for token in definition["added_tokens"]}
    special.update(id for entry in _special_entries(definition) for id in entry["ids"])
    unknown = definition["model"].get("unk_id")
    if unknown is not None:
        special.add(unknown)
    letters = {
        id
        for id, name in enumerate(names)
        if len(bare := name.removeprefix("##").removeprefix(_WORD_START)) <= 1
        and (bare.isascii() or bare in characters)
    }
    return special | letters


def _special_entries(definition: dict[str, Any]) -> list[dict[str, Any]]:
    processor = definition.get("post_processor") or {}
    return list(processor.get("special_tokens", {}).values())


def _renumber(definition: dict[str, Any], old_ids: np.ndarray, new_ids: dict[int, int], names: Sequence[str]) -> None:
    """Change every id in the definition to the new one."""
    model = definition["model"]
    if model["type"] == "WordPiece":
        model["vocab"] = {names[old]: new for new, old in enumerate(old_ids)}
    else:
        model["vocab"] = [model["vocab"][old] for old in old_ids]
        model["unk_id"] = new_ids[model["unk_id"]]
    for token in definition["added_tokens"]:
        token["id"] = new_ids[token["id"]]
    for entry in _special_entries(definition):
        entry["ids"] = [new_ids[id] for id in entry["ids"]]

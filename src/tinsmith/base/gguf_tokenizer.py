"""The tokenizer inside a GGUF file -> `tokenizer.json`, or the proof that a given one belongs to the same weights."""

import shutil
from pathlib import Path
from typing import Any

from tinsmith.core.errors import BaseModelError, listing
from tinsmith.core.run_dir import read_json, write_json

_CONTROL, _USER_DEFINED = 3, 4
"""GGUF token types: special tokens, and added tokens that are ordinary text. Source: the GGUF specification."""


def write_tokenizer(
    where: str, fields: dict[str, Any], tokenizer_json: Path | None, context_length: int, out_dir: Path
) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` for a GGUF file's metadata.

    Args:
        where: Name of the GGUF file, for messages.
        fields: Its metadata.
        tokenizer_json: Copied after every token was compared with the file's own; None converts the file's own.
        context_length: Recorded as the longest input.
        out_dir: Where to write.

    Raises:
        BaseModelError: no tokenizer, one of a kind that is not converted, or tokens that differ.
    """
    tokens = fields.get("tokenizer.ggml.tokens")
    if not tokens:
        raise BaseModelError(f"{where}: the GGUF file has no tokenizer", "Use a complete GGUF file.")
    if tokenizer_json is not None:
        _compare(where, fields, tokenizer_json)
        shutil.copyfile(tokenizer_json, out_dir / "tokenizer.json")
    else:
        _byte_level_bpe(where, fields, tokens).save(str(out_dir / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": context_length}
    for name, key in {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}.items():
        token_id = fields.get(f"tokenizer.ggml.{key}_token_id")
        if token_id is not None:
            config[f"{name}_token"] = tokens[token_id]
    if fields.get("tokenizer.chat_template"):
        config["chat_template"] = fields["tokenizer.chat_template"]
    write_json(out_dir / "tokenizer_config.json", config)


def _byte_level_bpe(where: str, fields: dict[str, Any], tokens: list[str]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    kind, before = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre")
    if (kind, before) != ("gpt2", "smollm"):
        raise BaseModelError(
            f"{where}: its tokenizer (model {kind!r}, pre-tokenizer {before!r}) cannot be converted",
            "Set base.tokenizer to a folder with the model's own tokenizer.json.",
        )
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    # SmolLM splits numbers into single digits before the GPT-2 pattern; without it "12" becomes one unseen token.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    types = fields["tokenizer.ggml.token_type"]
    for wanted, special in ((_CONTROL, True), (_USER_DEFINED, False)):
        added = [t for t, found in zip(tokens, types, strict=True) if found == wanted]
        tokenizer.add_tokens([AddedToken(token, special=special, normalized=False) for token in added])
    return tokenizer


def _compare(where: str, fields: dict[str, Any], tokenizer_json: Path) -> None:
    """Every id of the GGUF file must be the same token in `tokenizer_json`."""
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    tree = read_json(tokenizer_json)
    vocabulary = dict(tree["model"]["vocab"])
    vocabulary |= {added["content"]: added["id"] for added in tree.get("added_tokens", [])}
    by_id = {token_id: token for token, token_id in vocabulary.items()}
    different = []
    for index, (token, kind) in enumerate(zip(tokens, types, strict=True)):
        found = by_id.get(index)
        # llama.cpp writes the added tokens of SentencePiece models with real spaces instead of U+2581.
        same = found == token or (kind == _USER_DEFINED and (found or "").replace("\u2581", " ") == token)
        if not same:
            different.append(f"id {index}: {found!r} here, {token!r} in the GGUF file")
    if different:
        raise BaseModelError(
            f"{where}: {len(different)} of {len(tokens)} tokens differ from {tokenizer_json.name}\n"
            + listing(different, shown=5),
            "Use the tokenizer that belongs to exactly this model.",
        )

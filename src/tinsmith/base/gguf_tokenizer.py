"""Convert the tokenizer inside a GGUF file to `tokenizer.json`, or check that another one has the same tokens."""

import shutil
from pathlib import Path
from typing import Any

from tinsmith.base.gguf_file import GgufFile
from tinsmith.base.model_json import check_tokenizer
from tinsmith.core.errors import BaseModelError, listing
from tinsmith.core.run_dir import write_json, write_text

_CONTROL, _USER_DEFINED = 3, 4
"""GGUF token types: special tokens, and added tokens that are ordinary text. Source: the GGUF specification."""

_DOWNLOAD_HINT = "Download the file again; it may be damaged."


def write_tokenizer(file: GgufFile, tokenizer_json: Path | None, context_length: int, out_dir: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` for the tokenizer of a GGUF file.

    Args:
        file: The GGUF file.
        tokenizer_json: Copied if its tokens equal the GGUF file's. If None, the GGUF file's tokenizer is converted.
        context_length: The longest input in tokens, for `tokenizer_config.json`.
        out_dir: Folder for both files.

    Raises:
        BaseModelError: the file has no tokenizer or one that cannot be converted, or the tokens differ.
    """
    if not file.fields.get("tokenizer.ggml.tokens"):
        raise BaseModelError(f"{file.name}: the GGUF file has no tokenizer", "Use a complete GGUF file.")
    tokens, types = file.texts("tokenizer.ggml.tokens"), file.integers("tokenizer.ggml.token_type")
    if len(types) != len(tokens):
        raise BaseModelError(f"{file.name}: {len(tokens)} tokens, but {len(types)} token types", _DOWNLOAD_HINT)
    if tokenizer_json is not None:
        _compare(file.name, tokens, types, tokenizer_json)
        shutil.copyfile(tokenizer_json, out_dir / "tokenizer.json")
    else:
        write_text(out_dir / "tokenizer.json", _byte_level_bpe(file, tokens, types).to_str(pretty=True))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": context_length}
    for name, key in {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}.items():
        token_id = token_id_of(file, key, len(tokens))
        if token_id is not None:
            config[f"{name}_token"] = tokens[token_id]
    if template := file.text("tokenizer.chat_template"):
        config["chat_template"] = template
    write_json(out_dir / "tokenizer_config.json", config)


def token_id_of(file: GgufFile, key: str, vocab_size: int) -> int | None:
    """Id of the file's `bos`, `eos`, `padding` or `unknown` token, or None if the file does not set it.

    Raises:
        BaseModelError: the id is not between 0 and `vocab_size` - 1.
    """
    name = f"tokenizer.ggml.{key}_token_id"
    return file.integer(name, 0, vocab_size - 1) if name in file.fields else None


def _byte_level_bpe(file: GgufFile, tokens: list[str], types: list[int]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    kind, pre_tokenizer = file.text("tokenizer.ggml.model"), file.text("tokenizer.ggml.pre")
    if (kind, pre_tokenizer) != ("gpt2", "smollm"):
        raise BaseModelError(
            f"{file.name}: its tokenizer (model {kind!r}, pre-tokenizer {pre_tokenizer!r}) cannot be converted",
            "Set base.tokenizer to a folder with the model's own tokenizer.json.",
        )
    vocabulary = {token: index for index, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens):
        raise BaseModelError(
            f"{file.name}: {len(tokens) - len(vocabulary)} of its tokens are duplicates", _DOWNLOAD_HINT
        )
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=_merges(file, vocabulary)))
    # SmolLM splits numbers into single digits before the GPT-2 pattern; without it "12" becomes one unseen token.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    for added_type, special in ((_CONTROL, True), (_USER_DEFINED, False)):
        added = [token for token, kind in zip(tokens, types, strict=True) if kind == added_type]
        tokenizer.add_tokens([AddedToken(token, special=special, normalized=False) for token in added])
    return tokenizer


def _merges(file: GgufFile, vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    merges = []
    for number, merge in enumerate(file.texts("tokenizer.ggml.merges"), start=1):
        left, _, right = merge.partition(" ")
        if left not in vocabulary or right not in vocabulary or left + right not in vocabulary:
            raise BaseModelError(
                f"{file.name}: merge {number} of its tokenizer, {merge!r}, does not join two known tokens into a third",
                _DOWNLOAD_HINT,
            )
        merges.append((left, right))
    return merges


def _compare(name: str, tokens: list[str], types: list[int], tokenizer_json: Path) -> None:
    """Check that `tokenizer_json` has the same token as the GGUF file at every id."""
    tree = check_tokenizer(tokenizer_json, tokenizer_json.parent.name)
    vocabulary = dict(tree["model"]["vocab"])
    vocabulary |= {added["content"]: added["id"] for added in tree.get("added_tokens", [])}
    by_id = {token_id: token for token, token_id in vocabulary.items()}
    different = []
    for index, (token, kind) in enumerate(zip(tokens, types, strict=True)):
        other = by_id.get(index)
        # llama.cpp writes the added tokens of SentencePiece models with real spaces instead of U+2581.
        same = other == token or (kind == _USER_DEFINED and (other or "").replace("\u2581", " ") == token)
        if not same:
            different.append(f"id {index}: {other!r} in {tokenizer_json.name}, {token!r} in the GGUF file")
    if different:
        raise BaseModelError(
            f"{name}: {len(different)} of {len(tokens)} tokens differ from {tokenizer_json.name}\n"
            + listing(different, shown=5),
            "Use the tokenizer that belongs to exactly this model.",
        )

"""Writes the tuned model as one GGUF file for llama.cpp, Ollama and wllama, reads it back and compares it.

Source: the GGUF specification and the names llama.cpp's converter uses (docs/gguf.md in ggml, gguf-py's tensor maps).
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from tinsmith.core.errors import GateError
from tinsmith.core.measure import Recorder
from tinsmith.core.run_dir import write_json
from tinsmith.derive.export import RULES
from tinsmith.derive.files import Files
from tinsmith.derive.rules import record
from tinsmith.export.decoder_graph import inverse_frequencies
from tinsmith.export.models import StoredWeights
from tinsmith.model.families import LLAMA3, QWEN2_5, QWEN3, SMOLLM2, Decoder, decoder_of
from tinsmith.model.load import load_model_config
from tinsmith.model.tokens import ChatTokenizer, load_tokenizer

_ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3_text": "gemma3"}

_PRE_TOKENIZERS = {SMOLLM2: "smollm", LLAMA3: "llama-bpe", QWEN2_5: "qwen2", QWEN3: "qwen2"}
"""Family -> llama.cpp's rule for splitting text before merging. Gemma's tokenizer is of another kind and has none."""

_FILE_TYPES = {"f16": 1, "q8_0": 7, "q4_0": 2}
"""`general.file_type`: llama.cpp's number for the format of most weights."""

_SMALLEST_ERROR = 2.0**-25
"""Half of float16's smallest step: the rounding error of numbers below 6e-5."""
_ERROR_MULTIPLES = {"F32": 0, "F16": 1, "Q8_0": 127, "Q4_0": 8}
"""Format -> how many times `_SMALLEST_ERROR` a weight can be off: integers up to this multiply a scale's error."""

_BLOCK = 32
_HINT = 'Set export.gguf = "" to export without GGUF, and please report the model.'

_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Transformers' name of a module -> llama.cpp's."""
_NORM_BEFORE_MLP = {"post_attention_layernorm": "ffn_norm"}
_NORMS_AROUND_BLOCKS = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 3, 4, 5, 6
"""GGUF token types."""

_BYTE_TOKEN = re.compile("<0x[0-9A-F]{2}>")


@dataclass(frozen=True, slots=True)
class GgufCheck:
    """Result of reading a file back."""

    errors: dict[str, float]
    """Tensor -> largest error in a block of 32, as a share of the block's largest weight, without float16's error of
    tiny numbers."""

    @property
    def largest_error(self) -> float:
        """Largest error of any tensor; NaN if one is not a number."""
        return float(np.max(list(self.errors.values())))


def export_gguf(recorder: Recorder, model_dir: Path, out_dir: Path, weights: str) -> None:
    """Write `gguf/model-<weights>.gguf` and `gguf.json`; read the model back and compare it with the tuned one.

    Raises:
        GateError: the file's weights are not the tuned model's.
    """
    path = out_dir / "gguf" / f"model-{weights}.gguf"
    write_gguf(model_dir, path, weights)
    errors = {
        name: error if math.isfinite(error) else None for name, error in check_gguf(model_dir, path).errors.items()
    }
    write_json(out_dir / "gguf.json", {"weights": weights, "bytes": path.stat().st_size, "errors": errors})
    files = Files.of_stage("export", out_dir)
    record(recorder, RULES, files, "gate.gguf.")
    record(recorder, RULES, files, "export.gguf_bytes")


def write_gguf(model_dir: Path, path: Path, weights: str) -> None:
    """Write the model in `model_dir`, a Transformers folder, to `path`.

    Args:
        model_dir: The tuned model.
        path: The file to write.
        weights: `f16`, `q8_0` or `q4_0`: the format of matrices. Norms and biases stay float32. With `q4_0` the head is
            in `q8_0`, as in llama.cpp's own tool when row lengths are not a multiple of 256.

    Raises:
        GateError: the model has a property that GGUF cannot express.
    """
    from gguf import GGMLQuantizationType, GGUFWriter, quantize

    config = load_model_config(model_dir)
    writer = GGUFWriter(path, _ARCHITECTURES[config.model_type])
    writer.add_file_type(_FILE_TYPES[weights])
    _add_shape(writer, config)
    _add_tokenizer(writer, load_tokenizer(model_dir), config)
    head = "output.weight" if "lm_head.weight" in StoredWeights(model_dir).names else "token_embd.weight"
    for name, values in _tensors(model_dir, config):
        kind = _format(values, "q8_0" if weights == "q4_0" and name == head else weights)
        if kind == "F32":
            writer.add_tensor(name, values)
        else:
            quantization = GGMLQuantizationType[kind]
            writer.add_tensor(name, quantize(values, quantization), raw_dtype=quantization)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file(progress=False)
    writer.close()


def check_gguf(model_dir: Path, path: Path) -> GgufCheck:
    """Read `path` back and compare every tensor and token with the model in `model_dir`.

    Raises:
        GateError: a tensor or token is missing, unexpected, or differs in shape or text.
    """
    from gguf import GGUFReader, dequantize

    reader = GGUFReader(path)
    config = load_model_config(model_dir)
    stored = {tensor.name: tensor for tensor in reader.tensors}
    largest: dict[str, float] = {}
    for name, values in _tensors(model_dir, config):
        tensor = stored.pop(name, None)
        if tensor is None or tuple(reversed(tensor.shape)) != values.shape:
            _refuse(path, f"tensor {name} is missing or of another shape")
        errors = dequantize(tensor.data, tensor.tensor_type).reshape(values.shape) - values
        errors, blocks = (np.abs(a).reshape(-1, _BLOCK if a.size % _BLOCK == 0 else 1) for a in (errors, values))
        peaks = blocks.max(1)
        beyond = errors.max(1) - _SMALLEST_ERROR * _ERROR_MULTIPLES[tensor.tensor_type.name]
        largest[name] = float(np.maximum(0.0, (beyond / np.where(peaks == 0, 1, peaks)).max()))  # NaN stays
    if stored:
        _refuse(path, f"tensors that the model does not have: {', '.join(sorted(stored)[:5])}")
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    if tokens != _tokens(load_tokenizer(model_dir), config.vocab_size):
        _refuse(path, "its tokens differ from the tokenizer's")
    return GgufCheck(largest)


def _refuse(path: Path, problem: str) -> NoReturn:
    raise GateError(f"{path.name}: {problem}", _HINT)


def _format(values: np.ndarray, weights: str) -> str:
    if values.ndim == 1:
        return "F32"
    return "F16" if values.shape[1] % _BLOCK else weights.upper()


def _tensors(model_dir: Path, config: Any) -> Iterator[tuple[str, np.ndarray]]:
    """GGUF names and values, float32, of every tensor of the model."""
    stored, decoder = StoredWeights(model_dir), decoder_of(config)
    heads = {"self_attn.q_proj": decoder.heads, "self_attn.k_proj": decoder.kv_heads}
    norms = _NORMS_AROUND_BLOCKS if decoder.has_post_norms else _NORM_BEFORE_MLP
    names = _NAMES | norms
    for name in stored.names:
        values = stored(name).float()
        stem, _, kind = name.rpartition(".")
        prefix = ""
        if stem.startswith("model.layers."):
            _, _, layer, stem = stem.split(".", 3)
            prefix = f"blk.{layer}."
        if config.model_type == "llama" and stem in heads:
            values = _interleaved(values, heads[stem])
        if names[stem].endswith("norm"):
            values = values + decoder.norm_offset  # GGUF stores Gemma's norms as 1 + w
        yield f"{prefix}{names[stem]}.{kind}", values.contiguous().numpy()
    rope = decoder.rope[0]
    if rope.get("rope_type") == "llama3":
        plain, scaled = (inverse_frequencies(one, decoder)[0] for one in ({**rope, "rope_type": "default"}, rope))
        yield "rope_freqs.weight", plain / scaled


def _interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Reorder a query or key projection as Llama's GGUF stores it: rows of each head's two halves alternate."""
    rows, columns = weight.shape
    return weight.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def _add_shape(writer: Any, config: Any) -> None:
    decoder = decoder_of(config)
    writer.add_block_count(decoder.layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(decoder.hidden_size)
    writer.add_feed_forward_length(decoder.intermediate_size)
    writer.add_head_count(decoder.heads)
    writer.add_head_count_kv(decoder.kv_heads)
    writer.add_key_length(decoder.head_dim)
    writer.add_value_length(decoder.head_dim)
    writer.add_rope_dimension_count(decoder.head_dim)
    writer.add_layer_norm_rms_eps(decoder.norm_epsilon)
    writer.add_vocab_size(decoder.vocab_size)
    if getattr(config, "query_pre_attn_scalar", decoder.head_dim) != decoder.head_dim:
        raise GateError("GGUF: cannot express attention scaled by a number other than the head size", _HINT)
    for rope in decoder.rope:
        if rope.get("rope_type", "default") not in ("default", "llama3"):
            raise GateError(f"GGUF: cannot express RoPE of type {rope['rope_type']!r}", _HINT)
    if max(decoder.windows):
        _add_windows(writer, decoder)
    else:
        writer.add_rope_freq_base(decoder.rope[0]["rope_theta"])


def _add_windows(writer: Any, decoder: Decoder) -> None:
    """Describe Gemma 3's layers: every n-th sees all tokens, the others a window, and their RoPE bases differ."""
    full = [index for index, window in enumerate(decoder.windows) if not window]
    every = full[0] + 1 if full else decoder.layers + 1
    if any((index + 1) % every == 0 for index, window in enumerate(decoder.windows) if window) or any(
        (index + 1) % every for index in full
    ):
        raise GateError("GGUF: cannot express full-attention layers at irregular intervals", _HINT)
    writer.add_sliding_window(max(decoder.windows))
    writer.add_uint32("gemma3.attention.sliding_window_pattern", every)
    writer.add_rope_freq_base(decoder.rope[full[0] if full else 0]["rope_theta"])
    local = next(index for index, window in enumerate(decoder.windows) if window)
    writer.add_rope_freq_base_swa(decoder.rope[local]["rope_theta"])


def _add_tokenizer(writer: Any, chat: ChatTokenizer, config: Any) -> None:
    tokenizer = chat.tokenizer
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = _tokens(chat, config.vocab_size)
    types = _token_types(chat, tokens)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    if model.get("byte_fallback"):
        # SentencePiece first merges the pair whose piece scores highest. Ids are in merge order, so -id is a score.
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        scores = {_NORMAL: lambda index: float(-index), _BYTE: lambda index: 0.0}
        writer.add_token_scores([scores.get(kind, lambda index: -1000.0)(i) for i, kind in enumerate(types)])
        writer.add_add_space_prefix(False)
    elif chat.family not in _PRE_TOKENIZERS:
        raise GateError(f"GGUF: cannot express the tokenizer of this {chat.family.title} model", _HINT)
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(_PRE_TOKENIZERS[chat.family])
        writer.add_token_merges(merges)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_add_bos_token(chat.family.has_bos)
    end_of_turn = chat.end_ids[0]
    writer.add_eos_token_id(end_of_turn)
    writer.add_eot_token_id(end_of_turn)
    for add, index in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
        (writer.add_unk_token_id, tokenizer.unk_token_id),
    ):
        if index is not None:
            add(index)
    writer.add_chat_template(chat.family.chat_template)


def _tokens(chat: ChatTokenizer, count: int) -> list[str]:
    """Every token's text by id; unused ids get a placeholder."""
    names = {index: token for token, index in chat.tokenizer.get_vocab().items()}
    return [names.get(index, f"[PAD{index}]") for index in range(count)]


def _token_types(chat: ChatTokenizer, tokens: Sequence[str]) -> list[int]:
    added = chat.tokenizer.added_tokens_decoder
    types = []
    for index, token in enumerate(tokens):
        if index in added:
            types.append(_CONTROL if added[index].special else _USER_DEFINED)
        elif token == f"[PAD{index}]":
            types.append(_UNUSED)
        else:
            types.append(_BYTE if _BYTE_TOKEN.fullmatch(token) else _NORMAL)
    return types

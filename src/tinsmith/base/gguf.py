"""Convert a GGUF file into a Transformers folder with bf16 weights, for Llama and Gemma 3.

Transformers can read the same files, but keeps the weights packed and then refuses to save them. It also drops unknown
tensors; the explicit map of names here refuses them.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from tinsmith.base.gguf_file import GgufFile, GgufTensor, read_gguf
from tinsmith.base.gguf_tokenizer import token_id_of, write_tokenizer
from tinsmith.core.errors import BaseModelError
from tinsmith.core.run_dir import write_json
from tinsmith.model.save import save_weights

CONVERTER_VERSION = 1
"""Increase it when the output of this module or `gguf_tokenizer.py` changes, so that cached folders are rebuilt."""

_MODEL_TYPES = {"llama": "llama", "gemma3": "gemma3_text"}

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_NORMS = {
    "llama": {"ffn_norm": "post_attention_layernorm"},
    # Gemma 3 norms before and after both blocks, and GGUF's `ffn_norm` is the one *before* the MLP.
    "gemma3": {
        "ffn_norm": "pre_feedforward_layernorm",
        "post_attention_norm": "post_attention_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm",
        "attn_q_norm": "self_attn.q_norm",
        "attn_k_norm": "self_attn.k_norm",
    },
}

_OUTSIDE_LAYERS = ("token_embd", "output_norm", "output")

_MAX_WIDTH, _MAX_HEADS, _MAX_CONTEXT = 1 << 20, 1 << 12, 1 << 27
"""Upper limits for sizes in metadata, far above those of any model that runs in a browser."""

_ORIGINAL_HINT = "Use the model's original safetensors files: hf:org/name or a local folder."

_CHUNK_VALUES = 1 << 23
"""Weights expanded at a time: a whole 262,144-row embedding in float32 would take 670 MB."""


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """Format, quantization and licence, from a GGUF file's metadata."""

    format: str
    """Such as `GGUF Q4_1`."""
    is_quantized: bool
    license: str
    """Licence id from its metadata, or empty."""
    license_name: str
    license_link: str


def convert(path: Path, tokenizer_json: Path | None, out_dir: Path) -> GgufFacts:
    """Write `config.json`, `tokenizer.json`, `tokenizer_config.json` and bf16 `model.safetensors` below `out_dir`.

    Args:
        path: The GGUF file.
        tokenizer_json: Replaces the file's own tokenizer, after a check that all tokens are equal; or None.
        out_dir: An existing empty folder.

    Raises:
        BaseModelError: not a GGUF file, an architecture, option or tensor this converter does not know, or a
            tokenizer that does not belong to the weights.
    """
    file = read_gguf(path)
    architecture = file.text("general.architecture")
    if architecture not in _MODEL_TYPES:
        raise BaseModelError(
            f"{file.name}: unsupported GGUF architecture {architecture!r}",
            "Supported: " + ", ".join(repr(name) for name in _MODEL_TYPES) + ".",
        )
    config = _config(file, architecture)
    write_json(out_dir / "config.json", config)
    write_tokenizer(file, tokenizer_json, config["max_position_embeddings"], out_dir)
    _write_weights(file, architecture, config, out_dir / "model.safetensors")
    return _facts(file)


def _facts(file: GgufFile) -> GgufFacts:
    from gguf import LlamaFileType

    matrices = [tensor.type.name for tensor in file.tensors if len(tensor.shape) == 2]
    try:
        name = LlamaFileType(file.fields.get("general.file_type")).name
    except ValueError:  # absent, or newer than the library
        name = max(set(matrices), key=matrices.count)
    return GgufFacts(
        format=f"GGUF {name.removeprefix('MOSTLY_').removeprefix('ALL_')}",
        is_quantized=not set(matrices) <= {"F32", "F16", "BF16"},
        license=file.text("general.license"),
        license_name=file.text("general.license.name"),
        license_link=file.text("general.license.link"),
    )


def _config(file: GgufFile, architecture: str) -> dict[str, Any]:
    """A complete `config.json` from the metadata of a GGUF file."""
    _refuse_unknown_rope(file, architecture)
    embedding = next((tensor for tensor in file.tensors if tensor.name == "token_embd.weight"), None)
    if embedding is None or len(embedding.shape) != 2:
        raise BaseModelError(f"{file.name}: no matrix token_embd.weight", "Fetch the file again; it may be incomplete.")
    tokens = embedding.shape[1]
    hidden_size = file.integer(f"{architecture}.embedding_length", 1, _MAX_WIDTH)
    heads = file.integer(f"{architecture}.attention.head_count", 1, _MAX_HEADS)
    config = {
        "model_type": _MODEL_TYPES[architecture],
        "vocab_size": tokens,
        "hidden_size": hidden_size,
        "intermediate_size": file.integer(f"{architecture}.feed_forward_length", 1, _MAX_WIDTH),
        "num_hidden_layers": _layers(file, architecture),
        "num_attention_heads": heads,
        "num_key_value_heads": file.integer(f"{architecture}.attention.head_count_kv", 1, _MAX_HEADS, default=heads),
        "head_dim": file.integer(f"{architecture}.attention.key_length", 1, _MAX_WIDTH, default=hidden_size // heads),
        "max_position_embeddings": file.integer(f"{architecture}.context_length", 1, _MAX_CONTEXT),
        "rms_norm_eps": _shortest(file.positive(f"{architecture}.attention.layer_norm_rms_epsilon")),
        "tie_word_embeddings": all(tensor.name != "output.weight" for tensor in file.tensors),
        "attention_bias": False,
        "dtype": "bfloat16",
    }
    for name, key in {"bos": "bos", "eos": "eos", "pad": "padding"}.items():
        config[f"{name}_token_id"] = token_id_of(file, key, tokens)
    extra = _gemma3_config if architecture == "gemma3" else _llama_config
    return config | extra(config, file)


def _layers(file: GgufFile, architecture: str) -> int:
    """Number of layers. Metadata and tensors must agree, because the model is built before its tensors are compared."""
    layers = file.integer(f"{architecture}.block_count", 1, len(file.tensors))
    numbers = {tensor.name.split(".")[1] for tensor in file.tensors if tensor.name.startswith("blk.")}
    if numbers != {str(index) for index in range(layers)}:
        raise BaseModelError(
            f"{file.name}: GGUF metadata {architecture}.block_count is {layers}, but the tensors belong to "
            f"{len(numbers)} layers",
            "Fetch the file again; it may be incomplete.",
        )
    return layers


def _llama_config(config: dict[str, Any], file: GgufFile) -> dict[str, Any]:
    theta = _shortest(file.positive("llama.rope.freq_base", default=10_000.0))
    return {
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "mlp_bias": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
    }


def _gemma3_config(config: dict[str, Any], file: GgufFile) -> dict[str, Any]:
    """Settings that GGUF leaves out because they are the same in every Gemma 3 text model.

    Source: google/gemma-3-* `config.json`: five sliding-window layers, then one full layer; RoPE base 10,000 inside
    windows; attention scaled by the head dimension (except in the 27B model, which is too large for a browser).
    """
    pattern = file.integer("gemma3.attention.sliding_window_pattern", 1, _MAX_WIDTH, default=6)
    local_theta = file.positive("gemma3.rope.freq_base_swa", default=10_000.0)
    layers = range(config["num_hidden_layers"])
    kinds = ["full_attention" if (i + 1) % pattern == 0 else "sliding_attention" for i in layers]
    softcapping = {
        f"{name}_logit_softcapping": file.positive(key)
        if (key := f"gemma3.{name}_logit_softcapping") in file.fields
        else None
        for name in ("final", "attn")
    }
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": config["head_dim"],
        "sliding_window": file.integer("gemma3.attention.sliding_window", 1, _MAX_CONTEXT),
        "layer_types": kinds,
        **softcapping,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": _shortest(local_theta)},
            "full_attention": {"rope_type": "default", "rope_theta": _shortest(file.positive("gemma3.rope.freq_base"))},
        },
    }


def _refuse_unknown_rope(file: GgufFile, architecture: str) -> None:
    """Refuse scaled RoPE. Without the scaling, a model would fail only in long contexts, where tests may miss it."""
    scaling = file.text(f"{architecture}.rope.scaling.type", "none")
    if scaling != "none" or any(tensor.name.startswith("rope_freqs") for tensor in file.tensors):
        raise BaseModelError(
            f"{file.name}: scaled RoPE in a GGUF file is not supported (scaling type {scaling!r})", _ORIGINAL_HINT
        )


def _shortest(value: float) -> float:
    """The shortest decimal with the same float32 value: 1e-05 for 9.999999747e-06."""
    return float(str(numpy.float32(value)))


def _transformers_name(file: GgufFile, architecture: str, name: str) -> str:
    known = _NAMES | _NORMS[architecture]
    match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", name)
    if match is None or match[2] not in known or (match[1] is None) != (match[2] in _OUTSIDE_LAYERS):
        raise BaseModelError(f"{file.name}: tensor {name!r} is not part of a {architecture} model", _ORIGINAL_HINT)
    return f"{known[match[2]]}.weight" if match[1] is None else f"model.layers.{match[1]}.{known[match[2]]}.weight"


def _write_weights(file: GgufFile, architecture: str, config: dict[str, Any], path: Path) -> None:
    from tqdm import tqdm

    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    names = {tensor.name: _transformers_name(file, architecture, tensor.name) for tensor in file.tensors}
    weights = {}
    total = sum(math.prod(tensor.shape) for tensor in file.tensors)
    with tqdm(total=total, desc="expanding to bf16", unit="weights", unit_scale=True) as progress:
        for tensor in file.tensors:
            stem = tensor.name.split(".")[-2]
            # GGUF stores Gemma's norms as 1 + w; Transformers adds the 1 itself.
            offset = 1.0 if architecture == "gemma3" and stem.endswith("norm") else 0.0
            value = _expanded(file, tensor, offset, progress)
            if architecture == "llama" and stem in heads:
                value = _unpermuted(file, tensor.name, value, heads[stem])
            weights[names[tensor.name]] = value.contiguous()
    save_weights(weights, path)


def _expanded(file: GgufFile, tensor: GgufTensor, offset: float, progress: Any) -> Any:
    """One GGUF tensor minus `offset` as bf16, shape reversed to PyTorch's order."""
    import torch
    from gguf import dequantize

    shape = tensor.shape[::-1]
    value = torch.empty(shape, dtype=torch.bfloat16)
    rows = value.view(-1, shape[-1])  # (rows, columns)
    step = max(1, _CHUNK_VALUES // shape[-1])
    for start in range(0, len(rows), step):
        with numpy.errstate(all="ignore"):  # for damaged scales, which the next line finds
            part = dequantize(tensor.rows[start : start + step], tensor.type).reshape(-1, shape[-1])
        if not numpy.isfinite(part).all():
            raise BaseModelError(
                f"{file.name}: tensor {tensor.name!r} has weights that are not finite numbers",
                "Fetch the file again; it may be damaged.",
            )
        # In float32: rounding 1 + w to bf16 first would lose most of w. The result is also a copy that torch may write.
        rows[start : start + step] = torch.from_numpy(part - numpy.float32(offset))
        progress.update(part.size)
    return value


def _unpermuted(file: GgufFile, name: str, weight: Any, heads: int) -> Any:
    """Rows of a query or key projection in Transformers' order.

    GGUF interleaves the two halves of each head, because the original Llama code rotates neighbouring pairs.
    Transformers rotates the first half against the second. `weight` is (heads * head_dim, hidden).
    """
    if weight.ndim != 2 or len(weight) % (2 * heads):
        raise BaseModelError(
            f"{file.name}: tensor {name!r} has shape {list(weight.shape)}, not divisible into {heads} heads",
            "Fetch the file again; it may be damaged.",
        )
    rows, columns = weight.shape
    return weight.view(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)

"""A GGUF file -> a Transformers folder with bf16 weights, by an explicit name map for Llama and Gemma 3.

Transformers can read the same files, but keeps the weights packed and then refuses to save them; and a map that is
written down can refuse what it does not know instead of dropping it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from tinsmith.base.gguf_tokenizer import write_tokenizer
from tinsmith.core.errors import BaseModelError
from tinsmith.core.run_dir import write_json

CONVERTER_VERSION = 1
"""Raised whenever this file or `gguf_tokenizer.py` would write something else, so that cached folders are rebuilt."""

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

_CHUNK_VALUES = 1 << 23
"""Weights expanded at once: the float32 copy of a 262,144-row embedding would be 670 MB."""


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """What a GGUF file says about itself."""

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
        tokenizer_json: Used instead of the file's own tokenizer, after comparing every token; or None.
        out_dir: An existing empty folder.

    Raises:
        BaseModelError: not a GGUF file, an architecture, option or tensor this converter does not know, or a
            tokenizer that does not belong to the weights.
    """
    reader = _open(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    architecture = fields.get("general.architecture")
    if architecture not in _MODEL_TYPES:
        raise BaseModelError(
            f"{path.name}: unsupported GGUF architecture {architecture!r}",
            "Supported: " + ", ".join(repr(name) for name in _MODEL_TYPES) + ".",
        )
    config = _config(path.name, architecture, fields, reader.tensors)
    write_json(out_dir / "config.json", config)
    write_tokenizer(path.name, fields, tokenizer_json, config["max_position_embeddings"], out_dir)
    _write_weights(path.name, architecture, config, reader.tensors, out_dir / "model.safetensors")
    return _facts(fields, reader.tensors)


def _open(path: Path) -> Any:
    from gguf import GGUFReader

    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError) as error:
        raise BaseModelError(
            f"{path.name}: not a readable GGUF file ({error})", "Fetch it again; it may be incomplete."
        ) from error


def _facts(fields: dict[str, Any], tensors: list) -> GgufFacts:
    from gguf import LlamaFileType

    matrices = [tensor.tensor_type.name for tensor in tensors if len(tensor.shape) == 2]
    if "general.file_type" in fields:
        name = LlamaFileType(fields["general.file_type"]).name.removeprefix("MOSTLY_").removeprefix("ALL_")
    else:
        name = max(set(matrices), key=matrices.count)
    return GgufFacts(
        format=f"GGUF {name}",
        is_quantized=not set(matrices) <= {"F32", "F16", "BF16"},
        license=fields.get("general.license", ""),
        license_name=fields.get("general.license.name", ""),
        license_link=fields.get("general.license.link", ""),
    )


def _config(where: str, architecture: str, fields: dict[str, Any], tensors: list) -> dict[str, Any]:
    """A complete `config.json` for the metadata of a GGUF file."""

    def need(key: str) -> Any:
        name = f"{architecture}.{key}"
        if name not in fields:
            raise BaseModelError(f"{where}: GGUF metadata has no {name}", "Use the model's original files instead.")
        return fields[name]

    _refuse_unknown_rope(where, architecture, fields, tensors)
    embedding = next((tensor for tensor in tensors if tensor.name == "token_embd.weight"), None)
    if embedding is None:
        raise BaseModelError(f"{where}: no tensor token_embd.weight", "Fetch the file again; it may be incomplete.")
    heads = need("attention.head_count")
    config = {
        "model_type": _MODEL_TYPES[architecture],
        "vocab_size": int(embedding.shape[1]),
        "hidden_size": need("embedding_length"),
        "intermediate_size": need("feed_forward_length"),
        "num_hidden_layers": need("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": fields.get(f"{architecture}.attention.head_count_kv", heads),
        "head_dim": fields.get(f"{architecture}.attention.key_length", need("embedding_length") // heads),
        "max_position_embeddings": need("context_length"),
        "rms_norm_eps": _shortest(need("attention.layer_norm_rms_epsilon")),
        "tie_word_embeddings": all(tensor.name != "output.weight" for tensor in tensors),
        "attention_bias": False,
        "dtype": "bfloat16",
    }
    for name in ("bos", "eos", "pad"):
        key = f"tokenizer.ggml.{'padding' if name == 'pad' else name}_token_id"
        config[f"{name}_token_id"] = fields.get(key)
    extra = _gemma3_config if architecture == "gemma3" else _llama_config
    return config | extra(config, need, fields)


def _llama_config(config: dict[str, Any], need: Callable, fields: dict[str, Any]) -> dict[str, Any]:
    theta = _shortest(fields.get("llama.rope.freq_base", 10_000.0))
    return {
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "mlp_bias": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
    }


def _gemma3_config(config: dict[str, Any], need: Callable, fields: dict[str, Any]) -> dict[str, Any]:
    """What GGUF leaves out because it is the same in every Gemma 3 text model.

    Source: google/gemma-3-* `config.json`: five sliding-window layers, then one full layer; RoPE base 10,000 inside
    windows; attention scaled by the head dimension (the 27B model excepted, which is not small).
    """
    pattern = fields.get("gemma3.attention.sliding_window_pattern", 6)
    local_theta = fields.get("gemma3.rope.freq_base_swa", 10_000.0)
    layers = range(config["num_hidden_layers"])
    kinds = ["full_attention" if (i + 1) % pattern == 0 else "sliding_attention" for i in layers]
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": config["head_dim"],
        "sliding_window": need("attention.sliding_window"),
        "layer_types": kinds,
        "final_logit_softcapping": fields.get("gemma3.final_logit_softcapping"),
        "attn_logit_softcapping": fields.get("gemma3.attn_logit_softcapping"),
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": _shortest(local_theta)},
            "full_attention": {"rope_type": "default", "rope_theta": _shortest(need("rope.freq_base"))},
        },
    }


def _refuse_unknown_rope(where: str, architecture: str, fields: dict[str, Any], tensors: list) -> None:
    """A scaled RoPE that is overlooked gives a model that is wrong only at long range, so it is refused."""
    scaling = fields.get(f"{architecture}.rope.scaling.type", "none")
    if scaling != "none" or any(tensor.name.startswith("rope_freqs") for tensor in tensors):
        raise BaseModelError(
            f"{where}: scaled RoPE in a GGUF file is not supported (scaling type {scaling!r})",
            "Use the model's original safetensors files: hf:org/name or a local folder.",
        )


def _shortest(value: float) -> float:
    """The shortest decimal that is the same float32: 9.999999747e-06 was written as 1e-05."""
    return float(str(numpy.float32(value)))


def _transformers_name(where: str, architecture: str, name: str) -> str:
    known = _NAMES | _NORMS[architecture]
    *prefix, stem, kind = name.split(".")
    inside_layer = len(prefix) == 2 and prefix[0] == "blk"
    if kind != "weight" or stem not in known or bool(prefix) != inside_layer:
        raise BaseModelError(
            f"{where}: tensor {name!r} is not part of a {architecture} model as tinsmith knows it",
            "Use the model's original safetensors files: hf:org/name or a local folder.",
        )
    return f"model.layers.{prefix[1]}.{known[stem]}.weight" if inside_layer else f"{known[stem]}.weight"


def _write_weights(where: str, architecture: str, config: dict[str, Any], tensors: list, path: Path) -> None:
    from safetensors.torch import save_file
    from tqdm import tqdm

    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    weights = {}
    total = sum(int(tensor.n_elements) for tensor in tensors)
    with tqdm(total=total, desc="expanding to bf16", unit="weights", unit_scale=True) as progress:
        for tensor in tensors:
            name = _transformers_name(where, architecture, tensor.name)
            stem = tensor.name.split(".")[-2]
            # GGUF stores Gemma's norms as 1 + w; Transformers adds the 1 itself.
            offset = 1.0 if architecture == "gemma3" and stem.endswith("norm") else 0.0
            value = _expanded(tensor, offset, progress)
            if architecture == "llama" and stem in heads:
                value = _unpermuted(value, heads[stem])
            weights[name] = value.contiguous()
    save_file(weights, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors writes 0600, which a web server of another user could not read


def _expanded(tensor: Any, offset: float, progress: Any) -> Any:
    """One GGUF tensor minus `offset` as bf16, shape reversed to Transformers' order (GGUF puts the fastest first)."""
    import torch
    from gguf import dequantize

    shape = [int(size) for size in reversed(tensor.shape)]
    value = torch.empty(shape, dtype=torch.bfloat16)
    rows = value.view(-1, shape[-1])  # (rows, columns)
    data = tensor.data.reshape(len(rows), -1)
    step = max(1, _CHUNK_VALUES // shape[-1])
    for start in range(0, len(rows), step):
        part = dequantize(data[start : start + step], tensor.tensor_type).reshape(-1, shape[-1])
        # In float32: 1 + w rounded to bf16 first would lose most of w. The sum is also a copy torch may write to.
        rows[start : start + step] = torch.from_numpy(part - numpy.float32(offset))
        progress.update(part.size)
    return value


def _unpermuted(weight: Any, heads: int) -> Any:
    """Rows of a query or key projection in Transformers' order.

    GGUF interleaves the two halves of each head, as the original Llama code rotates neighbouring pairs;
    Transformers rotates the first half against the second. `weight` is (heads * head_dim, hidden).
    """
    rows, columns = weight.shape
    return weight.view(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)

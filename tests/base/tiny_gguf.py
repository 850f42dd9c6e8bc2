"""A tiny model folder written as GGUF, with llama.cpp's conventions: permuted query and key rows, norms as 1 + w."""

import json
from pathlib import Path

import gguf
import numpy
import torch
from safetensors.torch import load_file

SUFFIXES = {
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
NORMS = {
    "llama": {"post_attention_layernorm": "ffn_norm"},
    "gemma3": {
        "post_attention_layernorm": "post_attention_norm",
        "pre_feedforward_layernorm": "ffn_norm",
        "post_feedforward_layernorm": "post_ffw_norm",
    },
}


def write_tiny_gguf(
    folder: Path,
    path: Path,
    kind: str,
    *,
    license: str = "apache-2.0",
    quantization: str = "F32",
    chat_template: str = "",
    extra_tensor: str = "",
    rope_scaling: str = "",
    architecture: str = "",
    pre: str = "smollm",
) -> Path:
    """Write the model of `folder` (from `build_tiny`) to `path` and return it."""
    config = json.loads((folder / "config.json").read_text())
    arch = architecture or kind
    writer = gguf.GGUFWriter(path, arch)
    writer.add_file_type({"F32": 0, "Q8_0": 7, "Q4_1": 3}[quantization])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if kind == "gemma3":
        writer.add_rope_freq_base(config["rope_parameters"]["full_attention"]["rope_theta"])
        writer.add_sliding_window(config["sliding_window"])
        writer.add_uint32("gemma3.attention.sliding_window_pattern", 2)
    else:
        writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    if rope_scaling:
        writer.add_string(f"{arch}.rope.scaling.type", rope_scaling)
    if license:
        writer.add_license(license)
    if chat_template:
        writer.add_chat_template(chat_template)
    _add_tokenizer(writer, folder, config, pre)
    _add_tensors(writer, folder, config, kind, quantization)
    if extra_tensor:
        writer.add_tensor(extra_tensor, numpy.zeros(4, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: gguf.GGUFWriter, folder: Path, config: dict, pre: str) -> None:
    tree = json.loads((folder / "tokenizer.json").read_text())
    tokens = [token for token, _ in sorted(tree["model"]["vocab"].items(), key=lambda item: item[1])]
    special = {added["content"] for added in tree["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in tree["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])


def _add_tensors(writer: gguf.GGUFWriter, folder: Path, config: dict, kind: str, quantization: str) -> None:
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for name, weight in load_file(folder / "model.safetensors").items():
        short = _gguf_name(name, kind)
        stem = short.split(".")[-2]
        value = weight.to(torch.float32).numpy()
        if kind == "llama" and stem in heads:
            value = _interleaved(value, heads[stem])
        if kind == "gemma3" and stem.endswith("norm"):
            value = value + numpy.float32(1)
        packed = gguf.GGMLQuantizationType[quantization]
        if value.ndim == 2 and quantization != "F32":
            writer.add_tensor(short, gguf.quantize(value, packed), raw_dtype=packed)
        else:
            writer.add_tensor(short, value)


def _gguf_name(name: str, kind: str) -> str:
    if not name.startswith("model.layers."):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{(SUFFIXES | NORMS[kind])[rest.removesuffix('.weight')]}.weight"


def _interleaved(value: numpy.ndarray, heads: int) -> numpy.ndarray:
    """Row 2i of a head is its i-th, row 2i + 1 the i-th of its second half; written as a loop on purpose."""
    head_dim = len(value) // heads
    interleaved = numpy.empty_like(value)
    for head in range(heads):
        for index in range(head_dim // 2):
            start = head * head_dim
            interleaved[start + 2 * index] = value[start + index]
            interleaved[start + 2 * index + 1] = value[start + head_dim // 2 + index]
    return interleaved

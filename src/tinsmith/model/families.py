"""Everything that differs between model families: chat format, end-of-turn token, and decoder architecture.

A family's `segments` is the only source of training text, and marks its supervised parts. Its `chat_template` is the
same format in Jinja; it ships with the package, so that a browser renders prompts as in training. `tokens.py` checks
for every conversation that both give the same text.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tinsmith.core.errors import BaseModelError
from tinsmith.model.conversations import Message

Segments = list[tuple[str, bool]]
"""Pieces of rendered text in order. The flag says whether a piece's tokens are supervised."""


@dataclass(frozen=True, slots=True)
class Family:
    """One chat format."""

    name: str
    segments: Callable[[Sequence[Message], str], Segments]
    """`(messages, bos_token) -> Segments`; their concatenation is the training text."""
    chat_template: str
    """The same format for tokenizers in Python and in the browser."""
    end_of_turn: str
    """Token that ends an assistant turn; supervised, and an end token for generation."""
    also_ends: tuple[str, ...]
    """Other tokens that end generation."""
    has_bos: bool
    """Whether rendered text starts with the beginning-of-sequence token."""
    title: str
    """Display name, as on the card."""


def _segments_chatml(default_system: str, messages: Sequence[Message], bos_token: str) -> Segments:
    pieces: Segments = []
    if messages[0].role != "system":
        pieces.append((f"<|im_start|>system\n{default_system}<|im_end|>\n", False))
    for message in messages:
        if message.role == "assistant":
            pieces += [
                ("<|im_start|>assistant\n", False),
                (message.content + "<|im_end|>", True),
                ("\n", False),
            ]
        else:
            pieces.append((f"<|im_start|>{message.role}\n{message.content}<|im_end|>\n", False))
    return pieces


def _chatml_template(default_system: str) -> str:
    return (
        "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\n" + default_system + "<|im_end|>\\n' }}"
        "{% endif %}"
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )


_SMOLLM2_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
_QWEN2_5_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."


def _segments_gemma3(messages: Sequence[Message], bos_token: str) -> Segments:
    pieces: Segments = [(bos_token, False)]
    prefix = ""
    if messages[0].role == "system":
        # Gemma has no system turn: its format puts the system text in front of the first user turn.
        prefix = messages[0].content + "\n\n"
        messages = messages[1:]
    for index, message in enumerate(messages):
        content = message.content.strip()
        if message.role == "assistant":
            pieces += [("<start_of_turn>model\n", False), (content + "<end_of_turn>", True), ("\n", False)]
        else:
            pieces.append((f"<start_of_turn>user\n{prefix if index == 0 else ''}{content}<end_of_turn>\n", False))
    return pieces


_GEMMA3_TEMPLATE = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}"
    "{% set prefix = messages[0]['content'] + '\\n\\n' %}{% set turns = messages[1:] %}"
    "{% else %}{% set prefix = '' %}{% set turns = messages %}{% endif %}"
    "{% for message in turns %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' }}"
    "{{ (prefix if loop.first else '') + (message['content'] | trim) + '<end_of_turn>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)

# Llama 3.2 prints today's date into every system turn. Prompts must not change between training and use, so the date
# is fixed to the one in the model's own template.
_LLAMA3_DATES = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"


def _segments_llama3(messages: Sequence[Message], bos_token: str) -> Segments:
    system = ""
    if messages[0].role == "system":
        system = messages[0].content.strip()
        messages = messages[1:]
    header = "<|start_header_id|>{}<|end_header_id|>\n\n"
    pieces: Segments = [(bos_token + header.format("system") + _LLAMA3_DATES + system + "<|eot_id|>", False)]
    for message in messages:
        content = message.content.strip() + "<|eot_id|>"
        pieces += [(header.format(message.role), False), (content, message.role == "assistant")]
    return pieces


_LLAMA3_TEMPLATE = (
    "{% if messages[0]['role'] == 'system' %}"
    "{% set system = messages[0]['content'] | trim %}{% set turns = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
    "{{ bos_token + '<|start_header_id|>system<|end_header_id|>\\n\\n"
    + _LLAMA3_DATES.replace("\n", "\\n")
    + "' + system + '<|eot_id|>' }}"
    "{% for message in turns %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + (message['content'] | trim) "
    "+ '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)


def _segments_qwen3(messages: Sequence[Message], bos_token: str) -> Segments:
    last_user = max(index for index, message in enumerate(messages) if message.role == "user")
    pieces: Segments = []
    for index, message in enumerate(messages):
        if message.role != "assistant":
            pieces.append((f"<|im_start|>{message.role}\n{message.content}<|im_end|>\n", False))
            continue
        # Without thinking, Qwen3 puts an empty block of thoughts in front of its answer; its format drops the block
        # from earlier turns.
        is_last = index > last_user
        thoughts = _QWEN3_NO_THOUGHTS if is_last else ""
        content = message.content.lstrip("\n") if is_last else message.content
        pieces += [("<|im_start|>assistant\n" + thoughts, False), (content + "<|im_end|>", True), ("\n", False)]
    return pieces


_QWEN3_NO_THOUGHTS = "<think>\n\n</think>\n\n"

_QWEN3_TEMPLATE = (
    "{% set state = namespace(last_user=0) %}"
    "{% for message in messages %}{% if message['role'] == 'user' %}{% set state.last_user = loop.index0 %}{% endif %}"
    "{% endfor %}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' and loop.index0 > state.last_user %}"
    "{{ '" + _QWEN3_NO_THOUGHTS.replace("\n", "\\n") + "' + message['content'].lstrip('\n') }}"
    "{% else %}{{ message['content'] }}{% endif %}"
    "{{ '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n"
    + _QWEN3_NO_THOUGHTS.replace("\n", "\\n")
    + "' }}{% endif %}"
)

SMOLLM2 = Family(
    "smollm2",
    partial(_segments_chatml, _SMOLLM2_SYSTEM),
    _chatml_template(_SMOLLM2_SYSTEM),
    "<|im_end|>",
    ("<|endoftext|>",),
    has_bos=False,
    title="SmolLM2",
)
QWEN2_5 = Family(
    "qwen2.5",
    partial(_segments_chatml, _QWEN2_5_SYSTEM),
    _chatml_template(_QWEN2_5_SYSTEM),
    "<|im_end|>",
    ("<|endoftext|>",),
    has_bos=False,
    title="Qwen2.5",
)
QWEN3 = Family(
    "qwen3", _segments_qwen3, _QWEN3_TEMPLATE, "<|im_end|>", ("<|endoftext|>",), has_bos=False, title="Qwen3"
)
GEMMA3 = Family(
    "gemma3", _segments_gemma3, _GEMMA3_TEMPLATE, "<end_of_turn>", ("<eos>",), has_bos=True, title="Gemma 3"
)
LLAMA3 = Family(
    "llama3", _segments_llama3, _LLAMA3_TEMPLATE, "<|eot_id|>", ("<|end_of_text|>",), has_bos=True, title="Llama 3"
)


def family_of(model_type: str, vocabulary: dict[str, int]) -> Family:
    """The family of a model with this `model_type` and `vocabulary`.

    Raises:
        BaseModelError: the architecture or chat format is not supported.
    """
    if model_type == "gemma3_text" and "<start_of_turn>" in vocabulary:
        return GEMMA3
    if model_type == "llama" and "<|im_start|>" in vocabulary:
        return SMOLLM2
    if model_type == "llama" and "<|start_header_id|>" in vocabulary:
        return LLAMA3
    if model_type == "qwen2" and "<|im_start|>" in vocabulary:
        return QWEN2_5
    if model_type == "qwen3" and "<|im_start|>" in vocabulary:
        return QWEN3
    raise BaseModelError(
        f"unsupported base model: model_type {model_type!r} with none of the chat formats tinsmith knows",
        "Supported: SmolLM2 and Llama 3 chat models (model_type 'llama'), Gemma 3 text models ('gemma3_text'), "
        "Qwen2.5 ('qwen2') and Qwen3 ('qwen3').",
    )


@dataclass(frozen=True, slots=True)
class Decoder:
    """Sizes and options of a decoder-only model, for the ONNX graph and for packs."""

    layers: int
    hidden_size: int
    intermediate_size: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    norm_epsilon: float
    norm_offset: float
    """Added to stored norm weights: 1 for Gemma, whose norms scale by (1 + w)."""
    has_qk_norm: bool
    """Whether each head of queries and keys is normed before RoPE (Gemma, Qwen3)."""
    has_qkv_bias: bool
    """Whether the projections to queries, keys and values add a bias (Qwen2.5)."""
    has_post_norms: bool
    """Whether attention and MLP outputs are normed before the residual is added (Gemma)."""
    activation: str
    """`silu` or `gelu_tanh`."""
    attention_scale: float
    embedding_scale: float
    windows: tuple[int, ...]
    """Per layer: number of latest tokens a token attends to, itself included; 0 means all."""
    rope: tuple[dict[str, Any], ...]
    """Per layer: the RoPE parameters as Transformers names them (`rope_type`, `rope_theta`, ...)."""
    is_tied: bool
    """Whether embedding and head share weights."""


ARCHITECTURES = ("llama", "gemma3_text", "qwen2", "qwen3")
_ROPE_TYPES = {"default", "linear", "llama3", "yarn"}
"""RoPE types whose frequencies do not depend on the text's length, so that a graph can store them as constants."""


def decoder_of(config: Any) -> Decoder:
    """The `Decoder` of a Transformers configuration.

    Raises:
        BaseModelError: the graph builder does not know the architecture or one of its options.
    """
    if config.model_type not in ARCHITECTURES:
        raise BaseModelError(
            f"unsupported architecture {config.model_type!r}", f"Supported: {', '.join(map(repr, ARCHITECTURES))}."
        )
    for option, supported in {
        "attention_bias": False,
        "mlp_bias": False,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "use_bidirectional_attention": False,
        "use_sliding_window": False,
    }.items():
        value = getattr(config, option, supported)
        if value != supported and not (value is None or value is False):
            raise BaseModelError(
                f"unsupported option in the base model's config.json: {option} = {value!r}",
                "Choose a model without it.",
            )
    is_gemma = config.model_type == "gemma3_text"
    rope_types = {rope["rope_type"] for rope in _rope_by_kind(config) if "rope_type" in rope}
    if unknown := rope_types - _ROPE_TYPES:
        raise BaseModelError(
            f"unsupported option in the base model's config.json: rope_type = {', '.join(sorted(unknown))}",
            "Its frequencies change with the length of the text; choose a model without it.",
        )
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    layer_types = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    rope = tuple(config.rope_parameters[kind] if is_gemma else config.rope_parameters for kind in layer_types)
    return Decoder(
        layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=head_dim,
        vocab_size=config.vocab_size,
        norm_epsilon=config.rms_norm_eps,
        norm_offset=1.0 if is_gemma else 0.0,
        has_qk_norm=is_gemma or config.model_type == "qwen3",
        has_qkv_bias=config.model_type == "qwen2",
        has_post_norms=is_gemma,
        activation="gelu_tanh" if is_gemma else "silu",
        attention_scale=(config.query_pre_attn_scalar if is_gemma else head_dim) ** -0.5,
        embedding_scale=math.sqrt(config.hidden_size) if is_gemma else 1.0,
        windows=tuple(config.sliding_window if kind == "sliding_attention" else 0 for kind in layer_types),
        rope=rope,
        is_tied=bool(config.tie_word_embeddings),
    )


def _rope_by_kind(config: Any) -> list[dict[str, Any]]:
    """The RoPE parameters of each layer type, or of all layers."""
    parameters = config.rope_parameters
    return list(parameters.values()) if config.model_type == "gemma3_text" else [parameters]

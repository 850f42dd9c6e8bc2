"""Each family's training text is, byte for byte, what the model's own chat format renders."""

import pytest
from transformers import AutoConfig

from tinsmith.core.errors import BaseModelError
from tinsmith.model.conversations import Message
from tinsmith.model.families import GEMMA3, LLAMA3, QWEN2_5, QWEN3, SMOLLM2, decoder_of, family_of
from tinsmith.model.tokens import load_tokenizer
from tiny import FAMILIES, build_tiny, tiny_conversations

TURNS = [("user", "Hi"), ("assistant", "Hello"), ("user", "Tea?"), ("assistant", "Yes")]
SMOL, QWEN = (
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
    ("You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
)
DATES = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"


def chatml(system, last_prefix=""):
    opening = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    return (
        f"{opening}<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
        f"<|im_start|>user\nTea?<|im_end|>\n<|im_start|>assistant\n{last_prefix}Yes<|im_end|>\n"
    )


def llama3(system):
    return (
        f"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{DATES}{system}<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nTea?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nYes<|eot_id|>"
    )


def gemma3(prefix):
    return (
        f"<bos><start_of_turn>user\n{prefix}Hi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n"
        "<start_of_turn>user\nTea?<end_of_turn>\n<start_of_turn>model\nYes<end_of_turn>\n"
    )


NO_THOUGHTS = "<think>\n\n</think>\n\n"


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    return {kind: load_tokenizer(build_tiny(kind, tmp_path_factory.mktemp(kind))) for kind in FAMILIES}


# Taken from what the models' published formats print for these turns.
@pytest.mark.parametrize(
    ("kind", "with_system", "without"),
    [
        ("llama", chatml("Sell tea."), chatml(SMOL)),
        ("qwen2", chatml("Sell tea."), chatml(QWEN)),
        ("qwen3", chatml("Sell tea.", NO_THOUGHTS), chatml("", NO_THOUGHTS)),
        ("llama3", llama3("Sell tea."), llama3("")),
        ("gemma3", gemma3("Sell tea.\n\n"), gemma3("")),
    ],
)
def test_text_is_the_models_own_format(kind, with_system, without, tokenizers):
    turns = [Message(*turn) for turn in TURNS]
    assert tokenizers[kind].text([Message("system", "Sell tea."), *turns]) == with_system
    assert tokenizers[kind].text(turns) == without


@pytest.mark.parametrize("kind", FAMILIES)
def test_shipped_template_mask_and_prompt_agree_with_the_text(kind, tokenizers):
    tokenizer = tokenizers[kind]
    for conversation in (*tiny_conversations(5), *tiny_conversations(5, system="")):
        tokens = tokenizer.encode(conversation)  # refuses a template that renders other text
        prompt = tokenizer.encode_prompt(conversation.messages[:-1])
        assert list(tokens.ids[: len(prompt)]) == prompt
        supervised = [token for token, on in zip(tokens.ids, tokens.mask, strict=True) if on]
        answers = [m.content + tokenizer.family.end_of_turn for m in conversation.messages if m.role == "assistant"]
        assert tokenizer.tokenizer.decode(supervised) == "".join(answers)
        assert tokens.ids[-1 if kind == "llama3" else -2] == tokenizer.end_ids[0]


def test_line_breaks_before_an_answer_are_treated_as_qwen3_treats_them(tokenizers):
    turns = [Message("user", "Hi"), Message("assistant", "\n\nHello")]
    assert tokenizers["qwen3"].text(turns).endswith(NO_THOUGHTS + "Hello<|im_end|>\n")


@pytest.mark.parametrize(
    ("model_type", "token", "family"),
    [
        ("llama", "<|im_start|>", SMOLLM2),
        ("llama", "<|start_header_id|>", LLAMA3),
        ("qwen2", "<|im_start|>", QWEN2_5),
        ("qwen3", "<|im_start|>", QWEN3),
        ("gemma3_text", "<start_of_turn>", GEMMA3),
    ],
)
def test_family_follows_architecture_and_vocabulary(model_type, token, family):
    assert family_of(model_type, {token: 1}) is family


def test_an_unknown_family_is_refused_with_the_known_ones():
    with pytest.raises(BaseModelError, match="'mamba'") as caught:
        family_of("mamba", {"<|im_start|>": 1})
    assert "qwen3" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "details"),
    [
        ("llama", {"has_qk_norm": False, "has_qkv_bias": False, "is_tied": True}),
        ("qwen2", {"has_qk_norm": False, "has_qkv_bias": True, "is_tied": False}),
        ("qwen3", {"has_qk_norm": True, "has_qkv_bias": False, "has_post_norms": False, "norm_offset": 0.0}),
        ("gemma3", {"has_qk_norm": True, "has_post_norms": True, "norm_offset": 1.0, "windows": (16, 0)}),
    ],
)
def test_decoder_details(kind, details, tmp_path):
    decoder = decoder_of(AutoConfig.from_pretrained(build_tiny(kind, tmp_path)))
    assert {name: getattr(decoder, name) for name in details} == details


def test_an_option_nothing_here_computes_is_refused(tmp_path):
    config = AutoConfig.from_pretrained(build_tiny("qwen2", tmp_path))
    config.use_sliding_window = True
    with pytest.raises(BaseModelError, match="use_sliding_window = True"):
        decoder_of(config)

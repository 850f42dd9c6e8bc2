"""Tiny but real models built in-process: real architectures and tokenizers with two layers, no download.

`build_tiny("llama" | "gemma3" | "qwen2" | "qwen3" | "llama3", folder)` writes a complete Transformers folder with
random weights, a byte-level BPE trained on a paragraph, and the family's special tokens. Weights are scaled up so that
logits differ clearly.
"""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen2Config, Qwen3Config

from tinsmith.core.run_dir import write_json, write_text
from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.families import GEMMA3, LLAMA3, QWEN2_5, QWEN3, SMOLLM2

PARAGRAPH = """A pot of green tea takes two minutes at 80 degrees. Black tea takes four minutes at 95 degrees and costs
Rp 25k a cup. What does the latte cost? The latte costs Rp 32k; oat milk adds Rp 5k. Where do you ship? We ship to
Jakarta, Bandung and Surabaya within 3 days. Can I return an opened bag? No, but we replace a stale one for free."""

SPECIAL_TOKENS = {
    "llama": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "qwen2": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "qwen3": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"],
    "llama3": ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "gemma3": ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
}
FAMILIES = {"llama": SMOLLM2, "gemma3": GEMMA3, "qwen2": QWEN2_5, "qwen3": QWEN3, "llama3": LLAMA3}
ENDS = {
    "llama": ("<|im_start|>", "<|im_end|>", "<|im_end|>"),
    "gemma3": ("<bos>", "<eos>", "<pad>"),
    "qwen2": ("<|endoftext|>", "<|im_end|>", "<|endoftext|>"),
    "qwen3": ("<|endoftext|>", "<|im_end|>", "<|endoftext|>"),
    "llama3": ("<|begin_of_text|>", "<|eot_id|>", "<|eot_id|>"),
}
"""Beginning of sequence, end of sequence and padding."""


def build_tiny(kind: str, folder: Path, seed: int = 0, window: int = 16, **sizes: int) -> Path:
    """Write a tiny model folder and return it; `window` is Gemma's sliding window, `sizes` replace those below."""
    folder.mkdir(parents=True, exist_ok=True)
    names = SPECIAL_TOKENS[kind]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384, special_tokens=names, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([PARAGRAPH], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    ends = ENDS[kind]
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": ends[0],
            "eos_token": ends[1],
            "pad_token": ends[2],
            "model_max_length": 2048,
            "chat_template": FAMILIES[kind].chat_template,
        },
    )
    write_text(folder / "chat_template.jinja", FAMILIES[kind].chat_template)
    write_text(folder / "LICENSE", "Random weights, no rights reserved.\n")
    shared = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.token_to_id(ends[0]),
        "eos_token_id": tokenizer.token_to_id(ends[1]),
        "pad_token_id": tokenizer.token_to_id(ends[2]),
    } | sizes
    if kind == "llama":
        config = LlamaConfig(**shared)
    elif kind == "llama3":
        rope = {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
        config = LlamaConfig(**shared, rope_parameters=rope)
    elif kind == "qwen2":
        config = Qwen2Config(**{**shared, "tie_word_embeddings": False})
    elif kind == "qwen3":
        config = Qwen3Config(**shared)
    else:
        config = Gemma3TextConfig(
            **shared,
            sliding_window=window,
            query_pre_attn_scalar=32,
            layer_types=["sliding_attention", "full_attention"],
        )
    torch.manual_seed(seed)
    spread = 0.12 * (64 / config.hidden_size) ** 0.5
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(
                torch.randn_like(weight) * (0.1 if "norm" in name else spread) + ("norm" in name and kind != "gemma3")
            )
    model.to(torch.bfloat16).save_pretrained(folder)
    generation = json.loads((folder / "generation_config.json").read_text())
    write_json(folder / "generation_config.json", generation)
    return folder


def tiny_conversations(count: int = 12, system: str = "You sell tea.") -> list[Conversation]:
    """Short question-answer conversations in three categories; every fourth has two turns."""
    drinks = ("latte", "green tea", "black tea", "oat milk")
    found = []
    for index in range(count):
        drink = drinks[index % len(drinks)]
        messages = [Message("system", system)] if system else []
        messages += [
            Message("user", f"What does the {drink} cost on day {index}?"),
            Message("assistant", f"The {drink} costs Rp {20 + index}k a cup."),
        ]
        if index % 4 == 3:
            messages += [Message("user", "Do you ship to Bandung?"), Message("assistant", "Yes, within 3 days.")]
        found.append(
            Conversation(
                f"c{index}",
                ("prices", "tea", "milk")[index % 3],
                tuple(messages),
                {"file": "tea.jsonl", "position": f"line {index + 1}"},
            )
        )
    return found

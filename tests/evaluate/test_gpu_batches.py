"""Likelihoods and answers are the same in the large batches of a GPU, which a processor stands in for."""

from types import SimpleNamespace

import pytest
import torch

from tinsmith.evaluate import nll
from tinsmith.evaluate.generate import encode_prompts, first_turn
from tinsmith.evaluate.nll import batched_nlls, load_torch, torch_nlls, torch_scorer
from tinsmith.model import generation
from tinsmith.model.generation import torch_answers
from tinsmith.model.tokens import load_tokenizer
from tiny import build_tiny, tiny_conversations


@pytest.fixture(params=["llama", pytest.param("gemma3", marks=pytest.mark.long)])
def loaded(request, tmp_path):
    folder = build_tiny(request.param, tmp_path / "model")
    return load_torch(folder), load_tokenizer(folder)


def on_gpu(model):
    """What the choice of a batch sees of a model on a GPU."""
    return SimpleNamespace(device=torch.device("cuda"), config=model.config, dtype=model.dtype)


def test_likelihoods_do_not_depend_on_the_batch(loaded):
    model, tokenizer = loaded
    tokens = tokenizer.encode_all(tiny_conversations(9))
    expected = [torch_scorer(model)(one) for one in tokens]
    assert [*torch_nlls(model, tokens)] == expected  # to the last bit on a processor
    for max_tokens in (99_999, 200):
        assert batched_nlls(model, tokens, max_tokens) == pytest.approx(expected, rel=1e-5)


def test_a_gpu_scores_as_many_tokens_at_once_as_fit(loaded, monkeypatch):
    model, _ = loaded
    limits = []
    monkeypatch.setattr(nll, "batched_nlls", lambda model, tokens, max_tokens: limits.append(max_tokens) or [])
    for memory in (80e9, 1e6):
        monkeypatch.setattr("tinsmith.model.memory.device_memory_bytes", lambda device, memory=memory: int(memory))
        assert [*torch_nlls(on_gpu(model), [])] == []
    assert limits == [16384, 256]


def test_answers_do_not_depend_on_the_batch(loaded, monkeypatch):
    model, tokenizer = loaded
    conversations = [*tiny_conversations(4), *tiny_conversations(4, system="")]
    prompts = encode_prompts(tokenizer, [first_turn(conversation) for conversation in conversations])
    assert len({*map(len, prompts)}) > 1  # so that a batch needs padding
    answers = torch_answers(model, tokenizer, prompts, 8, "x")
    sizes = []
    for memory in (80e9, 1e7):
        monkeypatch.setattr("tinsmith.model.memory.device_memory_bytes", lambda device, memory=memory: int(memory))
        sizes.append(generation._batch_size(on_gpu(model), 100))
        monkeypatch.setattr(generation, "_batch_size", lambda *_: sizes[-1])
        assert torch_answers(model, tokenizer, prompts, 8, "x") == answers
        monkeypatch.undo()
    assert sizes[0] == 256 and 1 <= sizes[1] < len(prompts)

"""Likelihoods of both runtimes against full logits and a plain log-softmax."""

import math

import numpy as np
import pytest
import torch

from tinsmith.core.errors import ArtifactError
from tinsmith.evaluate.nll import (
    Score,
    content_bytes,
    load_torch,
    onnx_scorer,
    score_conversations,
    torch_scorer,
    write_scores,
)
from tinsmith.model.conversations import Conversation, Message, read_jsonl
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.package_format import FLOAT32
from tinsmith.model.tokens import Tokens, load_tokenizer
from tiny import tiny_conversations


@pytest.fixture(scope="module")
def tokenizer(line):
    return load_tokenizer(line.base / "model")


def summed(logits, tokens):
    """The definition, from logits of all positions: float64 log-softmax, one target at a time."""
    logs = torch.log_softmax(torch.as_tensor(logits).double(), dim=-1)
    return -sum(logs[t, tokens.ids[t + 1]].item() for t in range(len(tokens.ids) - 1) if tokens.mask[t + 1])


def test_torch_equals_full_logits(line, tokenizer):
    model = load_torch(line.base / "model")
    assert model.dtype == torch.float32
    for tokens in tokenizer.encode_all(tiny_conversations(5)):
        with torch.inference_mode():
            expected = summed(model(torch.tensor([tokens.ids])).logits[0], tokens)
        assert torch_scorer(model)(tokens) == pytest.approx(expected, rel=1e-6)
        # Seven rows of logits at a time change nothing.
        small = torch_scorer(model, logits_bytes=4 * model.config.vocab_size * 7)
        assert small(tokens) == pytest.approx(expected, rel=1e-6)


def test_onnx_equals_full_logits_in_one_piece_and_in_slices(line, tokenizer):
    decoder = load_onnx(line.package / FLOAT32.file, threads=1)
    for tokens in tokenizer.encode_all(tiny_conversations(5)):
        expected = summed(decoder.start().feed(tokens.ids, keep=len(tokens.ids)), tokens)
        assert onnx_scorer(decoder)(tokens) == pytest.approx(expected, rel=1e-5)
        sliced = onnx_scorer(decoder, logits_bytes=4 * decoder.vocab_size * 9)
        assert sliced(tokens) == pytest.approx(expected, rel=1e-4)


def test_int4_is_the_tuned_model_and_not_the_base(line, tokenizer):
    """Rounding moves all losses alike, and little; another model's weights move each another way."""
    score = onnx_scorer(load_onnx(line.package / FLOAT32.file, threads=1))
    tokens = tokenizer.encode_all(read_jsonl(line.data / "train.jsonl"))
    int4 = np.array([score(item) for item in tokens])
    tuned, base = (
        np.array([torch_scorer(load_torch(folder / "model"))(item) for item in tokens])
        for folder in (line.merge, line.base)
    )
    assert np.std(int4 - tuned) < 0.5 * np.std(int4 - base)
    assert np.abs(int4 - tuned).mean() < np.abs(int4 - base).mean()


def test_uniform_logits_cost_log_vocabulary(line, tokenizer):
    model = load_torch(line.base / "model")
    model.get_output_embeddings().weight = torch.nn.Parameter(torch.zeros_like(model.get_output_embeddings().weight))
    tokens = tokenizer.encode(tiny_conversations(1)[0])
    expected = tokens.supervised * math.log(model.config.vocab_size)
    assert torch_scorer(model)(tokens) == pytest.approx(expected, rel=1e-6)


def test_raw_sums_count_content_and_end_tokens(line, tokenizer):
    conversation = Conversation(
        "c",
        "x",
        (Message("user", "Hi"), Message("assistant", "caf\u00e9"), Message("user", "?"), Message("assistant", "ok")),
    )
    assert content_bytes(conversation, tokenizer) == 5 + 2
    tokens = tokenizer.encode(conversation)
    (score,) = score_conversations([3.0], [conversation], [tokens], tokenizer, "x")
    assert (score.id, score.category) == ("c", "x")
    content = [tokenizer.tokenizer(text)["input_ids"] for text in ("caf\u00e9", "ok")]
    assert score.tokens == sum(map(len, content)) + 2
    assert (score.nll, score.bytes) == (3.0, 7)


def test_broken_model_is_named(tokenizer):
    conversation = tiny_conversations(1)[0]
    tokens = Tokens("c0", (1, 2), (False, True))
    with pytest.raises(ArtifactError, match=r"^int4 on test: .* conversation c0 is nan$") as caught:
        score_conversations([math.nan], [conversation], [tokens], tokenizer, "int4 on test")
    assert caught.value.hint == "The model's weights are broken; rerun the stage that wrote them with --force."


def test_scores_are_lines_that_people_can_read(tmp_path):
    write_scores(tmp_path / "test.int4.jsonl", [Score("café", "tea", 1.5, 2, 5), Score("b", "", 0.25, 1, 1)])
    assert (tmp_path / "test.int4.jsonl").read_text(encoding="utf-8") == (
        '{"id": "café", "category": "tea", "nll": 1.5, "tokens": 2, "bytes": 5}\n'
        '{"id": "b", "category": "", "nll": 0.25, "tokens": 1, "bytes": 1}\n'
    )


def test_missing_and_broken_packages(line, tmp_path):
    with pytest.raises(ArtifactError, match=r"model_q4\.onnx: missing"):
        load_onnx(tmp_path / FLOAT32.file, threads=1)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model_q4.onnx").write_bytes(b"not a graph")
    with pytest.raises(ArtifactError, match="ONNX Runtime cannot load it"):
        load_onnx(tmp_path / FLOAT32.file, threads=1)

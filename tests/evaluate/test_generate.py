"""Greedy decoding against the plainest loop there is: run everything again for every token, take the argmax."""

import numpy as np
import pytest
import torch

from tinsmith.evaluate.generate import (
    Question,
    encode_prompts,
    first_turn,
    onnx_answers,
)
from tinsmith.evaluate.nll import load_torch
from tinsmith.model.conversations import Conversation, Message
from tinsmith.model.generation import decoded_answer, torch_answers
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.package_format import FLOAT32
from tinsmith.model.tokens import load_tokenizer
from tiny import tiny_conversations

NEW = 20


@pytest.fixture(scope="module")
def tokenizer(line):
    return load_tokenizer(line.base / "model")


@pytest.fixture(scope="module")
def prompts(tokenizer):
    conversations = [*tiny_conversations(3), *tiny_conversations(4, system="")]
    encoded = encode_prompts(tokenizer, [first_turn(conversation) for conversation in conversations])
    assert len({len(prompt) for prompt in encoded}) > 1  # so that a batch needs padding
    return encoded


def plain(next_logits, prompt, ends):
    new = []
    while len(new) < NEW and not (new and new[-1] in ends):
        new.append(int(np.argmax(next_logits([*prompt, *new]))))
    return new


def test_torch_batch_equals_one_by_one_without_cache(line, tokenizer, prompts):
    model = load_torch(line.base / "model")

    @torch.inference_mode()
    def next_logits(ids):
        return model(torch.tensor([ids]), use_cache=False).logits[0, -1].numpy()

    expected = [decoded_answer(tokenizer, plain(next_logits, prompt, tokenizer.end_ids)) for prompt in prompts]
    assert torch_answers(model, tokenizer, prompts, NEW, "x") == expected
    assert len({answer.text for answer in expected}) > 1


def test_onnx_equals_loop_without_cache(line, tokenizer, prompts):
    decoder = load_onnx(line.package / FLOAT32.file, threads=1)
    expected = [
        decoded_answer(tokenizer, plain(lambda ids: decoder.start().feed(ids, keep=1)[0], prompt, tokenizer.end_ids))
        for prompt in prompts
    ]
    assert onnx_answers(decoder, tokenizer, prompts, NEW, "x") == expected


def test_a_model_that_ends_at_once_is_stopped(line, tokenizer, prompts, monkeypatch):
    """The first token the model would say is declared an end token."""
    model = load_torch(line.base / "model")
    with torch.inference_mode():
        first = model(torch.tensor([prompts[0]])).logits[0, -1].argmax().item()
    monkeypatch.setattr(type(tokenizer), "end_ids", property(lambda self: (first,)))
    (answer,) = torch_answers(model, tokenizer, prompts[:1], NEW, "x")
    assert (answer.stopped, answer.tokens) == (True, 1)


def test_answer_keeps_the_first_end_token_and_drops_padding(tokenizer):
    end = tokenizer.end_ids[0]
    word = tokenizer.tokenizer("tea", add_special_tokens=False)["input_ids"]
    stopped = decoded_answer(tokenizer, [*word, end, end, end])
    assert (stopped.text, stopped.tokens, stopped.stopped) == ("tea", len(word) + 1, True)
    cut = decoded_answer(tokenizer, word)
    assert (cut.text, cut.tokens, cut.stopped) == ("tea", len(word), False)


def test_first_turn_of_many():
    turns = (Message("user", "q1"), Message("assistant", "a1"), Message("user", "q2"), Message("assistant", "a2"))
    assert first_turn(Conversation("i", "c", turns)) == Question("i", "c", "q1", "", "a1", conversation="i")
    question = first_turn(Conversation("i", "c", (Message("system", "s"), *turns)))
    assert question == Question("i", "c", "q1", "s", "a1", conversation="i")
    assert [message.role for message in question.messages] == ["system", "user"]

"""The gates see a single different token, and Python's greedy loop is the model's own."""

import numpy as np

from tinsmith.bench.gates import (
    GreedyRun,
    first_prompt,
    greedy_comparison,
    onnxruntime_greedy,
    token_differences,
)
from tinsmith.onnx_decoder import load_onnx
from tinsmith.tokens import load_tokenizer
from tiny import tiny_conversations


def test_token_differences_names_the_conversation_and_the_position(tiny_llama):
    tokenizer = load_tokenizer(tiny_llama)
    conversations = tiny_conversations(3)
    browser = [list(tokens.ids) for tokens in tokenizer.encode_all(conversations)]
    assert token_differences(conversations, tokenizer, browser) == []
    browser[1][7] += 1
    browser[2].append(0)
    first, second = token_differences(conversations, tokenizer, browser)
    assert (first["conversation"], first["position"]) == ("c1", 7)
    assert (second["conversation"], second["position"]) == ("c2", len(browser[2]) - 1)


def test_a_different_answer_keeps_the_gap_that_decided_it():
    python = GreedyRun((5, 6, 7), (1.0, 0.001, 2.0))
    assert greedy_comparison("c", python, [5, 6, 7])["equal"]
    different = greedy_comparison("c", python, [5, 9, 7])
    assert (different["equal"], different["first_difference"], different["top2_gap_there"]) == (False, 1, 0.001)
    assert different["differs"] and not greedy_comparison("c", python, [5, 9, 7], tie=0.001)["differs"]
    assert greedy_comparison("c", python, [5, 6, 7, 8], tie=100.0)["differs"]  # one that goes on after the end is no tie
    assert greedy_comparison("c", python, [5, 6])["first_difference"] == 2
    assert greedy_comparison("c", python, [5, 6, 7, 8])["top2_gap_there"] is None


def test_the_prompt_ends_with_the_first_question():
    two_turns = tiny_conversations(4)[3]
    assert [m.role for m in first_prompt(two_turns)] == ["system", "user"]


def test_greedy_loop_is_the_full_forward_pass_of_the_quantized_model(package_of):
    """Independent path: the packaged graph run on the whole text for every token, without a cache."""
    for kind in ("llama", "gemma3"):
        package = package_of(kind)
        tokenizer, session = load_tokenizer(package), load_onnx(package / "onnx/model_q4.onnx")
        prompt = tokenizer.encode_prompt(first_prompt(tiny_conversations(1)[0]))
        run = onnxruntime_greedy(session, prompt, (), 8)
        ids = list(prompt)
        for chosen, gap in zip(run.ids, run.top2_gaps, strict=True):
            logits = session.start().feed(ids, keep=0)[-1]
            top = np.sort(logits)
            assert chosen == logits.argmax() and abs(gap - (top[-1] - top[-2])) < 1e-3
            ids.append(chosen)


def test_greedy_stops_with_the_end_token(package_of):
    package = package_of("llama")
    tokenizer, session = load_tokenizer(package), load_onnx(package / "onnx/model_q4.onnx")
    prompt = tokenizer.encode_prompt(first_prompt(tiny_conversations(1)[0]))
    free = onnxruntime_greedy(session, prompt, (), 8)
    end = free.ids[0]
    assert onnxruntime_greedy(session, prompt, (end,), 8).ids == free.ids[:1]

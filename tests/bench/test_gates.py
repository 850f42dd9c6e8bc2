"""The gate sees a single different token, and the reference that a browser is held against is the model's own."""

import numpy as np

from tinsmith.bench.gates import first_prompt, token_differences
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.reference import reference_answer
from tinsmith.model.tokens import load_tokenizer
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


def test_the_prompt_ends_with_the_first_question():
    two_turns = tiny_conversations(4)[3]
    assert [m.role for m in first_prompt(two_turns)] == ["system", "user"]


def test_a_reference_is_the_full_forward_pass_of_the_quantized_model(package_of):
    """Independent path: the packaged graph run on the whole text for every token, without a cache."""
    for kind in ("llama", "gemma3"):
        package = package_of(kind)
        tokenizer, decoder = load_tokenizer(package), load_onnx(package / "onnx/model_q4.onnx")
        reference = reference_answer(decoder, tokenizer.encode_prompt(first_prompt(tiny_conversations(1)[0])), (), 8)
        ids = list(reference["prompt_ids"])
        for id, likely, values in zip(
            reference["token_ids"], reference["likely_ids"], reference["likely_logits"], strict=True
        ):
            logits = decoder.start().feed(ids, keep=0)[-1]
            assert id == likely[0] == logits.argmax() and len(likely) == 16
            assert np.abs(logits[likely] - values).max() < 1e-3
            ids.append(id)


def test_a_reference_has_no_end_token(package_of):
    package = package_of("llama")
    tokenizer, decoder = load_tokenizer(package), load_onnx(package / "onnx/model_q4.onnx")
    prompt = tokenizer.encode_prompt(first_prompt(tiny_conversations(1)[0]))
    end = reference_answer(decoder, prompt, (), 1)["token_ids"][0]
    reference = reference_answer(decoder, prompt, (end,), 4)
    assert end not in reference["token_ids"] and not any(end in likely for likely in reference["likely_ids"])

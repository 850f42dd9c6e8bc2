"""Factors are chosen where a few loud activations leave few levels to the others, and change no exact result."""

import numpy as np
import onnx_ir as ir
import pytest

from tinsmith.export import input_rounding
from tinsmith.export.input_rounding import choose_rounding
from tinsmith.export.int8_constants import FoldedWeights
from tinsmith.export.int8_products import Rounding, products_by_input, with_int8_products
from tinsmith.model.conversations import read_jsonl
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.tokens import load_tokenizer

RANDOM = np.random.default_rng(5)


def test_a_loud_block_is_made_smaller_and_the_error_with_it():
    rows, weight = RANDOM.normal(size=(64, 128)), RANDOM.normal(size=(96, 128))
    rows[:, 40] *= 30
    factors = input_rounding._best_factors(rows, weight)
    assert factors.shape == (4,) and factors.argmax() == 1 and np.log(factors).mean() == pytest.approx(0, abs=1e-6)
    columns = np.repeat(factors, 32)
    exact = rows @ weight.T
    smoothed = input_rounding._error(rows / columns, weight * columns, exact)
    assert smoothed < 0.5 * input_rounding._error(rows, weight, exact)


def test_even_activations_are_left_alone():
    assert input_rounding._best_factors(RANDOM.normal(size=(64, 128)), RANDOM.normal(size=(96, 128))) is None


def test_what_is_lost_to_one_loud_activation_of_a_token_is_seen():
    """No factor helps where another activation is loud in every token."""
    rows, weight = RANDOM.normal(size=(64, 128)), RANDOM.normal(size=(96, 128))
    even = input_rounding._rounding_loss(rows, weight, None)
    rows[np.arange(64), 2 * np.arange(64)] = 50
    assert input_rounding._best_factors(rows, weight) is None
    assert even < input_rounding._MAX_LOSS < input_rounding._rounding_loss(rows, weight, None)


def test_factors_change_no_exact_result_whatever_takes_them(exported, data_dir, tmp_path):
    """They go into norms and, behind anything else, into an operator."""
    _, _, out_dir, _ = exported
    package = out_dir / "package"
    four = package / "onnx/model_q4.onnx"
    tokens = load_tokenizer(package).encode_all(read_jsonl(data_dir / "train.jsonl"))
    rounding = choose_rounding(four, tokens)
    names = {products[0].name: products[0].inputs[1].shape[1] for products in products_by_input(ir.load(four).graph)}
    assert {"lm_head"} <= rounding.twice <= set(names) and set(rounding.factors) <= set(names)
    assert not (package / "onnx/watched.onnx").exists()
    # Factors everywhere: what is divided is multiplied again.
    strong = {name: np.where(np.arange(blocks) % 2, 1.25, 0.8).astype(np.float32) for name, blocks in names.items()}
    ids = list(range(10, 60))
    expected = load_onnx(four).start().feed(ids, 50)
    path = four.with_name("strong.onnx")
    ir.save(with_int8_products(ir.load(four), Rounding(strong), FoldedWeights()), path)
    operators = [node.name for node in ir.load(path).graph if node.name and node.name.endswith("/smoothed")]
    logits = load_onnx(path).start().feed(ids, 50)
    path.unlink()
    # 0.001 and 0.0015 seen; 0.6 and 0.9 with norms multiplied where they should be divided.
    assert np.square(logits - expected).mean() < 1e-2 * np.square(expected).mean()
    # Two inputs of each layer follow a norm. Attention's output, gate times up, and the head's slice do not.
    assert len(operators) == sum(
        not any(part in name for part in ("q_k_v", "q_proj", "q_k", "gate", "k_v")) for name in names
    )

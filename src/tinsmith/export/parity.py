"""Proves that ONNX graphs compute what the Transformers model computes.

The full-precision graph is compared with the tuned model. The package's graphs are compared with the same model after
its weights were replaced with those that numpy unpacks from the package's matrices. Each comparison covers prompts and
cached decoding, at lengths below and above the sliding window. Model and graphs run one after another, so that only one
is in memory at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tinsmith.core.measure import Recorder
from tinsmith.model.families import Decoder
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.package_format import Graph
from tinsmith.model.tokens import Tokens

_COMPARED_ROWS = 64
"""Rows compared at the end of a prompt. Logits at every position would need gigabytes with 262,144 tokens."""
_DECODED_TOKENS = 8
_MAX_ABS_DIFF = 1e-2

Logits = dict[str, np.ndarray]
"""Case, such as `prefill_100` -> logits (rows, V) after the last tokens of a sequence."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far two sets of logits are apart."""

    case: str
    max_abs_diff: float
    top1_agreement: float
    rows: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Tokens that models and graphs are compared on, and the lengths of prompts made of them."""

    lengths: tuple[int, ...]
    ids: list[int]

    @classmethod
    def of(cls, decoder: Decoder, conversations: Sequence[Tokens]) -> "Probe":
        """Join tokens of `conversations`, repeated if necessary, until they suffice for every compared length."""
        lengths, ids = compared_lengths(decoder), []
        needed = max(lengths) + _DECODED_TOKENS
        while len(ids) < needed:
            for tokens in conversations:
                ids += tokens.ids
        return cls(lengths, ids[:needed])

    def model_logits(self, model: Any) -> Logits:
        """Logits of a float32 Transformers model in every case."""
        logits = {}
        for length in self.lengths:
            count = _decode_count(length)
            rows = _reference_logits(model, self.ids[: length + count], min(_COMPARED_ROWS, length) + count)
            logits[f"prefill_{length}"] = rows[: len(rows) - count]
            if count:
                logits[f"decode_{length}"] = rows[-count:]
        return logits

    def graph_logits(self, path: Path) -> Logits:
        """Logits of the ONNX graph at `path`: a prompt in one pass, then single tokens with its cache."""
        graph, logits = load_onnx(path), {}
        for length in self.lengths:
            sequence = graph.start()
            logits[f"prefill_{length}"] = sequence.feed(self.ids[:length], min(_COMPARED_ROWS, length))
            if _decode_count(length):
                steps = [sequence.feed([token], 1) for token in self.ids[length : length + _DECODED_TOKENS]]
                logits[f"decode_{length}"] = np.concatenate(steps)
        return logits


def compared_lengths(decoder: Decoder) -> tuple[int, ...]:
    """Prompt lengths to compare, in tokens: 1, 100, and 1.5 times the largest sliding window, or 300 without one."""
    window = max(decoder.windows)
    past_window = (window + max(window // 2, 16),) if window else (300,)
    return (1, 100, *past_window)


def compare(expected: Logits, logits: Logits) -> list[Comparison]:
    """How far `logits` are from `expected` in each case."""
    return [_compared(case, expected[case], logits[case]) for case in logits]


def _compared(case: str, expected: np.ndarray, logits: np.ndarray) -> Comparison:
    same = (expected.argmax(axis=1) == logits.argmax(axis=1)).mean()
    return Comparison(case, float(np.abs(expected - logits).max()), float(same), len(logits))


def divergence(expected: np.ndarray, logits: np.ndarray) -> float:
    """Mean KL divergence of `logits` from the logits `expected`, both (rows, V), in nats per position."""
    right, wrong = (torch.from_numpy(values).double().log_softmax(-1) for values in (expected, logits))
    return torch.nn.functional.kl_div(wrong, right, reduction="batchmean", log_target=True).item()


def gate_logits(recorder: Recorder, kind: str, expected: Logits, logits: Logits) -> None:
    """Require that `logits` equal the model's, which are `expected`. Gates are named after `kind`.

    Raises:
        GateError: they differ, or another token is the most likely one.
    """
    hint = "The graph builder does not match this base model; do not ship it. Please report the model."
    method = "tinsmith.export.parity.compare"
    for result in compare(expected, logits):
        for name, value, op, bound, unit in (
            ("max_abs_diff", result.max_abs_diff, "<=", _MAX_ABS_DIFF, "logits"),
            ("top1", result.top1_agreement, "==", 1.0, "fraction"),
        ):
            id = f"gate.{kind}.{name}.{result.case}"
            recorder.gate(id, value, op, bound, unit, result.rows, "positions", method, hint)


def gate_divergence(recorder: Recorder, graph: Graph, kind: str, expected: Logits, logits: Logits) -> None:
    """Require that `graph` predicts nearly the same as the float32 graph.

    Args:
        recorder: Records the gate.
        graph: The graph, with its bound.
        kind: Name of the gate, and of the key of `export` that turns the graph off.
        expected: Logits of the float32 graph.
        logits: Logits of `graph`.

    Raises:
        GateError: the divergence is above `graph.max_divergence`.
    """
    assert graph.max_divergence is not None  # the float32 graph is compared with the model instead
    all_expected, all_logits = (np.concatenate(list(cases.values())) for cases in (expected, logits))
    recorder.gate(
        f"gate.{kind}.divergence",
        divergence(all_expected, all_logits),
        "<=",
        graph.max_divergence,
        "nats/token",
        len(all_logits),
        "positions",
        "tinsmith.export.parity.divergence: from the graph in float32, all cases together",
        f"{graph.file} predicts too differently from float32. Set export.{kind} = false to export without it, "
        "and please report the model.",
    )


def _decode_count(length: int) -> int:
    """Number of tokens to decode after a prompt of `length`: none after one token, which is a decoding step itself."""
    return _DECODED_TOKENS if length > _DECODED_TOKENS else 0


def _reference_logits(model: Any, ids: list[int], keep: int) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=keep).logits[0].numpy()

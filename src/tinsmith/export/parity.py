"""Proof that ONNX graphs compute what the Transformers model computes, before anything is built on them.

The full-precision graph is compared with the model, and the package's graphs with the same model after its weights were
replaced by those that numpy unpacks from the package's matrices. Compared are prompts and cached decoding, shorter and
longer than the sliding window. Model and graphs run one after the other, so that one of them is in memory at a time.
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
"""Of a prompt only the last rows are compared; a 262,144-token vocabulary at every position would be gigabytes."""
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
        """Real tokens, joined until there are enough for every compared length."""
        lengths, ids = compared_lengths(decoder), []
        needed = max(lengths) + _DECODED_TOKENS
        while len(ids) < needed:
            for tokens in conversations:
                ids += tokens.ids
        return cls(lengths, ids[:needed])

    def model_logits(self, model: Any) -> Logits:
        """What a float32 Transformers model computes in every case."""
        logits = {}
        for length in self.lengths:
            decoded = _decoded(length)
            rows = _reference_logits(model, self.ids[: length + decoded], min(_COMPARED_ROWS, length) + decoded)
            logits[f"prefill_{length}"] = rows[: len(rows) - decoded]
            if decoded:
                logits[f"decode_{length}"] = rows[-decoded:]
        return logits

    def graph_logits(self, path: Path) -> Logits:
        """What the ONNX graph at `path` computes: a prompt at once, then tokens one by one from its cache."""
        graph, logits = load_onnx(path), {}
        for length in self.lengths:
            sequence = graph.start()
            logits[f"prefill_{length}"] = sequence.feed(self.ids[:length], min(_COMPARED_ROWS, length))
            if _decoded(length):
                steps = [sequence.feed([token], 1) for token in self.ids[length : length + _DECODED_TOKENS]]
                logits[f"decode_{length}"] = np.concatenate(steps)
        return logits


def compared_lengths(decoder: Decoder) -> tuple[int, ...]:
    """Compared lengths in tokens: 1, 100, and half as much again as the largest sliding window if there is one."""
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
    """Mean KL divergence over positions in nats, of `logits` (rows, V) from `expected` (rows, V), logits too."""
    right, wrong = (torch.from_numpy(values).double().log_softmax(-1) for values in (expected, logits))
    return torch.nn.functional.kl_div(wrong, right, reduction="batchmean", log_target=True).item()


def gate_logits(recorder: Recorder, kind: str, expected: Logits, logits: Logits) -> None:
    """Require that `logits` are those of the model, in gates named after `kind`.

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
    """Require that `graph` predicts nearly what the float32 graph does, whose logits are `expected`.

    Args:
        recorder: Gets the gate.
        graph: The graph, with its bound.
        kind: What the gate and the key of `export` that leaves the graph out are called.
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
        f"{graph.file} computes something else; set export.{kind} = false to go on without it, and please report the "
        "model.",
    )


def _decoded(length: int) -> int:
    """Tokens decoded after a prompt of `length`; none after a single one, which is such a step itself."""
    return _DECODED_TOKENS if length > _DECODED_TOKENS else 0


def _reference_logits(model: Any, ids: list[int], keep: int) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=keep).logits[0].numpy()

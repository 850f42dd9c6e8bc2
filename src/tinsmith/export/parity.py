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
from tinsmith.core.run_dir import write_json
from tinsmith.derive.export import RULES
from tinsmith.derive.files import Files
from tinsmith.derive.rules import record
from tinsmith.model.families import Decoder
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.tokens import Tokens

_COMPARED_ROWS = 64
"""Rows compared at the end of a prompt. Logits at every position would need gigabytes with 262,144 tokens."""
_DECODED_TOKENS = 8

Logits = dict[str, np.ndarray]
"""Case, such as `prefill_100` -> logits (rows, V) after the last tokens of a sequence."""

Columns = dict[str, list[Any]]
"""Name -> one value per position."""


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
                if len(ids) >= needed:
                    break
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


def compare(expected: Logits, logits: Logits) -> dict[str, Columns]:
    """How far `logits` are from `expected` at each position of each case: `max_abs_diff` and `same_top1`."""
    return {case: _compared(expected[case], logits[case]) for case in logits}


def _compared(expected: np.ndarray, logits: np.ndarray) -> Columns:
    return {
        "max_abs_diff": _json_numbers(np.abs(expected - logits).max(axis=1)),
        "same_top1": (expected.argmax(axis=1) == logits.argmax(axis=1)).tolist(),
    }


def divergences(expected: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """KL divergence of `logits` from the logits `expected`, both (rows, V), in nats at each position."""
    right, wrong = (torch.from_numpy(values).double().log_softmax(-1) for values in (expected, logits))
    return torch.nn.functional.kl_div(wrong, right, reduction="none", log_target=True).sum(-1).numpy()


def _json_numbers(values: np.ndarray) -> list[float | None]:
    """JSON has no infinity and no NaN; None stands for both, which fail every gate."""
    return [float(value) if np.isfinite(value) else None for value in values]


class Gates:
    """Writes the distances of graphs to `parity.json`, and requires that each is small enough."""

    def __init__(self, recorder: Recorder, out_dir: Path) -> None:
        self._recorder = recorder
        self._out_dir = out_dir
        self._raw: dict[str, Any] = {"logits": {}, "divergences": {}, "unpacked": {}}

    def require_same(self, kind: str, expected: Logits, logits: Logits) -> None:
        """Require that `logits` equal the model's, which are `expected`. Gates are named after `kind`.

        Raises:
            GateError: they differ, or another token is the most likely one.
        """
        self._raw["logits"][kind] = compare(expected, logits)
        self._record(kind)

    def require_close(self, kind: str, expected: Logits, logits: Logits) -> None:
        """Require that a graph predicts nearly the same as the float32 graph.

        Args:
            kind: Name of the gate, and of the key of `export` that turns the graph off.
            expected: Logits of the float32 graph.
            logits: Logits of the graph.

        Raises:
            GateError: the divergence is above the graph's bound.
        """
        all_expected, all_logits = (np.concatenate(list(cases.values())) for cases in (expected, logits))
        self._raw["divergences"][kind] = _json_numbers(divergences(all_expected, all_logits))
        self._record(kind, "divergence")

    def require_same_weights(self, differences: int, compared_bytes: int) -> None:
        """Require that a page unpacks the same INT8 weights as ONNX Runtime.

        Raises:
            GateError: `differences` is not 0.
        """
        self._raw["unpacked"] = {"differences": differences, "bytes": compared_bytes}
        self._record("int8", "unpacked")

    def _record(self, kind: str, name: str = "") -> None:
        write_json(self._out_dir / "parity.json", self._raw)
        record(self._recorder, RULES, Files.of_stage("export", self._out_dir), f"gate.{kind}.{name}")


def _decode_count(length: int) -> int:
    """Number of tokens to decode after a prompt of `length`: none after one token, which is a decoding step itself."""
    return _DECODED_TOKENS if length > _DECODED_TOKENS else 0


def _reference_logits(model: Any, ids: list[int], keep: int) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=keep).logits[0].numpy()

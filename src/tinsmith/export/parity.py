"""Proof that the ONNX graph computes what the Transformers model computes, before anything is built on it.

The full-precision graph is compared with the model, and the packaged INT4 graph with the same model holding the
weights that numpy unpacks from the INT4 matrices. Prefill and cached decoding, shorter and longer than the sliding
window. Model and graph run one after the other, so that only one of them need be in memory.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tinsmith.model.families import Decoder
from tinsmith.model.onnx_decoder import OnnxDecoder

_COMPARED_ROWS = 64
"""Prefill compares the last rows; a 262,144-token vocabulary at every position would be gigabytes."""
_DECODED_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far two sets of logits are apart."""

    case: str
    max_abs_diff: float
    top1_agreement: float
    rows: int


Logits = dict[str, np.ndarray]
"""Case, such as `prefill_100` -> logits (rows, V) after the last tokens of a sequence."""


def model_logits(model: Any, decoder: Decoder, ids: list[int]) -> Logits:
    """What a float32 Transformers model computes in every case."""
    found = {}
    for length in lengths(decoder):
        decoded = _decoded(length)
        rows = _reference_logits(model, ids[: length + decoded], min(_COMPARED_ROWS, length) + decoded)
        found[f"prefill_{length}"] = rows[: len(rows) - decoded]
        if decoded:
            found[f"decode_{length}"] = rows[-decoded:]
    return found


def graph_logits(graph: OnnxDecoder, decoder: Decoder, ids: list[int]) -> Logits:
    """The same from an ONNX graph: a prompt at once, then tokens one by one from its cache."""
    found = {}
    for length in lengths(decoder):
        sequence = graph.start()
        found[f"prefill_{length}"] = sequence.feed(ids[:length], min(_COMPARED_ROWS, length))
        if _decoded(length):
            found[f"decode_{length}"] = np.concatenate(
                [sequence.feed([token], 1) for token in ids[length : length + _DECODED_TOKENS]]
            )
    return found


def compare(expected: Logits, found: Logits) -> list[Comparison]:
    """How far the logits of each case in `found` are apart."""
    return [_compared(case, expected[case], found[case]) for case in found]


def divergence(expected: np.ndarray, found: np.ndarray) -> float:
    """Mean KL divergence over positions, nats: what `found` (rows, V) loses of the distributions of `expected`, both logits."""
    right, wrong = (torch.from_numpy(logits).double().log_softmax(-1) for logits in (expected, found))
    return torch.nn.functional.kl_div(wrong, right, reduction="batchmean", log_target=True).item()


def lengths(decoder: Decoder) -> tuple[int, ...]:
    """Compared lengths in tokens: 1, 100, and half as much again as the largest sliding window if there is one."""
    window = max(decoder.windows)
    past_window = (window + max(window // 2, 16),) if window else (300,)
    return (1, 100, *past_window)


def probe_tokens(decoder: Decoder) -> int:
    """How many token ids the cases need."""
    return max(lengths(decoder)) + _DECODED_TOKENS


def _decoded(length: int) -> int:
    """Tokens decoded after a prompt of `length`; none after a single one, which is such a step itself."""
    return _DECODED_TOKENS if length > _DECODED_TOKENS else 0


def _compared(case: str, expected: np.ndarray, found: np.ndarray) -> Comparison:
    same = (expected.argmax(axis=1) == found.argmax(axis=1)).mean()
    return Comparison(case, float(np.abs(expected - found).max()), float(same), len(found))


def _reference_logits(model: Any, ids: list[int], keep: int) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=keep).logits[0].numpy()

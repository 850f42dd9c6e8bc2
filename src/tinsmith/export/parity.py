"""Proof that the ONNX graph computes what the Transformers model computes, before anything is built on it.

The full-precision graph is compared with the model, and the packaged INT4 graph with the same model holding the
weights that numpy unpacks from the package's own bytes. Prefill and cached decoding, shorter and longer than the
sliding window.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tinsmith.families import Decoder

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


def session(path: Path) -> Any:
    """An ONNX Runtime CPU session of the model file at `path`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def compare(reference: Any, onnx_session: Any, decoder: Decoder, ids: list[int]) -> list[Comparison]:
    """Prefill and cached decoding of `reference` (float32 model) and the graph, at 1, 100 and past the window.

    Args:
        ids: Real token ids, enough for the longest length; see `longest_length`.
    """
    found = []
    for length in lengths(decoder):
        expected = _reference_logits(reference, ids[:length])
        found.append(_compared(f"prefill_{length}", expected, _prefill(onnx_session, decoder, ids[:length])))
        if length > _DECODED_TOKENS:
            decoded = _decode(onnx_session, decoder, ids[:length])
            found.append(_compared(f"decode_{length}", expected[-_DECODED_TOKENS:], decoded))
    return found


def lengths(decoder: Decoder) -> tuple[int, ...]:
    """Compared lengths in tokens: 1, 100, and half as much again as the largest sliding window if there is one."""
    window = max(decoder.windows)
    past_window = (window + max(window // 2, 16),) if window else (300,)
    return (1, 100, *past_window)


def _compared(case: str, expected: np.ndarray, found: np.ndarray) -> Comparison:
    expected = expected[-len(found) :]
    same = (expected.argmax(axis=1) == found.argmax(axis=1)).mean()
    return Comparison(case, float(np.abs(expected - found).max()), float(same), len(found))


def _reference_logits(model: Any, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=_COMPARED_ROWS).logits[0].numpy()


def empty_cache(decoder: Decoder) -> dict[str, np.ndarray]:
    """The cache before the first token, as the graph's inputs."""
    shape = (1, decoder.kv_heads, 0, decoder.head_dim)
    return {
        f"past_key_values.{index}.{part}": np.zeros(shape, np.float32)
        for index in range(decoder.layers)
        for part in ("key", "value")
    }


def step(onnx_session: Any, cache: dict[str, np.ndarray], ids: list[int], keep: int) -> tuple[np.ndarray, dict]:
    """Logits (kept, V) after `ids`, and the cache that follows; `keep` 0 returns all positions."""
    past = next(iter(cache.values())).shape[2]
    feeds = {
        "input_ids": np.array([ids], np.int64),
        "attention_mask": np.ones((1, past + len(ids)), np.int64),
        "position_ids": np.arange(past, past + len(ids), dtype=np.int64)[None],
        "num_logits_to_keep": np.array(keep, np.int64),
        **cache,
    }
    names = [output.name for output in onnx_session.get_outputs()]
    outputs = dict(zip(names, onnx_session.run(names, feeds), strict=True))
    following = {name.replace("present", "past_key_values"): outputs[name] for name in names if name != "logits"}
    return outputs["logits"][0], following


def _prefill(onnx_session: Any, decoder: Decoder, ids: list[int]) -> np.ndarray:
    return step(onnx_session, empty_cache(decoder), ids, min(_COMPARED_ROWS, len(ids)))[0]


def _decode(onnx_session: Any, decoder: Decoder, ids: list[int]) -> np.ndarray:
    """Logits of the last tokens, each computed alone from the cache of those before."""
    prompt = len(ids) - _DECODED_TOKENS
    cache = step(onnx_session, empty_cache(decoder), ids[:prompt], 1)[1]
    rows = []
    for token in ids[prompt:]:
        logits, cache = step(onnx_session, cache, [token], 1)
        rows.append(logits)
    return np.concatenate(rows)

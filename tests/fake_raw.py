"""Raw files of a made-up run, from which its numbers are derived."""

import math
from typing import Any

CATEGORIES = {f"cat_{number:02}": 24 - number for number in range(12)}
"""Name -> conversations; 222 in all."""
SPLITS = {"train": 210, "val": 6, "test": 6}
PARAMETERS = 134_515_008
TRAINABLE = 4_884_480
SUPERVISED_OF_TRAIN = 12_345
EPOCHS, STEPS = 3, 81
VAL_LOSSES = (4.0, 2.5, 2.0, 2.25)
"""By epoch; 0 is the untrained base."""


def raw_records() -> dict[str, dict]:
    """Run-relative path -> JSON value."""
    return {
        "base/inventory.json": {"files": {"model.safetensors": 270_000_000}, "tensors": {"weight": [PARAMETERS]}},
        "train/inventory.json": {"files": {"adapter_model.safetensors": 20_000_000}, "tensors": {"a": [TRAINABLE]}},
        "merge/norms.json": {"model.layers.0.mlp.down_proj.weight": 3.25},
        "export/recipes.json": _recipes(),
        "export/float16_range.json": {"largest": {"model.layers.0.sum": 0.4236 * 65504}, "scale": 1.0, "tokens": 4000},
        "export/parity.json": {
            "logits": {"int4": {"prefill_1": {"max_abs_diff": [0.00012], "same_top1": [True]}}},
            "divergences": {"float16": [0.000125, 0.00025]},
            "unpacked": {"differences": 0, "bytes": 1000},
        },
        "bench/gates.json": {
            "device": "wasm",
            "graph": "int8_page",
            "conversations": 6,
            "token_differences": [],
            "logits": [{"conversation": "c0", "token_ids": [5, 7], "disagreement": 0.03}],
        },
        "evaluate/tokens.json": {"conversations": 45, "different": []},
    }


def _recipes() -> dict[str, Any]:
    losses = [20.0 * share for share in (0.8, 0.9, 1.0, 1.1, 1.2) * 2]
    ratios = {"rtn": 1.4, "gptq": 1.04}
    trials = [
        {
            "name": name,
            "nll": [loss + 10 * math.log(ratio) * loss / 20 for loss in losses],
            "weights_bytes": 84_000_000,
            "seconds": 9.5,
        }
        for name, ratio in ratios.items()
    ]
    settings = {"recipe": "gptq", "max_perplexity_ratio": 1.05}
    return {"settings": settings, "supervised": [10] * len(losses), "tuned": losses, "trials": trials}


def prompt_runs(name: str, prompt_tokens: int, new_tokens: int, runs: dict[float, float]) -> dict[str, Any]:
    """A prompt of a browser's record with a run for each speed -> seconds to the first token; two tokens are timed."""
    times = [[1000 * first, 1000 * first + 1000 / speed] for speed, first in runs.items()]
    return {
        "name": name,
        "prompt_tokens": prompt_tokens,
        "new_tokens": new_tokens,
        "not_measured": "",
        "runs": [{"token_ms": time} for time in times],
    }


def raw_lines() -> dict[str, list[dict[str, Any]]]:
    """Run-relative path -> lines of a JSONL file."""
    return {"data/tokens.jsonl": _tokens(), "train/log.jsonl": _log(), "merge/positions.jsonl": _positions()}


def _tokens() -> list[dict[str, Any]]:
    splits = [split for split, count in SPLITS.items() for _ in range(count)]
    names = [name for name, count in CATEGORIES.items() for _ in range(count)]
    supervised = [SUPERVISED_OF_TRAIN - 58 * (SPLITS["train"] - 1), *[58] * (len(names) - 1)]
    counts = {"supervised_ends": 1, "assistant_turns": 1, "is_bos_right": True}
    # The last categories come first, so that the test split has some of the largest one.
    return [
        {"split": split, "category": name, "tokens": 2 * number, "supervised": number, **counts}
        for split, name, number in zip(splits, reversed(names), supervised, strict=True)
    ]


def _log() -> list[dict[str, Any]]:
    per_epoch = STEPS // EPOCHS
    lines = [{"epoch": 0, "val_loss": VAL_LOSSES[0], "supervised": 348}]
    for epoch in range(1, EPOCHS + 1):
        loss = 1.9384 + (EPOCHS - epoch) / 2
        lines += [
            {
                "step": (epoch - 1) * per_epoch + step,
                "epoch": epoch,
                "loss": loss,
                "nll": loss * 1000,
                "supervised": 1000,
                "learning_rate": 5e-4,
                "tokens": 2000,
                "seconds": 8.0,
            }
            for step in range(1, per_epoch + 1)
        ]
        lines.append({"epoch": epoch, "val_loss": VAL_LOSSES[epoch], "supervised": 348})
    return lines


def _positions() -> list[dict[str, Any]]:
    return [
        {
            "adapter_base_candidates": 8.0 + number,
            "adapter_merged_candidates": 0.125 * number,
            "merged_base_candidates": 8.5 + number,
            "merged_reloaded_all": 0.0,
            "kl": 0.001 * number,
        }
        for number in range(4)
    ]

"""Turn the results of the benchmark page into one record per device, and each record into measurements."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tinsmith.bench.plan import QUESTION
from tinsmith.bench.timing import (
    TimedRun,
    decode_tokens_per_second,
    first_token_seconds,
    median_and_range,
    prefill_tokens_per_second,
)
from tinsmith.core.measure import Recorder

_TIMING = "tinsmith.bench.timing"
_NUMBERS: dict[str, tuple[Callable[[TimedRun], float], str]] = {
    "first_token_seconds": (first_token_seconds, "seconds"),
    "prefill_tokens_per_second": (prefill_tokens_per_second, "tokens/s"),
    "decode_tokens_per_second": (decode_tokens_per_second, "tokens/s"),
}
"""Name in measurement ids and in `timing` -> function that computes the number from a run, and the number's unit."""


def record_of(device: str, measured: dict[str, Any], reloaded: dict[str, Any]) -> dict[str, Any]:
    """The record of one device. Token times are milliseconds since the run's request.

    Args:
        device: `wasm` or `webgpu`.
        measured: Result of the page's `measure`.
        reloaded: Result of the page's `reload`.
    """
    ready = measured["ready"]
    return {
        "device": device,
        "backend": ready["device"],
        "graph": ready["graph"],
        "adapter": ready["adapter"],
        "software": measured["software"],
        "threads": ready["threads"],
        "cross_origin_isolated": ready["crossOriginIsolated"],
        "runtime": ready["versions"],
        "placement": reloaded["placement"],
        "load_seconds": ready["seconds"],
        "warm_load_seconds": reloaded["warmLoadSeconds"],
        "prompts": [_prompt_record(prompt) for prompt in measured["prompts"]],
    }


def _prompt_record(prompt: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": prompt["name"],
        "prompt_tokens": prompt["promptTokens"],
        "new_tokens": prompt["newTokens"],
        "not_measured": prompt["notMeasured"],
        "runs": [{"token_ms": [time - run["askedAt"] for time in run["times"]]} for run in prompt["runs"]],
    }


def record_numbers(recorder: Recorder, prefix: str, record: dict[str, Any], raw: str) -> str:
    """Record the numbers of one device, and return its speed as a sentence.

    Args:
        recorder: Collects the numbers.
        prefix: Start of their ids, such as `bench.wasm`. Ids for prompts other than the main one end in the prompt's
            length in tokens.
        record: Result of `record_of`.
        raw: Run-relative path of the record.
    """
    add = partial(recorder.add, raw=raw)
    method = "from creating the worker to its ready message"
    add(f"{prefix}.load_seconds", record["load_seconds"], "seconds", 1, "cold loads", method)
    if record["warm_load_seconds"] is not None:
        method = "the same, with the files in the browser's cache"
        add(f"{prefix}.warm_load_seconds", record["warm_load_seconds"], "seconds", 1, "warm loads", method)
    add(f"{prefix}.threads", record["threads"], "count", 1, "settings", "the worker's own report")
    medians = {}
    for suffix, prompt, runs in _timed_prompts(record):
        for number, (function, unit) in _NUMBERS.items():
            id = f"{prefix}.{number}{suffix}"
            medians[id], spread = median_and_range(runs, function)
            add(id, medians[id], unit, len(runs), "runs", f"{_TIMING}.{number}", spread=spread)
        tokens, new_tokens = prompt["prompt_tokens"], prompt["new_tokens"]
        add(f"{prefix}.prompt_tokens{suffix}", tokens, "count", 1, "prompts", "length of the model's input")
        add(f"{prefix}.new_tokens{suffix}", new_tokens, "count", len(runs), "runs", "length of the model's output")
    label = "WebGPU on a software adapter, not a GPU" if record["software"] else record["backend"]
    first = medians[f"{prefix}.first_token_seconds"]
    speed = medians[f"{prefix}.decode_tokens_per_second"]
    count = len(record["prompts"][0]["runs"])
    runs = f"median of {count} runs" if count > 1 else "one run"
    return f"{label}: first token {first:.2f} s, then {speed:.1f} tokens/s ({runs})"


def _timed_prompts(record: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], list[TimedRun]]]:
    """`(id suffix, prompt, runs)` of each prompt that has runs."""
    for prompt in record["prompts"]:
        runs = [TimedRun(0.0, tuple(run["token_ms"]), prompt["prompt_tokens"]) for run in prompt["runs"]]
        if runs:
            yield "" if prompt["name"] == QUESTION else f".{prompt['name']}", prompt, runs

"""From what `web/protocol.js` measured to a record, and from a record to numbers."""

from typing import Any

from tinsmith.bench.plan import QUESTION
from tinsmith.bench.timing import (
    TimedRun,
    decode_tokens_per_second,
    first_token_seconds,
    median_and_range,
    prefill_tokens_per_second,
)  # fmt: skip
from tinsmith.core.measure import Recorder

_TIMING = "tinsmith.bench.timing"


def record_of(device: str, measured: dict[str, Any], reloaded: dict[str, Any]) -> dict[str, Any]:
    """A record of one device, from the answers of `Bench.measure` and `Bench.reload`; times count from each request."""
    ready = measured["ready"]
    return {
        "device": device, "backend": ready["device"], "dtype": ready["dtype"], "adapter": ready["adapter"],
        "software": measured["software"], "threads": ready["threads"], "cross_origin_isolated": ready["crossOriginIsolated"],
        "runtime": ready["versions"], "placement": reloaded["placement"], "load_seconds": ready["seconds"],
        "warm_load_seconds": reloaded["warmLoadSeconds"],
        "prompts": [{
            "name": prompt["name"], "prompt_tokens": prompt["promptTokens"], "new_tokens": prompt["newTokens"],
            "not_measured": prompt["notMeasured"],
            "runs": [{"asked_ms": 0.0, "token_ms": [t - run["askedAt"] for t in run["times"]]} for run in prompt["runs"]],
        } for prompt in measured["prompts"]],
    }  # fmt: skip


def record_numbers(recorder: Recorder, prefix: str, record: dict[str, Any], raw: str) -> str:
    """Add the record's numbers under `prefix`, such as `bench.wasm`, and return its speed as a sentence.

    The first question's numbers carry no further name, those of other prompts their length in tokens.
    """

    def add(name: str, value: float, unit: str, count: int, count_of: str, method: str, **more: Any) -> None:
        recorder.add(f"{prefix}.{name}", value, unit, count, count_of, method, raw=raw, **more)

    add("load_seconds", record["load_seconds"], "seconds", 1, "cold loads", "from creating the worker to its ready")
    if record["warm_load_seconds"] is not None:
        add(
            "warm_load_seconds",
            record["warm_load_seconds"],
            "seconds",
            1,
            "warm loads",
            "the same with the files kept by the browser",
        )
    add("threads", record["threads"], "count", 1, "settings", "the worker's own report")
    for prompt in record["prompts"]:
        runs = [TimedRun(run["asked_ms"], tuple(run["token_ms"]), prompt["prompt_tokens"]) for run in prompt["runs"]]
        if not runs:
            continue
        name = "" if prompt["name"] == QUESTION else f".{prompt['name']}"
        for of, unit in (
            (first_token_seconds, "seconds"),
            (prefill_tokens_per_second, "tokens/s"),
            (decode_tokens_per_second, "tokens/s"),
        ):
            value, spread = median_and_range(runs, of)
            add(of.__name__ + name, value, unit, len(runs), "runs", f"{_TIMING}.{of.__name__}", spread=spread)
        add(f"prompt_tokens{name}", prompt["prompt_tokens"], "count", 1, "prompts", "length of the model's input")
        add(f"new_tokens{name}", prompt["new_tokens"], "count", len(runs), "runs", "length of the model's output")
    first, speed = (
        next(m.value for m in recorder.measurements if m.id == f"{prefix}.{of.__name__}")
        for of in (first_token_seconds, decode_tokens_per_second)
    )
    label = "WebGPU on a software adapter, not a GPU" if record["software"] else record["backend"]
    count = len(record["prompts"][0]["runs"])
    return f"{label}: first token {first:.2f} s, then {speed:.1f} tokens/s (median of {count} runs)"

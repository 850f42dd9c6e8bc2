"""Turn the results of the benchmark page into one record per device, and a record into a sentence."""

from typing import Any

from tinsmith.derive.bench import ENGINES, timed_runs
from tinsmith.derive.timing import decode_tokens_per_second, first_token_seconds, median_and_range


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
        "engine": ready["engine"],
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


def speed_line(record: dict[str, Any]) -> str:
    """Speed of one device as a sentence, from its record."""
    runs = timed_runs(record["prompts"][0])
    label = "WebGPU on a software adapter, not a GPU" if record["software"] else record["backend"]
    engine = ENGINES[record["engine"]]
    (first, _), (speed, _) = (median_and_range(runs, one) for one in (first_token_seconds, decode_tokens_per_second))
    count = f"median of {len(runs)} runs" if len(runs) > 1 else "one run"
    return f"{label}, {engine}: first token {first:.2f} s, then {speed:.1f} tokens/s ({count})"

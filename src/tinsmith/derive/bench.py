"""Numbers of browsers: of this machine's, and of other devices' results. Both have the same records."""

from collections.abc import Callable
from functools import partial
from statistics import fmean
from typing import Any

from tinsmith.core.measure import Gate
from tinsmith.derive.files import Files
from tinsmith.derive.rules import Derived, Fields, Rule
from tinsmith.derive.timing import (
    TimedRun,
    decode_tokens_per_second,
    first_token_seconds,
    median_and_range,
    prefill_tokens_per_second,
)
from tinsmith.model.package_format import GRAPHS

GATES = "bench/gates.json"
QUESTION = "question"
"""Name of the main prompt, whose numbers are reported as the model's. Others are named after their length in tokens."""
DEVICES = ("wasm", "webgpu")
ENGINES = {"own": "own kernels", "onnxruntime": "ONNX Runtime"}
"""What computed a backend's tokens, by the name in its record -> in words."""

_TIMINGS: dict[str, tuple[Callable[[TimedRun], float], str]] = {
    "first_token_seconds": (first_token_seconds, "seconds"),
    "prefill_tokens_per_second": (prefill_tokens_per_second, "tokens/s"),
    "decode_tokens_per_second": (decode_tokens_per_second, "tokens/s"),
}
_MAX_ERRORS = {graph.id: graph.max_browser_error for graph in GRAPHS if graph.max_browser_error is not None}
Record = dict[str, Any]


def token_differences(files: Files) -> Derived:
    """Conversations that Transformers.js tokenizes differently from Python."""
    record = files.json(GATES)
    gate: Gate = {"op": "==", "bound": 0}
    count = len(record["token_differences"])
    return Derived(count, "conversations that differ", record["conversations"], "conversations", gate=gate)


def logits_error(files: Files, device: str) -> Derived:
    """Squared differences of logits between browser and ONNX Runtime over their variance, mean over prompts."""
    record = files.json(GATES)
    gate: Gate = {"op": "<=", "bound": _MAX_ERRORS[record["graph"]]}
    errors = [comparison["disagreement"] for comparison in record["logits"]]
    return Derived(fmean(errors), "share of variance", len(errors), "prompts", gate=gate)


def fetched_bytes(files: Files, **place: str) -> Derived:
    """Bytes that the browser's network stack received until the last run, headers included."""
    received = _record(files, **place)["files"]
    return Derived(sum(file["bytes"] for file in received), "bytes", len(received), "files")


def peak_memory_bytes(files: Files, **place: str) -> Derived | None:
    """Highest resident memory of the browser's largest process; None if the system does not tell."""
    size = _record(files, **place)["peak_memory_bytes"]
    return Derived(size, "bytes", 1, "browsers") if size else None


def load_seconds(files: Files, **place: str) -> Derived:
    """Seconds from creating the worker to its ready message."""
    return Derived(_record(files, **place)["load_seconds"], "seconds", 1, "cold loads")


def warm_load_seconds(files: Files, **place: str) -> Derived | None:
    """The same, with the files in the browser's cache; None if that was not measured."""
    seconds = _record(files, **place)["warm_load_seconds"]
    return None if seconds is None else Derived(seconds, "seconds", 1, "warm loads")


def threads(files: Files, **place: str) -> Derived:
    """Threads, as the worker reports them."""
    return Derived(_record(files, **place)["threads"], "count", 1, "settings")


def timing(files: Files, name: str, prompt: str = QUESTION, **place: str) -> Derived:
    """Median and range of a timing over the runs of a prompt."""
    function, unit = _TIMINGS[name]
    runs = timed_runs(_prompt(_record(files, **place), prompt))
    value, spread = median_and_range(runs, function)
    return Derived(value, unit, len(runs), "runs", spread)


def prompt_tokens(files: Files, prompt: str = QUESTION, **place: str) -> Derived:
    """Length of the model's input."""
    return Derived(_prompt(_record(files, **place), prompt)["prompt_tokens"], "count", 1, "prompts")


def new_tokens(files: Files, prompt: str = QUESTION, **place: str) -> Derived:
    """Length of the model's output."""
    one = _prompt(_record(files, **place), prompt)
    return Derived(one["new_tokens"], "count", len(one["runs"]), "runs")


def timed_runs(prompt: Record) -> list[TimedRun]:
    """The runs of a prompt in a record."""
    return [TimedRun(0.0, tuple(run["token_ms"]), prompt["prompt_tokens"]) for run in prompt["runs"]]


def _record(files: Files, device: str, number: str = "") -> Record:
    """The record of this machine's backend, or of another device's."""
    return files.json(f"remote/{number}.json")["backends"][device] if number else files.json(f"bench/{device}.json")


def _prompt(record: Record, name: str) -> Record:
    return next(prompt for prompt in record["prompts"] if prompt["name"] == name)


def _own(files: Files) -> list[Fields]:
    """This machine's backends that were measured."""
    places = [{"device": device} for device in DEVICES if files.has(f"bench/{device}.json")]
    return [place for place in places if "not_measured" not in _record(files, **place)]


def _others(files: Files) -> list[Fields]:
    """Backends of other devices that were measured."""
    numbers = sorted((name.removesuffix(".json") for name in files.names("remote")), key=int)
    return [
        {"number": number, "device": device}
        for number in numbers
        for device, record in files.json(f"remote/{number}.json")["backends"].items()
        if "not_measured" not in record
    ]


def _compared(files: Files) -> list[Fields]:
    return [{"device": files.json(GATES)["device"]}] if files.has(GATES) else []


Places = Callable[[Files], list[Fields]]


def _of_prompts(places: Places, files: Files, is_main: bool, names: tuple[str, ...] = ()) -> list[Fields]:
    """Fields of every prompt with runs, and of each name for it."""
    fields = []
    for place in places(files):
        for prompt in _record(files, **place)["prompts"]:
            if prompt["runs"] and (prompt["name"] == QUESTION) == is_main:
                one = place if is_main else {**place, "prompt": prompt["name"]}
                fields += [{**one, "name": name} for name in names] if names else [one]
    return fields


def _timing_rules(prefix: str, raw: str, places: Places) -> tuple[Rule, ...]:
    rules = [
        Rule(f"{prefix}.load_seconds", raw, load_seconds, places),
        Rule(f"{prefix}.warm_load_seconds", raw, warm_load_seconds, places),
        Rule(f"{prefix}.threads", raw, threads, places),
    ]
    for is_main, suffix in ((True, ""), (False, ".{prompt}")):
        each = partial(_of_prompts, places, is_main=is_main)
        timed = partial(_of_prompts, places, is_main=is_main, names=tuple(_TIMINGS))
        rules += [
            Rule(f"{prefix}.prompt_tokens{suffix}", raw, prompt_tokens, each),
            Rule(f"{prefix}.new_tokens{suffix}", raw, new_tokens, each),
            Rule(f"{prefix}.{{name}}{suffix}", raw, timing, timed),
        ]
    return tuple(rules)


GATE_RULES = (
    Rule(
        "gate.tokens.python_vs_javascript",
        GATES,
        token_differences,
        hint="The browser would feed the model different tokens from those in training; see token_differences.",
    ),
    Rule(
        "gate.logits.{device}_vs_onnxruntime",
        GATES,
        logits_error,
        _compared,
        "The browser's logits differ from those evaluated; see bench/gates.json.",
    ),
)
BENCH_RULES = (
    Rule("bench.{device}.fetched_bytes", "bench/{device}.json", fetched_bytes, _own),
    Rule("bench.{device}.peak_memory_bytes", "bench/{device}.json", peak_memory_bytes, _own),
    *_timing_rules("bench.{device}", "bench/{device}.json", _own),
)
RULES = (*GATE_RULES, *BENCH_RULES)
REMOTE_RULES = _timing_rules("remote.{number}.{device}", "remote/{number}.json", _others)

"""Bench: the packaged model in headless Chromium, once per device, with the worker the chat page ships."""

import json
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.bench import gates
from tinsmith.bench.timing import TimedRun, decode_tokens_per_second, first_token_seconds, median_and_range
from tinsmith.browser import Browser
from tinsmith.browser_page import BrowserError, Page
from tinsmith.chat import Conversation, Message, read_jsonl
from tinsmith.config import BenchConfig
from tinsmith.device import cpu_name, os_name
from tinsmith.errors import DataError
from tinsmith.measure import Recorder, StageResult
from tinsmith.onnx_decoder import ONNX_F16_FILE, ONNX_FILE, ONNX_INT8_FILE, ONNX_UNPACKED_FILE, load_onnx
from tinsmith.run_dir import write_json
from tinsmith.serve import SiteServer, web_dir, write_runtime
from tinsmith.tokens import load_tokenizer

_GREEDY_PROMPTS = 5
_GRAPHS = {"q4": ONNX_FILE, "q4f16": ONNX_F16_FILE, "q8": ONNX_INT8_FILE}
_FETCHED = {**_GRAPHS, "q8": ONNX_UNPACKED_FILE}
"""What the page takes in their place; the export stage proves that both compute with the same numbers."""
_GREEDY_TOKENS = 32
_TIE_LOGITS = 0.5
"""In INT8 a last bit of a sum decides which way an activation is rounded, and machines sum in different orders."""
_TIMING = "tinsmith.bench.timing"


def bench_browser(config: BenchConfig, data_dir: Path, export_dir: Path, out_dir: Path) -> StageResult:
    """Measure every device of `config.devices` and write `<device>.json` for each, and the gates' `gates.json`.

    A device this machine does not have leaves a record with the reason and no number.

    Raises:
        GateError: the browser tokenizes or answers differently from Python.
        BrowserError: the page fails, or takes longer than `config.timeout_seconds`.
        DataError: there is no test conversation to ask.
    """
    package_dir = export_dir / "package"
    conversations = read_jsonl(data_dir / "test.jsonl")
    if not conversations:
        raise DataError("no test conversation to ask the browser", "Check the split in data/report.json.")
    recorder, summary = Recorder(), []
    with _site(package_dir) as server:
        for device in config.devices:
            session = _Session(config, device, server.origin, conversations)
            if device == "wasm":
                summary += _bench_wasm(session, recorder, package_dir, out_dir)
            else:
                summary += _bench_webgpu(session, recorder, out_dir)
    return StageResult(tuple(recorder.measurements), tuple(summary))


@contextmanager
def _site(package_dir: Path):
    """The bench page, its runtime and the package, as the chat page's host would serve them."""
    with tempfile.TemporaryDirectory(prefix="tinsmith-runtime-") as runtime:
        write_runtime(Path(runtime))
        with SiteServer({"/": web_dir(), "/runtime/": Path(runtime), "/model/": package_dir}) as server:
            yield server


@dataclass(frozen=True, slots=True)
class _Session:
    """What one device's benchmark needs to know."""

    config: BenchConfig
    device: str
    origin: str
    conversations: list[Conversation]


class _BenchPage:
    """bench.html in one tab, with one deadline for everything asked of it."""

    def __init__(self, browser: Browser, session: _Session):
        self._deadline = time.monotonic() + session.config.timeout_seconds
        self.page: Page = browser.open(f"{session.origin}/bench.html")
        self.page.wait_for("globalThis.bench", self._left())

    def load(self, device: str) -> dict[str, Any]:
        """The worker's `ready` reply with `seconds`; fails if the device is another than asked for."""
        ready = self._ask("load", {"modelUrl": "./model/", "device": device})
        if ready["device"] != device:
            raise BrowserError(f"asked for {device} but the model runs on {ready['device']}: {ready['notice']}")
        return ready

    def generate(self, messages: tuple[Message, ...], tokens: int, exactly: bool) -> dict[str, Any]:
        """The worker's `done` reply; `exactly` keeps end tokens away so that `tokens` are made."""
        return self._ask("generate", {"messages": _plain(messages), "maxNewTokens": tokens,
                                      "minNewTokens": tokens if exactly else 0})

    def tokenize(self, conversations: list[Conversation]) -> list[list[int]]:
        """Ids of every conversation by the package's own chat template in Transformers.js."""
        return self._ask("tokenize", [conversation.as_dicts() for conversation in conversations])

    def check_clean(self) -> None:
        """Raise if the page or its workers threw or logged an error, or fetched from anywhere else."""
        problems = [*self.page.exceptions, *(text for kind, text in self.page.console if kind == "error")]
        if problems:
            raise BrowserError(f"the page reported {len(problems)} errors, the first: {problems[0]}")

    def _ask(self, name: str, argument: Any) -> Any:
        return self.page.evaluate(f"bench.{name}({json.dumps(argument)})", self._left())

    def _left(self) -> float:
        return max(1.0, self._deadline - time.monotonic())


def _bench_wasm(session: _Session, recorder: Recorder, package_dir: Path, out_dir: Path) -> list[str]:
    with Browser(webgpu="none") as browser:
        bench = _BenchPage(browser, session)
        summary, graph = _measure(session, bench, browser, recorder, session.config.new_tokens, out_dir)
        _gate_tokens_and_answers(session, bench, recorder, package_dir / graph, out_dir)
        bench.check_clean()
    return summary


def _bench_webgpu(session: _Session, recorder: Recorder, out_dir: Path) -> list[str]:
    """On the machine's adapter, else on a software one; without either, a record that says so."""
    for mode in ("auto", "software"):
        with Browser(webgpu=mode) as browser:
            bench = _BenchPage(browser, session)
            if not bench.page.evaluate("navigator.gpu?.requestAdapter().then(Boolean) ?? false"):
                continue
            summary, _ = _measure(session, bench, browser, recorder, session.config.new_tokens, out_dir)
            bench.check_clean()
            return summary
    reason = f"{browser.version} on this machine offers no WebGPU adapter, not even a software one"
    write_json(out_dir / f"{session.device}.json", {"device": session.device, "not_measured": reason})
    return [f"{session.device}: not measured ({reason})"]


def _measure(
    session: _Session, bench: _BenchPage, browser: Browser, recorder: Recorder, new_tokens: int, out_dir: Path
) -> tuple[list[str], str]:
    """Cold load, warm-up and timed runs; writes the record, records the numbers, and returns the graph that ran too."""
    from tqdm import tqdm

    device, config = session.device, session.config
    ready = bench.load(device)
    software = bool(ready["adapter"] and ready["adapter"]["software"])
    if software:
        new_tokens = config.software_new_tokens
    prompt = gates.first_prompt(session.conversations[0])
    runs = []
    for number in tqdm(range(config.warmup_runs + config.runs), f"{device}: {new_tokens} tokens", unit="run"):
        done = bench.generate(prompt, new_tokens, exactly=True)
        if len(done["tokenIds"]) != new_tokens:
            raise BrowserError(f"{device}: asked for {new_tokens} tokens, got {len(done['tokenIds'])}")
        if number >= config.warmup_runs:
            runs.append(TimedRun(done["askedAt"], tuple(done["times"]), done["promptTokens"]))
    files = _fetched_files(bench.page, session.origin, _FETCHED[ready["dtype"]])
    record = _record(device, ready, browser, software) | {
        "files": files, "prompt_tokens": runs[0].prompt_tokens, "new_tokens": new_tokens,
        "load_seconds": ready["seconds"],
        "runs": [{"asked_ms": 0.0, "token_ms": [t - run.asked_ms for t in run.token_ms]} for run in runs],
    }  # fmt: skip
    write_json(out_dir / f"{device}.json", record)
    return [_record_numbers(recorder, device, ready, runs, files, software)], _GRAPHS[ready["dtype"]]


def _record_numbers(
    recorder: Recorder, device: str, ready: dict, runs: list[TimedRun], files: list[dict], software: bool
) -> str:
    raw = f"bench/{device}.json"
    first, first_range = median_and_range(runs, first_token_seconds)
    speed, speed_range = median_and_range(runs, decode_tokens_per_second)

    def add(name: str, value: float, unit: str, count: int, count_of: str, method: str, **more: Any) -> None:
        recorder.add(f"bench.{device}.{name}", value, unit, count, count_of, method, raw=raw, **more)

    add("load_seconds", ready["seconds"], "seconds", 1, "cold loads", "from creating the worker to its ready")
    add("first_token_seconds", first, "seconds", len(runs), "runs", f"{_TIMING}.first_token_seconds", spread=first_range)
    add("decode_tokens_per_second", speed, "tokens/s", len(runs), "runs", f"{_TIMING}.decode_tokens_per_second",
        spread=speed_range)
    add("threads", ready["threads"], "count", 1, "settings", "the worker's own report")
    add("prompt_tokens", runs[0].prompt_tokens, "count", 1, "prompts", "length of the model's input")
    add("new_tokens", len(runs[0].token_ms), "count", len(runs), "runs", "length of the model's output")
    add("fetched_bytes", sum(file["bytes"] for file in files), "bytes", len(files), "files",
        "bytes received by the browser's network stack until the last run, headers included")
    label = "WebGPU on a software adapter, not a GPU" if software else device
    return f"{label}: first token {first:.2f} s, then {speed:.1f} tokens/s (median of {len(runs)} runs)"


def _record(device: str, ready: dict[str, Any], browser: Browser, software: bool) -> dict[str, Any]:
    return {
        "device": device, "backend": ready["device"], "dtype": ready["dtype"], "adapter": ready["adapter"], "software": software,
        "browser": browser.version, "os": os_name(), "cpu": cpu_name(),
        "threads": ready["threads"], "cross_origin_isolated": ready["crossOriginIsolated"],
        "runtime": ready["versions"],
    }  # fmt: skip


def _fetched_files(page: Page, origin: str, graph: str) -> list[dict[str, Any]]:
    """Everything the browser received: `{path, bytes}`, largest first.

    Raises:
        BrowserError: the packaged model is not among it, or something came from another origin.
    """
    elsewhere = [fetched.url for fetched in page.requests if not fetched.url.startswith(f"{origin}/")]
    if elsewhere:
        raise BrowserError(f"the page asked another host: {elsewhere[0]}", "Nothing may leave the device.")
    sizes: dict[str, int] = {}
    for fetched in page.requests:
        path = fetched.url[len(origin) + 1 :].partition("?")[0]
        sizes[path] = sizes.get(path, 0) + fetched.size_bytes
    if not any(path == f"model/{graph}" and size for path, size in sizes.items()):
        raise BrowserError(f"the browser never fetched {graph}; it fetched {', '.join(sizes)}")
    return [{"path": path, "bytes": size} for path, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))]


def _gate_tokens_and_answers(
    session: _Session, bench: _BenchPage, recorder: Recorder, graph_path: Path, out_dir: Path
) -> None:
    """Record both gates; the evidence is written before either can stop the run."""
    from tqdm import tqdm

    tokenizer = load_tokenizer(graph_path.parent.parent)
    different = gates.token_differences(session.conversations, tokenizer, bench.tokenize(session.conversations))
    decoder = load_onnx(graph_path)
    comparisons = []
    for conversation in tqdm(session.conversations[:_GREEDY_PROMPTS], "greedy answers, browser and Python", unit="prompt"):
        prompt = gates.first_prompt(conversation)
        browser_ids = bench.generate(prompt, _GREEDY_TOKENS, exactly=False)["tokenIds"]
        python = gates.onnxruntime_greedy(
            decoder, tokenizer.encode_prompt(prompt), tokenizer.end_ids, _GREEDY_TOKENS
        )
        tie = _TIE_LOGITS if graph_path.name == Path(ONNX_INT8_FILE).name else 0.0
        comparisons.append(gates.greedy_comparison(conversation.id, python, browser_ids, tie))
    write_json(out_dir / "gates.json", {"token_differences": different, "greedy": comparisons})
    raw = "bench/gates.json"
    recorder.gate(
        "gate.tokens.python_vs_javascript", len(different), "==", 0, "conversations that differ",
        len(session.conversations), "conversations", "tinsmith.bench.gates.token_differences",
        "The browser would feed the model other tokens than it was trained on; see token_differences.", raw,
    )  # fmt: skip
    recorder.gate(
        f"gate.greedy.{session.device}_vs_onnxruntime", sum(c["differs"] for c in comparisons), "==", 0,
        "prompts that differ", len(comparisons), "prompts", "tinsmith.bench.gates.greedy_comparison",
        "The browser's kernels do not compute what was evaluated; see first_difference and top2_gap_there.", raw,
    )  # fmt: skip


def _plain(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]

"""Run the bench stage: measure the package in headless Chromium on each device, with the chat page's own worker."""

import json
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinsmith.bench import gates
from tinsmith.bench.numbers import record_of, speed_line
from tinsmith.bench.plan import plan
from tinsmith.browser.chromium import Browser
from tinsmith.browser.page import BrowserError, Page
from tinsmith.browser.runtime import WEB_DIR, write_runtime
from tinsmith.browser.serve import SiteServer
from tinsmith.core.config import BenchConfig
from tinsmith.core.device import cpu_name, os_name
from tinsmith.core.errors import DataError
from tinsmith.core.measure import Recorder
from tinsmith.core.run_dir import write_json
from tinsmith.core.scratch import scratch_folder
from tinsmith.core.stage_context import StageContext, Summary
from tinsmith.derive.bench import BENCH_RULES, GATE_RULES
from tinsmith.derive.files import Files
from tinsmith.derive.rules import record
from tinsmith.model.conversations import Conversation, Conversations, read_jsonl
from tinsmith.model.onnx_decoder import load_onnx
from tinsmith.model.package_format import DECODER_PLAN_FILE, GRAPHS, Graph
from tinsmith.model.reference import reference_answer
from tinsmith.model.tokens import load_tokenizer

_COMPARED_PROMPTS = 5
_COMPARED_TOKENS = 32
_GRAPHS = {graph.id: graph for graph in GRAPHS}
_TOKENIZED_AT_ONCE = 500
"""Conversations in one message to the page."""
_POLL_SECONDS = 0.5


def bench_browser(
    config: BenchConfig, data_dir: Path, export_dir: Path, out_dir: Path, context: StageContext
) -> Summary:
    """Measure every device of `config.devices`, and write `<device>.json` for each and `gates.json`.

    The record of a device that this machine lacks contains the reason instead of numbers.

    Raises:
        GateError: the browser tokenizes or answers differently from Python.
        BrowserError: the page fails, or takes longer than `config.timeout_seconds`.
        DataError: the test split is empty.
    """
    package_dir = export_dir / "package"
    conversations = read_jsonl(data_dir / "test.jsonl")
    if not conversations:
        raise DataError(
            "the test split is empty, so there is no question for the browser", "Check the split in data/report.json."
        )
    summary = []
    with _site(package_dir) as server:
        for device in config.devices:
            session = _Session(config, device, server.origin, package_dir, conversations, out_dir)
            summary.append((_bench_wasm if device == "wasm" else _bench_webgpu)(session, context.recorder))
    record(context.recorder, BENCH_RULES, Files.of_stage("bench", out_dir))
    return tuple(summary)


@contextmanager
def _site(package_dir: Path) -> Generator[SiteServer]:
    """Serve the bench page, its runtime and the package the way a host serves the chat page."""
    with scratch_folder("tinsmith-runtime-") as runtime:
        write_runtime(runtime)
        with SiteServer({"/": WEB_DIR, "/runtime/": runtime, "/model/": package_dir}) as server:
            yield server


@dataclass(frozen=True, slots=True)
class _Session:
    """The input of one device's benchmark."""

    config: BenchConfig
    device: str
    origin: str
    package_dir: Path
    conversations: Conversations
    out_dir: Path


class _BenchPage:
    """bench.html in one tab, with a single deadline for all of its work."""

    def __init__(self, browser: Browser, session: _Session) -> None:
        self._deadline = time.monotonic() + session.config.timeout_seconds
        self._origin = session.origin
        self.page: Page = browser.open(f"{session.origin}/bench.html")
        self.page.wait_for("globalThis.bench", self._seconds_left())

    def run(self, phase: str, plan: dict[str, Any], *more: Any) -> dict[str, Any]:
        """Run the page's `measure` or `reload` with a progress bar, and return its result."""
        from tqdm import tqdm

        arguments = json.dumps([plan, *more])
        self.page.evaluate(
            f"void (globalThis.result = bench.{phase}(...{arguments}).finally(() => (result.isSettled = true)))"
        )
        with tqdm(desc=f"{plan['device']}: {phase}", unit="run") as bar:
            while not self.page.evaluate("!!result.isSettled", self._seconds_left()):
                bar.total, bar.n = (self.page.evaluate(f"bench.progress.{key}") for key in ("total", "done"))
                bar.refresh()
                if time.monotonic() > self._deadline:
                    raise BrowserError(
                        f"{plan['device']}: not measured within bench.timeout_seconds", "Raise it in the configuration."
                    )
                time.sleep(_POLL_SECONDS)
            bar.n = bar.total or 0
        return self.page.evaluate("result", self._seconds_left())

    def compare(self, reference: dict[str, Any]) -> float:
        """Distance between the logits of the loaded graph and `reference`, as `web/reference.js` defines it."""
        return self._call("compare", reference)

    def tokenize(self, conversations: Sequence[Conversation]) -> Iterator[list[int]]:
        """Token ids of each conversation from Transformers.js, with the package's chat template."""
        for start in range(0, len(conversations), _TOKENIZED_AT_ONCE):
            batch = conversations[start : start + _TOKENIZED_AT_ONCE]
            yield from self._call("tokenize", [conversation.as_dicts() for conversation in batch])

    def check_clean(self) -> None:
        """Raise if the page or its workers threw or logged an error, or sent a request to another host."""
        _refuse_other_hosts(self.page, self._origin)
        problems = [*self.page.exceptions, *(text for kind, text in self.page.console if kind == "error")]
        if problems:
            raise BrowserError(f"the page reported {len(problems)} errors, the first: {problems[0]}")

    def _call(self, name: str, argument: Any) -> Any:
        return self.page.evaluate(f"bench.{name}({json.dumps(argument)})", self._seconds_left())

    def _seconds_left(self) -> float:
        return max(1.0, self._deadline - time.monotonic())


def _bench_wasm(session: _Session, recorder: Recorder) -> str:
    with Browser(webgpu="none") as browser:
        return _measure(session, _BenchPage(browser, session), browser, recorder)


def _bench_webgpu(session: _Session, recorder: Recorder) -> str:
    """Measure on the machine's adapter, or else on a software one. Without either, write a record that says so."""
    for mode in ("auto", "software"):
        with Browser(webgpu=mode) as browser:
            bench = _BenchPage(browser, session)
            if bench.page.evaluate("navigator.gpu?.requestAdapter().then(Boolean) ?? false"):
                return _measure(session, bench, browser, recorder)
    return _not_measured(
        session, f"{browser.version} on this machine offers no WebGPU adapter, not even a software one"
    )


def _not_measured(session: _Session, reason: str) -> str:
    """Write a record that says why a device has no numbers."""
    write_json(session.out_dir / f"{session.device}.json", {"device": session.device, "not_measured": reason})
    return f"{session.device}: not measured ({reason})"


def _measure(session: _Session, bench: _BenchPage, browser: Browser, recorder: Recorder) -> str:
    """Measure, write the record and its numbers, and on WASM compare tokens and logits with Python's."""
    device = session.device
    device_plan = plan(session.config, session.package_dir, session.conversations, device)
    measured = bench.run("measure", device_plan)
    ready = measured["ready"]
    if ready["device"] != device:
        # A software adapter is correct, so the package or reference is wrong.
        if (ready["adapter"] or {}).get("software"):
            raise BrowserError(f"{device}: the model runs on {ready['device']} instead: {ready['notice']}")
        return _not_measured(session, ready["notice"])
    graph = _GRAPHS[ready["graph"]]
    peak_bytes = browser.peak_memory_bytes()
    program = DECODER_PLAN_FILE if ready["engine"] == "own" else graph.file
    files = _fetched_files(bench.page, session.origin, program)
    if device == "wasm":
        _gate_tokens_and_logits(session, bench, recorder, graph)
    description = record_of(device, measured, bench.run("reload", device_plan, measured)) | {
        "browser": browser.version,
        "os": os_name(),
        "cpu": cpu_name(),
        "peak_memory_bytes": peak_bytes,
        "files": files,
    }
    bench.check_clean()
    write_json(session.out_dir / f"{device}.json", description)
    return speed_line(description)


def _fetched_files(page: Page, origin: str, program: str) -> list[dict[str, Any]]:
    """Everything the browser received, as `{path, bytes}`, largest first.

    Raises:
        BrowserError: it never fetched `program`, the graph or plan that it ran, or it fetched something from another
            origin.
    """
    _refuse_other_hosts(page, origin)
    sizes: dict[str, int] = {}
    for request in page.requests:
        path = request.url[len(origin) + 1 :].partition("?")[0]
        sizes[path] = sizes.get(path, 0) + request.size_bytes
    if not any(path == f"model/{program}" and size for path, size in sizes.items()):
        raise BrowserError(f"the browser never fetched {program}; it fetched {', '.join(sizes)}")
    return [{"path": path, "bytes": size} for path, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))]


def _refuse_other_hosts(page: Page, origin: str) -> None:
    others = [request.url for request in page.requests if not request.url.startswith(f"{origin}/")]
    if others:
        raise BrowserError(f"the page sent a request to another host: {others[0]}", "Nothing may leave the device.")


def _gate_tokens_and_logits(session: _Session, bench: _BenchPage, recorder: Recorder, graph: Graph) -> None:
    """Check both gates. Write the evidence first, so that it remains if a gate stops the run."""
    from tqdm import tqdm

    assert graph.max_browser_error is not None  # true of every graph that pages load
    tokenizer = load_tokenizer(session.package_dir)
    differences = gates.token_differences(session.conversations, tokenizer, bench.tokenize(session.conversations))
    decoder = load_onnx(session.package_dir / graph.file)
    comparisons: list[dict[str, Any]] = []
    for conversation in tqdm(session.conversations[:_COMPARED_PROMPTS], "logits, browser and Python", unit="prompt"):
        prompt_ids = tokenizer.encode_prompt(gates.first_prompt(conversation))
        reference = reference_answer(decoder, prompt_ids, tokenizer.end_ids, _COMPARED_TOKENS)
        disagreement = bench.compare(reference)
        comparisons.append(
            {"conversation": conversation.id, "token_ids": reference["token_ids"], "disagreement": disagreement}
        )
    evidence = {
        "device": session.device,
        "graph": graph.id,
        "conversations": len(session.conversations),
        "token_differences": differences,
        "logits": comparisons,
    }
    write_json(session.out_dir / "gates.json", evidence)
    record(recorder, GATE_RULES, Files.of_stage("bench", session.out_dir))

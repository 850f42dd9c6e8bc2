"""The card's rows about browsers: what ran the model, how fast, and why something was not measured."""

from dataclasses import dataclass
from typing import Any

from tinsmith.card.facts import Facts, plain, words
from tinsmith.derive.bench import ENGINES

Row = dict[str, str]

_TITLES = {"webgpu": "WebGPU", "wasm": "WASM"}
SHOWN_ROWS = 4
"""Rows of the two-minute card; EVIDENCE.md has all of them."""


@dataclass(frozen=True, slots=True)
class _Browser:
    """One backend of one browser, measured or not."""

    id: str
    """Prefix of its measurement ids, such as `bench.wasm` or `remote.1.wasm`."""
    stage: str
    """`bench` for this machine, `remote` for a device that sent a result."""
    file: str
    """Record of the stage that describes it."""
    record: dict[str, Any]

    @property
    def backend(self) -> str:
        return self.id.rpartition(".")[2]

    @property
    def title(self) -> str:
        return _TITLES[self.backend]

    @property
    def is_remote(self) -> bool:
        return self.stage == "remote"

    @property
    def is_software(self) -> bool:
        """Whether its GPU is emulated in software."""
        return bool(self.record.get("software"))


def _browsers(facts: Facts) -> list[_Browser]:
    """This machine's backends, then those of each device that sent a result."""
    browsers = [
        _Browser(
            f"bench.{backend}", "bench", f"{backend}.json", facts.evidence.record("bench", f"{backend}.json") or {}
        )
        for backend in _TITLES
    ]
    for file in sorted(facts.evidence.files("remote", ".json"), key=lambda name: int(name.partition(".")[0])):
        device = facts.evidence.record("remote", file)
        number = file.partition(".")[0]
        described = {key: device.get(key) for key in ("name", "browser", "os")}
        browsers += [
            _Browser(f"remote.{number}.{backend}", "remote", file, {**device["backends"][backend], **described})
            for backend in _TITLES
            if device["backends"].get(backend)
        ]
    return browsers


def browser_rows(facts: Facts) -> list[Row]:
    """One row per backend: its device and speed, or why it was not measured. Emulated GPUs come last."""
    return [_row(facts, browser) for browser in sorted(_browsers(facts), key=lambda browser: browser.is_software)]


def summary_rows(facts: Facts) -> list[Row]:
    """The first rows, measured ones first. An emulated GPU counts as none, because its speed says nothing about one."""
    rows = [
        {"device": _no_gpu(facts), "backend": browser.title, "speed": "Not measured"}
        if browser.is_software
        else _row(facts, browser)
        for browser in _browsers(facts)
    ]
    rows.sort(key=lambda row: row["speed"] == "Not measured")
    more = {
        "device": f"{len(rows) - SHOWN_ROWS} more in the [evidence](EVIDENCE.md#speed-in-browsers)",
        "backend": "",
        "speed": "",
    }
    return [*rows[:SHOWN_ROWS], more] if len(rows) > SHOWN_ROWS else rows


def _no_gpu(facts: Facts) -> str:
    return f"This machine has no GPU; type `tinsmith bench {facts.run_path} --remote --lan`, and open the page on one"


def speeds(facts: Facts) -> list[tuple[str, str]]:
    """Name and measurement id of every decoding speed, emulated GPUs left out."""
    measured = [
        (browser, f"{browser.id}.decode_tokens_per_second") for browser in _browsers(facts) if not browser.is_software
    ]
    return [(_short_name(browser), id) for browser, id in measured if facts.has(id)]


def _short_name(browser: _Browser) -> str:
    name = browser.record["name"] if browser.is_remote else browser.record.get("cpu") or "this machine"
    return plain(f"{name}, {browser.title}")


def _row(facts: Facts, browser: _Browser) -> Row:
    speed = f"{browser.id}.decode_tokens_per_second"
    row = {"backend": browser.title, "n": facts.rests_on(speed)}
    if facts.has(speed):
        return row | {
            "device": _device(facts, browser),
            "speed": facts.cell(speed),
            "first": facts.cell(f"{browser.id}.first_token_seconds"),
            "load": _load(facts, browser),
        }
    if browser.is_remote:
        text = f"{browser.record['name']}: {browser.record['not_measured']}"
        device = facts.recorded_value("remote", browser.file, f"backends.{browser.backend}", text)
    else:
        device = facts.cell(speed)
    return row | {"device": device, "speed": "Not measured", "first": "", "load": ""}


def _device(facts: Facts, browser: _Browser) -> str:
    """Such as `Pixel 9, Adreno 750, Chrome 150, Android`."""
    record = browser.record
    parts = [record["name"]] if browser.is_remote else []
    gpu = _gpu(record) if browser.backend == "webgpu" else ""
    if gpu or not browser.is_remote:
        parts.append(gpu or record.get("cpu") or "processor not recorded")
    if browser.is_software:
        parts.append("software adapter, not a GPU: its speed says nothing about one")
    if browser.backend == "wasm" and record.get("threads"):
        parts.append(f"{record['threads']} thread" + ("s" if record["threads"] != 1 else ""))
    if browser.backend == "webgpu":
        parts.append(ENGINES[record["engine"]])
    parts += [record.get(key) or f"{key} not recorded" for key in ("browser", "os")]
    key = f"device.{browser.backend}" if browser.is_remote else "device"
    return facts.recorded_value(browser.stage, browser.file, key, parts)


def _gpu(record: dict[str, Any]) -> str:
    """The browser's description of its graphics adapter, without repeated parts."""
    adapter = record.get("adapter") or {}
    parts = (adapter.get(key) for key in ("vendor", "architecture", "device", "description"))
    return words(list(dict.fromkeys(filter(None, parts))))


def _load(facts: Facts, browser: _Browser) -> str:
    """Time of the first load, and of a load from the browser's storage if that was measured."""
    first, again = (f"{browser.id}.{key}" for key in ("load_seconds", "warm_load_seconds"))
    return f"{facts.value(first)}, again {facts.value(again)}" if facts.has(again) else facts.value(first)


def performance(facts: Facts) -> str:
    """What to expect without WebGPU, with the speeds of the first device that measured both a GPU and WASM."""
    text = "Slower on devices without WebGPU support"
    for browser in _browsers(facts):
        device = browser.id.rpartition(".")[0]
        webgpu, wasm = (f"{device}.{backend}.decode_tokens_per_second" for backend in _TITLES)
        if browser.backend != "webgpu" or browser.is_software or not (facts.has(webgpu) and facts.has(wasm)):
            continue
        where = "here"
        if browser.is_remote:
            where = f"on {facts.recorded_value('remote', browser.file, 'name', browser.record['name'])}"
        measurements = facts.evidence.measurements
        if measurements[webgpu].value <= measurements[wasm].value:
            text += " in general, but not in this measurement"
        return f"{text}: {where} WebGPU decoded {facts.value(webgpu)}, WASM {facts.value(wasm)}"
    return (
        f"{text}. By how much was not measured, because no device ran it both ways: type "
        f"`tinsmith bench {facts.run_path} --remote --lan`"
    )


def prompt_rows(facts: Facts) -> list[Row]:
    """One row per backend and prompt length, beside the rows for the first test question."""
    rows = []
    for browser in _browsers(facts):
        lengths = [prompt["name"] for prompt in browser.record.get("prompts", []) if prompt["name"].isdecimal()]
        title = [browser.record["name"], browser.title] if browser.is_remote else [browser.title]
        for length in lengths:
            first, reading, decoding, tokens = (
                f"{browser.id}.{key}.{length}"
                for key in (
                    "first_token_seconds",
                    "prefill_tokens_per_second",
                    "decode_tokens_per_second",
                    "prompt_tokens",
                )
            )
            if not facts.has(first):
                continue
            rows.append(
                {
                    "backend": facts.recorded_value(browser.stage, browser.file, f"prompts.{browser.backend}", title),
                    "tokens": facts.value(tokens),
                    "first": facts.cell(first),
                    "reading": facts.cell(reading),
                    "decoding": facts.cell(decoding),
                    "n": facts.rests_on(first),
                }
            )
    return rows


def placements(facts: Facts) -> list[Row]:
    """Where this machine's browser ran the nodes of each backend's graph."""
    rows = []
    for browser in _browsers(facts):
        if browser.is_remote or not browser.record.get("placement"):
            continue
        counts = [
            f"{count} on {provider.removesuffix('ExecutionProvider')}"
            for provider, count in browser.record["placement"].items()
        ]
        nodes = facts.recorded_value(browser.stage, browser.file, "placement", counts)
        rows.append({"backend": browser.title, "nodes": nodes})
    return rows

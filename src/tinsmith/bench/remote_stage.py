"""Run the remote stage: turn results that other devices sent for this package into records and measurements."""

import re
from pathlib import Path
from typing import Any

from tinsmith.bench.numbers import record_of, speed_line
from tinsmith.bench.remote_result import RemoteResult, read_results
from tinsmith.core.run_dir import file_sha256, write_json
from tinsmith.core.stage_context import StageContext, Summary
from tinsmith.derive.bench import REMOTE_RULES
from tinsmith.derive.files import Files
from tinsmith.derive.rules import record

_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("FxiOS", "Firefox"),
    ("Firefox", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Version", "Safari"),
)
"""Token in a user agent -> browser. The most specific come first, because most browsers also name others."""

_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone|iPad", "iOS"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def record_results(export_dir: Path, received_dir: Path, out_dir: Path, context: StageContext) -> Summary:
    """Write `<number>.json` for every result in `received_dir` that was measured with the package in `export_dir`.

    Raises:
        ArtifactError: a result no longer matches its device's signature.
    """
    package = file_sha256(export_dir / "package" / "SHA256SUMS")
    results = read_results(received_dir)
    current = [(received_at, result) for received_at, result in results if result.package == package]
    summary = []
    for number, (received_at, result) in enumerate(current, start=1):
        device, lines = _device(received_at, result)
        write_json(out_dir / f"{number}.json", device)
        summary += [f"{result.name}, {line}" for line in lines]
    record(context.recorder, REMOTE_RULES, Files.of_stage("remote", out_dir))
    if len(results) > len(current):
        summary.append(f"{len(results) - len(current)} results were measured with another package and are left out")
    return tuple(summary or ["no other device has sent results"])


def _device(received_at: str, result: RemoteResult) -> tuple[dict[str, Any], list[str]]:
    """One device's record, and one line for each backend."""
    browser, system = browser_and_system(result.userAgent)
    records, lines = {}, []
    for backend in result.backends:
        name, parts = backend.asked, backend.model_dump()
        ready = parts["measured"]["ready"]
        if ready["device"] != name:
            records[name] = {"device": name, "not_measured": ready["notice"] or f"it ran on {ready['device']}"}
            continue
        records[name] = record_of(name, parts["measured"], parts["reloaded"])
        lines.append(speed_line(records[name]))
    description = {
        "name": result.name,
        "received_at": received_at,
        "browser": browser,
        "os": system,
        "user_agent": result.userAgent,
        "cores": result.cores,
        "backends": records,
    }
    return description, lines


def browser_and_system(user_agent: str) -> tuple[str, str]:
    """Browser and operating system in a user agent, such as `("Firefox 140", "Android")`; empty strings if unknown."""
    browser = ""
    for token, name in _BROWSERS:
        if version := re.search(rf"\b{token}/(\d+)", user_agent):
            browser = f"{name} {version[1]}"
            break
    return browser, next((name for token, name in _SYSTEMS if re.search(token, user_agent)), "")

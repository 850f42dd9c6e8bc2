"""`tinsmith bench`: repeat the browser benchmark, here or on other devices."""

import sys
import threading
import time
from pathlib import Path

from tinsmith.commands.existing_run import config_of, existing_run, require_stage
from tinsmith.commands.run import RunOptions, run_and_report
from tinsmith.commands.terminal import say, show
from tinsmith.core.errors import UserError
from tinsmith.core.run_dir import RunDir

_OPEN = (
    "This page is open to the local network: whoever has its address can download the model and send one result.\n"
    "The browser will warn about an unknown certificate, because this command has just created it. Before you accept\n"
    "it, have the browser show the certificate, and compare its SHA-256 fingerprint with this one:\n\n"
    "  {fingerprint}\n\n"
    "Chrome and Edge: tap the warning sign, then the certificate's details. Firefox: Advanced, then View Certificate.\n"
    "Safari: Show Details, then view the certificate. If they differ, someone else answers: leave the page.\n"
)
_CLOSED = "This page is open to browsers on this machine only; --lan lets in a phone or laptop on the local network."
_SERVED = (
    "This serves the model ({package_dir}, {size_mb:.0f} MB) and a page that times it. The page's prompts are fixed:\n"
    "it contains no text from your conversations. The model itself may repeat what it was trained on."
)


def bench(run_path: Path, is_remote: bool, is_open: bool, port: int, minutes: int) -> None:
    """Repeat a run's benchmark, and update its card and chat page.

    Args:
        run_path: The run's folder.
        is_remote: Serve a page that runs the benchmark in other browsers, instead of starting one here.
        is_open: With `is_remote`, open the page to the local network.
        port: With `is_remote`, port of the page; 0 picks a free one.
        minutes: With `is_remote`, close the page after this many minutes.

    Raises:
        UserError: the options do not go together, or the run has not finished.
    """
    run = existing_run(run_path)
    if not is_remote:
        if is_open or port:
            raise UserError("--lan and --port go with --remote", "Add --remote, or leave them out.")
        run_and_report(config_of(run), run, RunOptions(first="bench", last="app", force=True))
    elif _receive_results(run, is_open, port, minutes):
        run_and_report(config_of(run), run, RunOptions(first="remote", last="app"))
    else:
        say("No results arrived; nothing was changed.")


def _in_two_lines(fingerprint: str) -> str:
    return f"{fingerprint[:48]}\n  {fingerprint[48:]}"


def _size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _receive_results(run: RunDir, is_open: bool, port: int, minutes: int) -> int:
    """Serve the page until Ctrl-C or the time limit, and return the number of results."""
    import segno

    from tinsmith.bench.plan import plan
    from tinsmith.bench.remote_result import RemoteResult
    from tinsmith.bench.remote_server import RemoteBench
    from tinsmith.model.conversations import read_jsonl

    require_stage(run, "bench", "there is no benchmark yet")
    package_dir = run.stage("export") / "package"
    conversations = read_jsonl(run.stage("data") / "test.jsonl")
    device_plan = plan(config_of(run).bench, package_dir, conversations, device="auto")
    names: list[str] = []
    has_arrived = threading.Event()

    def on_result(result: RemoteResult) -> None:
        names.append(result.name)
        has_arrived.set()

    say(_SERVED.format(package_dir=package_dir, size_mb=_size_mb(package_dir)))
    with RemoteBench(device_plan, package_dir, run.received, is_open, port, on_result) as server:
        say(_OPEN.format(fingerprint=_in_two_lines(server.fingerprint)) if server.is_open else _CLOSED)
        say(f"It closes after {minutes} minutes, or with Ctrl-C.\n")
        deadline = time.monotonic() + 60 * minutes
        try:
            while (seconds_left := deadline - time.monotonic()) > 0:
                show(server.url)
                if server.is_open and sys.stderr.isatty():
                    segno.make(server.url, error="l").terminal(out=sys.stderr, compact=True)
                if has_arrived.wait(seconds_left):
                    has_arrived.clear()
                    say(f"Received: {names[-1]}. For another device, open the new address:")
        except KeyboardInterrupt:
            say()
    return len(names)

"""`tinsmith bench`: the browser benchmark again, here or in other browsers."""

import sys
import threading
import time
from pathlib import Path

import click

from tinsmith.commands.existing_run import config_of, existing_run, require_stage
from tinsmith.commands.run import run_and_report
from tinsmith.core.errors import UserError
from tinsmith.core.run_dir import RunDir

_OPEN = (
    "This page is open to the local network: whoever has its address can download the model and send one result.\n"
    "The browser will warn of an unknown certificate, made just now by this command; go on from there."
)
_CLOSED = "This page is open to browsers on this machine only; --lan lets in a phone or laptop on the local network."


def bench(run_path: Path, is_remote: bool, is_open: bool, port: int, minutes: int) -> None:
    """Measure a run again, and renew its card and page.

    Args:
        is_remote: Serve a page that other browsers run, instead of starting one here.
        is_open: With `is_remote`, to the local network.

    Raises:
        UserError: options that do not go together, or no finished run.
    """
    run = existing_run(run_path)
    if not is_remote:
        if is_open or port:
            raise UserError("--lan and --port go with --remote", "Add --remote, or leave them out.")
        run_and_report(config_of(run), run.root.parent, "bench", "app", force=True)
    elif _receive_results(run, is_open, port, minutes):
        run_and_report(config_of(run), run.root.parent, "remote", "app")
    else:
        click.echo("No result came; nothing was changed.", err=True)


def _receive_results(run: RunDir, is_open: bool, port: int, minutes: int) -> int:
    """Serve the page until it is stopped or the time is over, and return how many results came."""
    import segno

    from tinsmith.bench.plan import plan
    from tinsmith.bench.remote_result import RemoteResult
    from tinsmith.bench.remote_server import RemoteBench
    from tinsmith.model.conversations import read_jsonl

    require_stage(run, "bench", "there is no benchmark yet")
    package_dir = run.stage("export") / "package"
    asked = plan(config_of(run).bench, package_dir, read_jsonl(run.stage("data") / "test.jsonl"), "auto")
    names: list[str] = []
    came = threading.Event()

    def on_result(result: RemoteResult) -> None:
        names.append(result.name)
        came.set()

    with RemoteBench(asked, package_dir, run.received, is_open, port, on_result) as server:
        click.echo(_OPEN if server.is_open else _CLOSED, err=True)
        click.echo(f"It closes after {minutes} minutes, or with Ctrl-C.\n", err=True)
        deadline = time.monotonic() + 60 * minutes
        try:
            while (left := deadline - time.monotonic()) > 0:
                click.echo(server.url)
                if server.is_open and sys.stderr.isatty():
                    segno.make(server.url, error="l").terminal(out=sys.stderr, compact=True)
                if came.wait(left):
                    came.clear()
                    click.echo(f"Received: {names[-1]}. For another device, open the new address:", err=True)
        except KeyboardInterrupt:
            click.echo(err=True)
    return len(names)

"""The `tinsmith` command: parse, call, print.

Results go to stdout, progress and messages to stderr. Every success ends with the next command to type. Heavy imports
stay inside the commands, so that `--help` answers at once.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import click

from tinsmith import __version__
from tinsmith.errors import UserError


class _Group(click.Group):
    """Prints a `UserError` as message and hint and exits with code 2; a traceback only with `--debug`."""

    def invoke(self, ctx: click.Context):
        try:
            return super().invoke(ctx)
        except UserError as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"error: {error.message}", err=True)
            if error.hint:
                click.echo(f"  -> {error.hint}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("\nstopped; run the same command again to continue", err=True)
            sys.exit(130)


@click.group(cls=_Group)
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """A folder of conversations becomes a small chat model in a browser tab, with its model card."""
    # PEFT 0.21 reads a property that Transformers 5.23 renamed; nothing a person can act on. Goes with a newer PEFT.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)


def _say(line: str) -> None:
    click.echo(line, err=True)


_RUNS = click.option("--runs", "runs_dir", type=click.Path(path_type=Path), default=Path("runs"), show_default=True,
                     help="Folder that holds the runs.")
_SET = click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one key, such as train.epochs=1.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document as the last line.")
_FORCE = click.option("--force", is_flag=True, help="Run stages even if they are up to date.")
_RUN = click.argument("run_path", metavar="RUN", type=click.Path(path_type=Path))


def _existing_run(path: Path):
    from tinsmith.run_dir import RunDir

    run = RunDir(path)
    if not run.config.is_file():
        raise UserError(f"{path}: not a run folder (no config.json)", "Such as runs/demo, made by: tinsmith demo")
    return run


def _run_config(run):
    from tinsmith.config import RunConfig
    from tinsmith.run_dir import read_json

    return RunConfig.model_validate(read_json(run.config))


def _run_and_report(config, runs_dir: Path, first: str, last: str, force: bool, as_json: bool) -> None:
    from tinsmith.parallel import is_leader, leading
    from tinsmith.pipeline import run_pipeline
    from tinsmith.results import as_document, results_table
    from tinsmith.run_dir import RunDir

    if not is_leader():
        _follow()
        return
    run = RunDir(runs_dir / config.name)
    with leading():
        measurements = run_pipeline(config, run, _say, first, last, force)
    click.echo(results_table(measurements))
    finished = run.stamp("app").exists()
    _say(f"\nNext: tinsmith serve {run.root}" if finished else f"\nNext: tinsmith run ... (continues after {last!r})")
    if as_json:
        click.echo(json.dumps(as_document(run.root, measurements)))


def _follow() -> None:
    """Help the leader train; what goes wrong there goes wrong in the leader too, which says so."""
    from tinsmith.parallel import join
    from tinsmith.train.stage import follow_leader

    join()
    try:
        follow_leader()
    except UserError:
        sys.exit(2)


def _stage_options(command):
    from tinsmith.pipeline import STAGE_NAMES

    choice = click.Choice(STAGE_NAMES)
    command = click.option("--from", "first", type=choice, default="base", help="First stage to bring up to date.")(command)
    return click.option("--to", "last", type=choice, default="app", help="Last stage.")(command)


@main.command()
@_RUNS
@_SET
@_stage_options
@_FORCE
@_JSON
def demo(runs_dir: Path, settings: tuple[str, ...], first: str, last: str, force: bool, as_json: bool) -> None:
    """The whole line on a small base model and a public question-answer data set."""
    import importlib.resources

    from tinsmith.config import load_config

    faq = importlib.resources.files("zaragoza_construction_faq") / "data" / "faq-en.jsonl"
    config = load_config(Path(__file__).with_name("demo.toml"), (f"data.path='{faq}'", *settings))
    _run_and_report(config, runs_dir, first, last, force, as_json)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Write a commented tinsmith.toml into FOLDER."""
    from tinsmith.config import commented_toml
    from tinsmith.run_dir import write_text

    path = folder / "tinsmith.toml"
    if path.exists():
        raise UserError(f"{path}: already there", "Edit it, or choose another folder.")
    write_text(path, commented_toml())
    _say(f"wrote {path}\nNext: set data.path in it, then: tinsmith check {path}")


@main.command()
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@_SET
def check(config_path: Path, settings: tuple[str, ...]) -> None:
    """Data report only: what would be used, dropped, repaired, and why."""
    from tinsmith.config import load_config
    from tinsmith.data.report import report_lines
    from tinsmith.data.stage import check_data

    config = load_config(config_path, settings)
    for line in report_lines(check_data(config.data, config.seed)):
        click.echo(line)
    _say(f"\nNext: tinsmith run {config_path}")


@main.command()
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@_RUNS
@_SET
@_stage_options
@_FORCE
@_JSON
def run(config_path: Path, runs_dir: Path, settings, first: str, last: str, force: bool, as_json: bool) -> None:
    """Everything, from conversations to chat page; continues where it was stopped."""
    from tinsmith.config import load_config
    from tinsmith.data.stage import check_data

    config = load_config(config_path, settings)
    if first in ("base", "data"):
        check_data(config.data, config.seed)  # what is wrong with the data is said before a base model is fetched
    _run_and_report(config, runs_dir, first, last, force, as_json)


@main.command()
@_RUN
@click.option("--system", default=None, help="System prompt; the data set's own if not given.")
def chat(run_path: Path, system: str | None) -> None:
    """Talk to the packaged model in the terminal."""
    from tinsmith.talk import talk

    talk(_existing_run(run_path), system)


@main.command()
@_RUN
@click.option("--port", type=int, default=0, help="Port on 127.0.0.1; 0 takes a free one.")
def serve(run_path: Path, port: int) -> None:
    """Chat page and card on 127.0.0.1, with the headers that threads need."""
    from tinsmith.app import HOST_HEADERS
    from tinsmith.errors import ArtifactError
    from tinsmith.serve import SiteServer

    run = _existing_run(run_path)
    if not run.stamp("app").exists():
        raise ArtifactError(f"{run.root}: the chat page is not built yet", "Finish the run first: tinsmith run CONFIG")
    with SiteServer({"/": run.stage("app")}, port, HOST_HEADERS) as server:
        click.echo(f"{server.origin}/")
        _say("Open it in a browser; stop with Ctrl-C.")
        server.wait()


@main.command()
@_RUN
@click.option("--remote", is_flag=True, help="Measure other browsers: serve a page that runs the benchmark and sends its result.")
@click.option("--lan", is_flag=True, help="With --remote: let devices on the local network open the page, not this machine alone.")
@click.option("--port", type=int, default=0, help="With --remote; 0 takes a free one.")
@click.option("--minutes", type=click.IntRange(1), default=60, show_default=True, help="With --remote: close the page after this long.")
def bench(run_path: Path, remote: bool, lan: bool, port: int, minutes: int) -> None:
    """Measure again in this machine's browser, or with --remote in others, and renew card and page."""
    run = _existing_run(run_path)
    if not remote:
        if lan or port:
            raise UserError("--lan and --port go with --remote", "Add --remote, or leave them out.")
        _run_and_report(_run_config(run), run.root.parent, "bench", "app", True, False)
    elif _receive_results(run, lan, port, minutes):
        _run_and_report(_run_config(run), run.root.parent, "remote", "app", False, False)
    else:
        _say("No result came; nothing was changed.")


def _receive_results(run, is_open: bool, port: int, minutes: int) -> int:
    """Serve the page until it is stopped or the time is over; how many results came."""
    import threading

    import segno

    from tinsmith.bench.plan import plan
    from tinsmith.bench.remote_server import RemoteBench
    from tinsmith.chat import read_jsonl
    from tinsmith.errors import ArtifactError

    if not run.stamp("bench").exists():
        raise ArtifactError(f"{run.root}: there is no benchmark yet", "Finish the run first: tinsmith run CONFIG")
    package_dir = run.stage("export") / "package"
    asked = plan(_run_config(run).bench, package_dir, read_jsonl(run.stage("data") / "test.jsonl"), "auto")
    names: list[str] = []
    came = threading.Event()

    def on_result(result) -> None:
        names.append(result.name)
        came.set()

    with RemoteBench(asked, package_dir, run.received, is_open, port, on_result) as server:
        if server.is_open:
            _say("This page is open to the local network: whoever has its address can download the model and send one result.\n"
                 "The browser will warn of an unknown certificate, made just now by this command; go on from there.")
        else:
            _say("This page is open to browsers on this machine only; --lan lets in a phone or laptop on the local network.")
        _say(f"It closes after {minutes} minutes, or with Ctrl-C.\n")
        deadline = time.monotonic() + 60 * minutes
        try:
            while (left := deadline - time.monotonic()) > 0:
                click.echo(server.url)
                if server.is_open and sys.stderr.isatty():
                    segno.make(server.url, error="l").terminal(out=sys.stderr, compact=True)
                if came.wait(left):
                    came.clear()
                    _say(f"Received: {names[-1]}. For another device, open the new address:")
        except KeyboardInterrupt:
            _say("")
    return len(names)


@main.command()
@_RUN
@click.option("--check", "check_only", is_flag=True, help="Verify every number against its source; change nothing.")
def card(run_path: Path, check_only: bool) -> None:
    """Render the model card, or verify the one that is there."""
    run = _existing_run(run_path)
    if check_only:
        from tinsmith.card.verify import check_card
        from tinsmith.errors import ArtifactError, listing

        problems = check_card(run)
        if problems:
            raise ArtifactError(f"{run.root}: the card does not hold ({len(problems)} problem(s))\n{listing(problems)}",
                                f"If a change was meant: tinsmith card {run.root}")
        click.echo(f"{run.root}: every number on the card matches its source, every file its hash")
        return
    _run_and_report(_run_config(run), run.root.parent, "card", "app", True, False)


@main.command()
def doctor() -> None:
    """What this machine can do, and the install line for what is missing."""
    from tinsmith.doctor import findings

    missing = 0
    for finding in findings():
        click.echo(f"{'ok     ' if finding.ok else 'missing'} {finding.what}: {finding.found}")
        if not finding.ok:
            missing += 1
            click.echo(f"        -> {finding.install}")
    _say("Next: tinsmith demo" if not missing else f"{missing} thing(s) missing, see above")

"""The `tinsmith` command line: it parses, and calls one module of `commands` for each verb.

Results go to stdout, progress and messages to stderr. Every success ends with the next command to type. Commands are
imported when they are called, so that `--help` answers at once.
"""

import warnings
from pathlib import Path
from typing import Any

import click

from tinsmith import __version__
from tinsmith.commands.error_group import ErrorGroup
from tinsmith.commands.options import ADOPT, CONFIG, FORCE, FROM, GROUPS, JSON, PATH, RUN, RUNS, SET, TO


@click.group(cls=ErrorGroup)
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Turn a folder of conversations into a small chat model in a browser tab, with its model card."""
    # PEFT 0.21 reads a property that Transformers 5.23 renamed, which users cannot fix. Remove this with a newer PEFT.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)


@main.command()
@RUNS
@SET
@TO
@FROM
@FORCE
@ADOPT
@JSON
def demo(**options: Any) -> None:
    """Try the whole pipeline on a small model and public questions."""
    from tinsmith.commands.demo import demo
    from tinsmith.commands.run import RunOptions

    demo(RunOptions(**options))


@main.command()
@click.argument("folder", type=PATH)
@click.option("--data", type=PATH, metavar="PATH", help="File or folder of conversations, written down as data.path.")
def init(**options: Any) -> None:
    """Write a commented tinsmith.toml into FOLDER to edit."""
    from tinsmith.commands.init import init

    init(**options)


@main.command()
@CONFIG
@SET
@click.option(
    "--report",
    "report_path",
    type=PATH,
    metavar="FILE",
    help="Where to write the report, a page with the same as Markdown beside it. Default: a file in the folder runs.",
)
def check(**options: Any) -> None:
    """Check configuration and data before a run.

    CONFIG may also be a file or folder of conversations. Prints what to look at first. The report says which records
    would be used, dropped, repaired or flagged, and why, with examples. It quotes the data, and is never published.
    """
    from tinsmith.commands.check import check

    check(**options)


@main.command()
@CONFIG
@RUNS
@SET
@TO
@FROM
@FORCE
@ADOPT
@JSON
def run(config_path: Path, **options: Any) -> None:
    """Run the whole pipeline, or continue a run.

    Stages that are up to date are skipped. The run's folder is RUNS/NAME; NAME is set in CONFIG.
    """
    from tinsmith.commands.run import RunOptions, run

    run(config_path, RunOptions(**options))


@main.command()
@RUN
@click.option("--system", default=None, help="System prompt instead of the data set's own.")
def chat(run_path: Path, system: str | None) -> None:
    """Ask in the terminal what visitors ask on the page."""
    from tinsmith.commands.chat import chat

    chat(run_path, system)


@main.command()
@RUN
@click.option("--port", type=int, default=0, help="Port on 127.0.0.1; 0 picks a free one.")
@click.option("--owner", is_flag=True, help="Show under every answer what was retrieved, its scores, and why.")
def serve(**options: Any) -> None:
    """Serve the chat page and the card on 127.0.0.1."""
    from tinsmith.commands.serve import serve

    serve(**options)


@main.command()
@RUN
@click.option(
    "--remote",
    "is_remote",
    is_flag=True,
    help="Measure other browsers: serve a page that runs the benchmark and sends back the result.",
)
@click.option(
    "--lan",
    "is_open",
    is_flag=True,
    help="With --remote: open the page to the local network, not only to this machine.",
)
@click.option("--port", type=int, default=0, help="With --remote: port of the page; 0 picks a free one.")
@click.option(
    "--minutes",
    type=click.IntRange(1),
    default=60,
    show_default=True,
    help="With --remote: close the page after this many minutes.",
)
def bench(**options: Any) -> None:
    """Repeat the browser benchmark, here or on other devices, and update the card."""
    from tinsmith.commands.bench import bench

    bench(**options)


@main.command()
@RUN
@click.option("--check", "check_only", is_flag=True, help="Compare every number with its source and change nothing.")
def card(run_path: Path, check_only: bool) -> None:
    """Render the model card again, or verify it."""
    from tinsmith.commands.card import card

    card(run_path, check_only)


@main.command()
@RUN
@click.option(
    "--to",
    "target",
    required=True,
    metavar="TARGET",
    help="A folder, for any static host; HOST:FOLDER, for github-pages, cloudflare, netlify, vercel, apache or nginx; "
    "space:ORGANISATION/NAME, a static Space on the Hugging Face Hub; hf:ORGANISATION/NAME, a model repository there.",
)
@click.option("--public", "is_public", is_flag=True, help="With hf or space: let everyone read the repository.")
@click.option("--dry-run", is_flag=True, help="Only list what would change; write and send nothing.")
@click.option("--yes", is_flag=True, help="Publish without asking.")
def publish(run_path: Path, **options: Any) -> None:
    """Bring a finished run where visitors get it.

    A folder or a Space gets the site: chat page, card, runtime and model. A model repository on the Hub gets the model,
    with the card as its README. What is new on the Hub is private without --public. Only what differs is written, and
    nothing that tinsmith did not write is replaced or removed.
    """
    from tinsmith.commands.publish import PublishOptions, publish

    publish(run_path, PublishOptions(**options))


@main.command()
@click.option(
    "--from",
    "archives",
    metavar="FOLDER",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Read the packages' .tgz archives from FOLDER, for a machine without a network.",
)
def setup(archives: Path | None) -> None:
    """Fetch the browser runtime (36 MB) before it is first needed.

    Two packages are fetched from the npm registry, checked against pinned digests, and stored in tinsmith's cache. The
    registry is the one in npm_config_registry or the user's npm configuration, else the public one.
    """
    from tinsmith.commands.setup import setup

    setup(archives)


@main.command()
@CONFIG
@RUNS
@click.option("--list", "list_only", is_flag=True, help="Print the candidates as TOML; ask nothing, write nothing.")
def approve(**options: Any) -> None:
    """Choose which texts of the data may be published."""
    from tinsmith.commands.approve import approve

    approve(**options)


@main.command()
@RUN
@click.option("--html", "as_page", is_flag=True, help="Write a page that edits and downloads them instead.")
@click.option("--out", type=PATH, default=None, help="File to write; questions.csv or questions.html by default.")
@click.option(
    "--count",
    type=click.IntRange(1),
    default=40,
    show_default=True,
    help="Highest number of known questions.",
)
@click.option("--from", "source", metavar="FILE", type=PATH, default=None, help="Start from a file of questions.")
def questions(**options: Any) -> None:
    """Write questions to measure answers by, as a spreadsheet to edit.

    The run's answers.writer makes them from your answers and documents, and each one says so. Edit them, add questions
    in your visitors' words and questions that you do not answer, and name the file in CONFIG as answers.questions.
    """
    from tinsmith.commands.questions import questions

    questions(**options)


@main.command()
@RUN
@click.option("--out", type=PATH, default="wordings.jsonl", show_default=True, help="File to write.")
@click.option("--count", type=click.IntRange(1, 32), default=8, show_default=True, help="Wordings per passage.")
def wordings(**options: Any) -> None:
    """Let a language model write wordings for the search.

    Wordings are other ways to ask what a passage answers. The endpoint that answers.writer names reads your passages
    and writes them. Read the file, delete what does not fit, and name it in CONFIG as answers.wordings.
    """
    from tinsmith.commands.wordings import wordings

    wordings(**options)


@main.command()
@RUN
@click.option("--endpoint", "address", required=True, metavar="URL", help="Such as https://api.example.com/v1.")
@click.option("--model", required=True, help="Name of the model, as the endpoint knows it.")
@GROUPS
@click.option(
    "--items", type=click.IntRange(1), default=50, show_default=True, help="Largest number of questions to judge."
)
@click.option("--dry-run", is_flag=True, help="Only list what would be sent, and how much; send nothing.")
@click.option("--yes", is_flag=True, help="Send without asking.")
def judge(run_path: Path, **options: Any) -> None:
    """Let a large language model judge the replies, for the card.

    It grades the replies of base, tuned and INT4 model and of the page beside your reference answers, and known replies
    that show whether its grades mean anything; if not, its scores are withheld. Your questions and answers go to the
    endpoint that you name, with the key in TINSMITH_JUDGE_KEY. Needs: pip install 'tinsmith[judge]'.
    """
    from tinsmith.commands.judge import JudgeOptions, judge

    judge(run_path, JudgeOptions(**options))


@main.command()
@RUN
@click.argument("files", nargs=-1, type=PATH)
@click.option("--import", "is_import", is_flag=True, help="Import FILES that the page saved, and update the card.")
@click.option("--remove", "removed", metavar="RATER", default=None, help="Remove a rater's review; update the card.")
@click.option(
    "--of",
    default="base,int4",
    show_default=True,
    metavar="NAMES",
    help="Whose replies to show: two or more of base, tuned, int4, page and reference, with commas between them.",
)
@GROUPS
@click.option(
    "--count", type=click.IntRange(20, 60), default=40, show_default=True, help="Largest number of questions."
)
@click.option("--out", type=PATH, default="review.html", show_default=True, help="File to write.")
def review(run_path: Path, **options: Any) -> None:
    """Let people review replies, for the scores out of 10 on the card.

    Writes one page that needs no server: it shows questions with two replies each, and does not say whose they are. It
    saves a file for each rater; --import puts it on the card. Several raters may review the same page.
    """
    from tinsmith.commands.review import ReviewOptions, review

    review(run_path, ReviewOptions(**options))


@main.command()
@click.argument("old_path", metavar="OLD_RUN", type=PATH)
@click.argument("new_path", metavar="NEW_RUN", type=PATH)
@click.option("--html", "page", metavar="FILE", type=PATH, default=None, help="Also write a page, as one file.")
def compare(**options: Any) -> None:
    """Show what differs between two runs: settings, versions, data and numbers.

    Numbers are compared on the conversations and questions that both runs have in common, with 95 % intervals. No text
    of the data is shown, only ids, file names and names of categories, so that the result can be shared.
    """
    from tinsmith.commands.compare import compare

    compare(**options)


@main.command()
def doctor() -> None:
    """Report what this machine can do, and how to install what is missing."""
    from tinsmith.commands.doctor import doctor

    doctor()

"""`tinsmith publish`: bring a finished run where visitors get it, after a list of what that changes and a question.

A folder gets the site, `app/`, for any static host, or for one that is named. A static Space on the Hugging Face Hub
gets the site too. A model repository there gets the model, `app/model/`: the package with the card as its README.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import click

from tinsmith.commands.card import require_true_card
from tinsmith.commands.existing_run import config_of, existing_run
from tinsmith.commands.publish_folder import PublishedFolder
from tinsmith.commands.publish_hosts import files_for, split_host
from tinsmith.commands.publish_hub import HubRepository
from tinsmith.commands.publish_plan import MARK_FILE, File
from tinsmith.commands.terminal import say, say_next, show, typed
from tinsmith.core.errors import ArtifactError, UserError
from tinsmith.core.run_dir import RunDir, read_stamp
from tinsmith.pipeline.stages import STAGE_NAMES

_HUB, _SPACE = "hf:", "space:"
_GITHUB_BYTES = 100 * 2**20
"""Largest file that GitHub Pages takes."""


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """Options as given on the command line."""

    target: str
    """A folder, `HOST:FOLDER`, `space:organisation/name` or `hf:organisation/name`."""
    is_public: bool = False
    dry_run: bool = False
    yes: bool = False


def publish(run_path: Path, options: PublishOptions) -> None:
    """List what publishing changes at the target, ask, and do it.

    Raises:
        ArtifactError: the run is unfinished, or its files or its card are not what was recorded.
        UserError: the target is not tinsmith's, cannot be reached, or nobody is there to answer.
    """
    run = existing_run(run_path)
    _require_finished(run)
    target = _target(run, options)
    say("checking the card, and every file of the run against its digest")
    require_true_card(run)
    is_model = options.target.startswith(_HUB)
    files = _files(run, "model/" if is_model else "")
    host, _ = split_host(options.target)
    if host:
        files = files_for(host, files)
    plan = target.plan(files)
    source = run.stage("app") / "model" if is_model else run.stage("app")
    show(f"{source} -> {options.target}" + (f" ({plan.place})" if plan.place else ""))
    for line in plan.lines():
        show(line)
    _warn(run, files, options)
    if plan.is_current:
        say("Nothing to do: the target is as the run.")
        return
    say(f"{MARK_FILE}, the list of these files and their digests, goes there too.")
    if options.dry_run:
        say("This was a dry run: nothing was written or sent.")
        say_next("publish", run.root, "--to", options.target, *["--public"] * options.is_public)
        return
    if not options.yes and not _confirmed(options.target):
        say("Nothing was published.")
        return
    target.publish(plan)
    show(f"published: {options.target}")
    _say_what_follows(run, target, is_model)


def _require_finished(run: RunDir) -> None:
    """Stop unless every stage has finished, each with what the stages before it have written since.

    Raises:
        ArtifactError: a stage has not finished or is out of date.
    """
    hint = "Finish the run first: tinsmith run CONFIG"
    missing = [name for name in STAGE_NAMES if not (run.stamp(name).is_file() and run.stage(name).is_dir())]
    if missing:
        raise ArtifactError(f"{run.root}: not finished: no {', '.join(missing)}", hint)
    stamps = {name: read_stamp(run.stamp(name)) for name in STAGE_NAMES}
    for name, stamp in stamps.items():
        for path, sha256 in stamp.get("inputs", {}).items():
            stage, _, rest = path.partition("/")
            if stamps[stage]["outputs"].get(rest) != sha256:
                raise ArtifactError(f"{run.root}: {name} was made before {path} changed", hint)


def _files(run: RunDir, prefix: str) -> dict[str, File]:
    """The files of the site below `prefix`, with the digests that the app stage recorded."""
    outputs = read_stamp(run.stamp("app"))["outputs"]
    return {
        path.removeprefix(prefix): File(source := run.stage("app") / path, source.stat().st_size, outputs[path])
        for path in sorted(outputs)
        if path.startswith(prefix)
    }


def _target(run: RunDir, options: PublishOptions) -> PublishedFolder | HubRepository:
    for prefix, kind in ((_HUB, "model"), (_SPACE, "space")):
        if options.target.startswith(prefix):
            return HubRepository(options.target.removeprefix(prefix), options.is_public, kind)
    folder = Path(split_host(options.target)[1])
    if options.is_public:
        raise UserError("--public is for repositories on the Hugging Face Hub", "Leave it out for a folder.")
    if folder.resolve().is_relative_to(run.root.resolve()):
        raise UserError(f"{folder}: lies in the run folder {run.root}", "Name a folder elsewhere.")
    return PublishedFolder(folder)


def _warn(run: RunDir, files: dict[str, File], options: PublishOptions) -> None:
    """Say what will not work at the target, though it can be published."""
    if options.target.startswith(_HUB):
        name, card_name = options.target.removeprefix(_HUB), config_of(run).card.hub_id
        if card_name != name:
            says = repr(card_name) if card_name else "empty"
            say(
                f"careful: the code on the card loads another repository, because card.hub_id is {says}; "
                f'set it to "{name}" and run again'
            )
        return
    if split_host(options.target)[0]:
        return
    largest = max(files, key=lambda path: files[path].size_bytes)
    if files[largest].size_bytes > _GITHUB_BYTES:
        say(f"careful: GitHub Pages takes no file above 100 MiB, such as {largest}; for other hosts see HOSTING.md")


def _confirmed(target: str) -> bool:
    """Whether the person at the terminal agrees; no is the default.

    Raises:
        UserError: there is no terminal to ask at.
    """
    if not _is_terminal():
        raise UserError("nothing was published: there is no terminal to ask at", "To publish without asking, add --yes")
    return click.confirm(f"Publish to {target}?", default=False, err=True)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _say_what_follows(run: RunDir, target: PublishedFolder | HubRepository, is_model: bool) -> None:
    if isinstance(target, HubRepository) and not is_model:
        say(f"The chat page, once the Space has started: {target.url}")
        return
    if isinstance(target, HubRepository):
        say(f"The model with its card: {target.url}")
        say(f"The chat page goes to a static host: {typed('publish', run.root, '--to', 'FOLDER')}")
        return
    say(f"Bring this folder to a static host with HTTPS; {target.root / 'HOSTING.md'} says what each host needs.")
    say(f"The model can go to the Hub too: {typed('publish', run.root, '--to', 'hf:ORGANISATION/NAME')}")

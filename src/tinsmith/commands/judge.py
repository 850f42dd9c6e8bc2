"""`tinsmith judge`: a language model behind an endpoint grades the replies, once the owner agrees to what is sent.

Replies already judged are not asked again. The card then shows the scores, or why they are withheld.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from tinsmith.assess.items import Item, read_items
from tinsmith.assess.judge_calls import Call, planned_calls
from tinsmith.assess.judge_file import Judge, Judgements, Reply, host_of
from tinsmith.assess.judge_identity import is_same_model
from tinsmith.assess.judge_inspect import ask_judge, require_inspect
from tinsmith.assess.judge_prompts import INSTRUCTIONS, prompts_sha256
from tinsmith.assess.judge_stage import grade_rows, has_all_controls
from tinsmith.commands.existing_run import config_of, existing_run, require_stage
from tinsmith.commands.run import RunOptions, run_and_report
from tinsmith.commands.terminal import say, say_next, show
from tinsmith.core.errors import ArtifactError, EndpointError, UserError
from tinsmith.core.run_dir import RunDir, read_json
from tinsmith.core.writers import address_problem, is_loopback
from tinsmith.model.grades import CRITERIA
from tinsmith.model.judgements import reasons_to_withhold

_CHARACTERS_PER_TOKEN = 4
_REPLY_TOKENS = 60
"""Typical length of a reason with a grade."""


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """Options as given on the command line."""

    address: str
    """Of the endpoint, such as `https://api.example.com/v1`."""
    model: str
    """Name of the model, as the endpoint knows it."""
    groups: tuple[str, ...] = ("held_out",)
    items: int = 50
    dry_run: bool = False
    yes: bool = False

    def arguments(self) -> list[str]:
        """Arguments that ask the same judge about the same questions."""
        groups = [argument for group in self.groups for argument in ("--group", group)]
        return ["--endpoint", self.address, "--model", self.model, *groups, "--items", str(self.items)]


def judge(run_path: Path, options: JudgeOptions) -> None:
    """Show what judging sends and costs, ask, let the model judge, and update the card.

    Raises:
        ArtifactError: the answers are not there yet, or a file is not what was recorded.
        EndpointError: the endpoint failed; what it judged until then is kept.
        MissingDependency: Inspect is not installed.
        UserError: the judge is the model itself, another one has judged, or nobody is there to answer.
    """
    run = existing_run(run_path)
    require_stage(run, "evaluate", "there are no answers to judge yet")
    if problem := address_problem(options.address):
        raise UserError(f"--endpoint {options.address}: {problem}", "It usually ends in /v1.")
    _refuse_itself(run, options.model)
    items = read_items(run.stage("evaluate"))
    calls = planned_calls(items, options.groups, options.items, config_of(run).seed)
    if not calls:
        raise ArtifactError(
            f"{run.root}: the evaluate stage asked no questions of the group {' or '.join(options.groups)}",
            "Set evaluate.questions above 0 and run again, or choose others with --group.",
        )
    folder = Judgements(run.judgements)
    record = Judge(options.model, host_of(options.address), options.groups, options.items, prompts_sha256())
    folder.require_same(record)
    open_calls = _open_calls(calls, folder)
    for line in plan_lines(calls, open_calls, options):
        show(line)
    if options.dry_run:
        say("This was a dry run: nothing was sent.")
        say_next("judge", run.root, *options.arguments())
        return
    if open_calls:
        require_inspect()
        if not _is_agreed(options):
            say("Nothing was sent.")
            return
        _judge(run, items, calls, folder, record, options.address.rstrip("/"))
    else:
        folder.begin(record)  # which may be of fewer items than before
    run_and_report(config_of(run), run, RunOptions(first="judge", last="app"))


def plan_lines(calls: Sequence[Call], open_calls: Sequence[Call], options: JudgeOptions) -> list[str]:
    """What is sent, to whom, and how much of it."""
    count = len({call.item for call in calls})
    sent_tokens = sum(len(INSTRUCTIONS) + len(call.prompt) for call in open_calls) // _CHARACTERS_PER_TOKEN
    answered = len(calls) - len(open_calls)
    where = "on this machine" if is_loopback(options.address) else "which may keep them"
    return [
        f"{options.model} at {options.address} judges {count} questions ({', '.join(options.groups)}).",
        f"It is sent these questions of your data, their reference answers, and the replies to them, {where}. "
        "System prompts, categories and ids are not sent.",
        f"{len(open_calls):,} calls, about {sent_tokens:,} tokens to it and {len(open_calls) * _REPLY_TOKENS:,} from it"
        + (f"; {answered:,} have been answered before or repeat another." if answered else "."),
    ]


def _refuse_itself(run: RunDir, model: str) -> None:
    """Stop if the judge is the tuned model or its base, by name.

    Raises:
        UserError: it is.
    """
    base = read_json(run.stage("base") / "base.json")
    config = config_of(run)
    if is_same_model(model, (base["id"], config.base.model, config.name, config.card.hub_id)):
        raise UserError(
            f"{model}: a model does not judge itself, and this is {base['id']} or made from it",
            "Name another, larger model with --model.",
        )


def _open_calls(calls: Sequence[Call], folder: Judgements) -> list[Call]:
    """The calls without a reply, each question once."""
    replies = folder.replies()
    return list({call.key: call for call in calls if call.key not in replies}.values())


def _is_agreed(options: JudgeOptions) -> bool:
    """Whether the person at the terminal agrees to send their texts; no is the default.

    Raises:
        UserError: the texts leave this machine, and there is no terminal to ask at.
    """
    if options.yes or is_loopback(options.address):
        return True
    if not _is_terminal():
        raise UserError("nothing was sent: there is no terminal to ask at", "To agree without being asked, add --yes")
    return click.confirm(f"Send these texts to {host_of(options.address)}?", default=False, err=True)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _judge(
    run: RunDir, items: Sequence[Item], calls: Sequence[Call], folder: Judgements, record: Judge, address: str
) -> None:
    """Ask about known replies, and then about the others if the judge can be trusted."""
    folder.begin(record)
    names = {reply.answered_as for reply in folder.replies().values()}

    def keep(reply: Reply) -> None:
        if reply.answered_as not in names:
            _refuse_itself(run, reply.answered_as)
            names.add(reply.answered_as)
        if len(names) > 1:
            raise EndpointError(
                f"{address}: replies come from several models: {', '.join(sorted(names))}",
                f"Name one of them with --model, and delete {run.judgements}: a score has one judge.",
            )
        folder.add(reply)

    try:
        for part in ([call for call in calls if call.control], calls):
            if open_calls := _open_calls(part, folder):
                ask_judge(address, record.model, open_calls, keep)
            replies = folder.replies()
            rows = grade_rows(items, part, replies, {})
            reasons = reasons_to_withhold(rows)
            if has_all_controls(calls, replies) and len(reasons) == len(CRITERIA):
                say(f"{record.model} is not asked further: {reasons[CRITERIA[0]]}")
                return
    finally:
        folder.end(record, datetime.now(UTC).date().isoformat())

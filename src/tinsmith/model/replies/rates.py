"""Every number about replies, from the lines of the raw files alone.

A number that would rest on nothing is left out. Questions about the same conversation are one cluster of an interval.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinsmith.core.intervals import clustered_wilson
from tinsmith.model.facts import MAX_CONTROL_RECALL, Fact, control_replies, judge_facts, wrong_numbers
from tinsmith.model.replies.asked import GROUPS, MODELS, SUBJECTS, Asked
from tinsmith.model.replies.repetition import is_repetitive, word_count
from tinsmith.model.replies.reply_format import ReplyFormat, json_block
from tinsmith.model.replies.unknown import admits_not_knowing
from tinsmith.model.replies.verbatim import is_memorised

FACT_GROUPS = ("trained", "reworded", "held_out_seen", "held_out_new")
"""Facts of trained and of reworded questions; facts of held-out ones that a training answer states too, or none does.
With `_clean` behind it: the same without conversations that have a close neighbour in the training data."""

_CONTROL_SEED = 17


@dataclass(frozen=True, slots=True)
class Number:
    """One number of replies."""

    value: float
    unit: str
    count: int
    count_of: str
    spread: dict[str, float] = field(default_factory=dict)


def fact_numbers(asked: Sequence[Asked], clean: frozenset[str]) -> dict[str, Number]:
    """Shares of facts that each subject states or contradicts, by group, and of numbers that are wrong.

    Args:
        asked: All questions.
        clean: Ids of the test conversations without a close neighbour.
    """
    numbers = {}
    for subject in SUBJECTS:
        texts = [(one, text) for one in asked if (text := one.text(subject)) is not None]
        verdicts: dict[str, list[tuple[str, str]]] = defaultdict(list)
        flags: list[tuple[bool, str]] = []
        for one, text in texts:
            for fact, verdict in zip(one.facts, judge_facts(one.facts, one.question, text), strict=True):
                for group in fact_groups(one, fact, clean):
                    verdicts[group].append((verdict, one.conversation))
            wrong, stated = wrong_numbers(text, (one.reference, one.question, one.system))
            flags += [(index < wrong, one.conversation) for index in range(stated)]
        for group, judged in sorted(verdicts.items()):
            for name, kind in ((f"facts.{group}", "stated"), (f"contradicted.{group}", "contradicted")):
                of_kind = [(verdict == kind, cluster) for verdict, cluster in judged]
                numbers[f"evaluate.{name}.{subject}"] = _share(of_kind, "facts")
        if flags:
            numbers[f"evaluate.facts.wrong_numbers.{subject}"] = _share(flags, "numbers")
    return numbers


def fact_groups(one: Asked, fact: Fact, clean: frozenset[str]) -> tuple[str, ...]:
    """The groups that a fact of a question counts in; see `FACT_GROUPS`."""
    if one.group != "held_out":
        return (one.group,)
    group = "held_out_seen" if fact.in_training else "held_out_new"
    return (group, f"{group}_clean") if one.conversation in clean else (group,)


def control_numbers(asked: Sequence[Asked]) -> dict[str, Number]:
    """Shares of facts found in replies that are wrong by construction; see `control_replies`."""
    conversations = {one.question: one.conversation for one in asked}
    questions, references = [one.question for one in asked], [one.reference for one in asked]
    flags: dict[str, list[tuple[bool, str]]] = defaultdict(list)
    for reply in control_replies(questions, references, [one.facts for one in asked], _CONTROL_SEED):
        for fact, verdict in zip(reply.facts, judge_facts(reply.facts, reply.question, reply.reply), strict=True):
            if fact in reply.targets:
                flags[reply.control].append((verdict == "stated", conversations[reply.question]))
    return {f"evaluate.facts.control.{control}": _share(pairs, "facts") for control, pairs in sorted(flags.items())}


def withheld_reason(controls: dict[str, Number]) -> str:
    """Why scores of facts are withheld, as a sentence without its end; empty if they are not."""
    passed = [id.rsplit(".", 1)[1] for id, number in controls.items() if number.value > MAX_CONTROL_RECALL]
    if not passed:
        return ""
    return (
        f"more than {MAX_CONTROL_RECALL:.0%} of the facts were found in replies that are wrong by construction "
        f"({', '.join(passed)}), so the scores say nothing"
    )


def question_numbers(asked: Sequence[Asked], clean: frozenset[str]) -> dict[str, Number]:
    """How many questions each group has, and how many of them have a fact to look for."""
    numbers = {}
    for group in GROUPS:
        count = sum(one.group == group for one in asked)
        numbers[f"evaluate.questions.{group}"] = Number(count, "count", count, "questions")
    with_facts: dict[str, set[str]] = defaultdict(set)
    for one in asked:
        for fact in one.facts:
            for group in fact_groups(one, fact, clean):
                with_facts[group].add(one.id)
    for group, ids in sorted(with_facts.items()):
        numbers[f"evaluate.questions_with_facts.{group}"] = Number(len(ids), "count", len(ids), "questions")
    return numbers


def reply_numbers(asked: Sequence[Asked], reply_format: ReplyFormat | None) -> dict[str, Number]:
    """How each model's replies end, repeat themselves, how long they are, and whether their JSON is valid."""
    numbers = {}
    for model in MODELS:
        replies = [(one, one.replies[model]) for one in asked]
        shares = {
            "stop_rate": [(reply.stopped, one.conversation) for one, reply in replies],
            "repetition_rate": [(is_repetitive(reply.text), one.conversation) for one, reply in replies],
        }
        if reply_format:
            shares["format_valid"] = [
                (reply_format.is_valid(reply.text), one.conversation)
                for one, reply in replies
                if json_block(one.reference) is not None
            ]
        for name, flags in shares.items():
            if flags:
                numbers[f"evaluate.answers.{name}.{model}"] = _share(flags, "answers")
    for subject in ("reference", *SUBJECTS):
        texts = (one.reference if subject == "reference" else one.text(subject) for one in asked)
        words = [word_count(text) for text in texts if text]
        if words:
            median = statistics.median(words)
            numbers[f"evaluate.answers.length.{subject}"] = Number(median, "words", len(words), "answers")
    return numbers


def memorisation_numbers(asked: Sequence[Asked]) -> dict[str, Number]:
    """Shares of references that each model repeats word for word: trained ones, and held-out ones as the control."""
    numbers = {}
    for group in ("trained", "held_out"):
        of_group = [one for one in asked if one.group == group]
        for model in MODELS:
            flags = [(is_memorised(one.reference, one.replies[model].text), one.conversation) for one in of_group]
            if flags:
                numbers[f"evaluate.memorised.{group}.{model}"] = _share(flags, "answers")
    return numbers


def refusal_numbers(out_of_scope: Iterable[dict[str, Any]]) -> dict[str, Number]:
    """How often INT4 alone admits not to know what the data do not answer, by kind of question.

    Args:
        out_of_scope: Lines of `evaluate/out_of_scope.jsonl`.
    """
    by_kind: dict[str, list[tuple[bool, str]]] = defaultdict(list)
    for line in out_of_scope:
        by_kind[line["kind"]].append((admits_not_knowing(line["text"]), line["question"]))
    return {f"evaluate.refused.{kind}.int4": _share(flags, "questions") for kind, flags in by_kind.items()}


def _share(flags: Sequence[tuple[bool, str]], count_of: str) -> Number:
    """The share of true flags; each comes with its cluster."""
    hits = [flag for flag, _ in flags]
    interval = clustered_wilson(hits, [cluster for _, cluster in flags])
    return Number(sum(hits) / len(hits), "fraction", len(hits), count_of, interval)

"""Run the data stage: split a file or folder of conversations, and report every change."""

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from tinsmith.core.config import DataConfig
from tinsmith.core.errors import DataError, listing
from tinsmith.core.run_dir import write_json
from tinsmith.core.stage_context import StageContext, Summary
from tinsmith.data.contradictions import Contradiction, find_contradictions
from tinsmith.data.dedup import drop_duplicates, near_duplicate_clusters
from tinsmith.data.fit import Fitted, TokenCounts, TooLong, fit, write_tokens
from tinsmith.data.read.find import find_pieces
from tinsmith.data.read.piece import read_piece
from tinsmith.data.read.record import Note, Problem, Record, Unusable, Unused
from tinsmith.data.repair import clean_text, repair
from tinsmith.data.report import (
    DataReport,
    Listed,
    Step,
    categories_of,
    common_system_prompt,
    histogram,
)
from tinsmith.data.split import SPLITS, split_conversations
from tinsmith.derive.data import RULES
from tinsmith.derive.files import Files
from tinsmith.derive.rules import record
from tinsmith.model.conversations import Conversation, Message, write_jsonl
from tinsmith.model.tokens import ChatTokenizer, load_tokenizer

MINIMUM = 10
"""Fewest conversations worth splitting."""


@dataclass(slots=True)
class _Loaded:
    """Contents of the data path."""

    records: list[Record] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def _loaded(config: DataConfig) -> _Loaded:
    found = find_pieces(config.path, config.fields)
    items = [*found.unused, *found.problems, *found.notes]
    loaded = _Loaded(files=found.files)
    for item in chain(items, *(read_piece(piece, config.fields) for piece in found.pieces)):
        if isinstance(item, Record):
            loaded.records.append(item)
        elif isinstance(item, Problem):
            path = Path(config.path)
            loaded.problems.append(f"{path if path.is_dir() else path.parent}/{item}")
        elif isinstance(item, Unused):
            loaded.notes.append(f"not used: {item.name}: {item.reason} ({item.count})")
        elif isinstance(item, Note):
            loaded.notes.append(f"{item.file}: {item.text}")
    return loaded


@dataclass(slots=True)
class _Work:
    """Results of the steps so far."""

    config: DataConfig
    loaded: _Loaded
    steps: list[Step] = field(default_factory=list)
    dropped: list[Listed] = field(default_factory=list)
    duplicates: list[Listed] = field(default_factory=list)
    truncated: list[Listed] = field(default_factory=list)
    repaired: list[Listed] = field(default_factory=list)
    contradictions: tuple[Contradiction, ...] = ()
    counts: dict[str, TokenCounts] = field(default_factory=dict)
    """Place of a conversation (`_place`) -> its tokens; empty without a base model."""

    def step(self, name: str, before: int, after: int, note: str = "") -> None:
        self.steps.append(Step(name, before, after, note))


def prepare_data(config: DataConfig, base_dir: Path, out_dir: Path, context: StageContext) -> Summary:
    """Write `train.jsonl`, `val.jsonl`, `test.jsonl`, `report.json` and `tokens.jsonl`, and record their counts.

    Raises:
        DataError: the data cannot be read, or too little of it can be used; every problem is named.
        GateError: the loss mask of a conversation is empty or wrong.
    """
    tokenizer = load_tokenizer(base_dir / "model")
    work, splits = _prepared(config, context.seed, tokenizer)
    report = _report(work, splits)
    for split in SPLITS:
        write_jsonl(out_dir / f"{split}.jsonl", splits[split])
    write_json(out_dir / "report.json", report.as_json())
    write_tokens(out_dir, {split: [(c.category, work.counts[_place(c)]) for c in splits[split]] for split in SPLITS})
    record(context.recorder, RULES, Files.of_stage("data", out_dir))
    sizes = ", ".join(f"{len(splits[split])} {split}" for split in SPLITS)
    summary = [f"{sizes} conversations in {len(report.categories)} categories"]
    changes = {
        "dropped": len(report.dropped),
        "exact duplicates": len(report.duplicates),
        "repaired": report.repaired_records,
        "cut": len(report.truncated),
    }
    if any(changes.values()):
        summary.append(
            ", ".join(f"{count} {what}" for what, count in changes.items() if count) + ": see data/report.json"
        )
    if report.contradictions:
        summary.append(
            f"{len(report.contradictions)} pair(s) of answers seem to contradict each other: see data/report.json"
        )
    return tuple(summary)


def check_data(config: DataConfig, seed: int) -> DataReport:
    """Report what a run would use, drop and repair, without a base model. Lengths are in characters and unlimited.

    Raises:
        DataError: as in `prepare_data`.
    """
    return _report(*_prepared(config, seed, tokenizer=None))


def _prepared(
    config: DataConfig, seed: int, tokenizer: ChatTokenizer | None
) -> tuple[_Work, dict[str, list[Conversation]]]:
    if not config.path:
        raise DataError("data.path is empty", "Set data.path to a file or folder of conversations.")
    work = _Work(config, _loaded(config))
    work.step("read", len(work.loaded.records), len(work.loaded.records), f"from {len(work.loaded.files)} file(s)")
    conversations = _usable(work)
    # Checked before the slow step, so that broken files are reported at once.
    _refuse_problems(work, conversations)
    conversations = _with_system_prompt(work, conversations)
    if tokenizer:
        conversations = _within_limit(work, conversations, tokenizer)
        _refuse_problems(work, conversations)
    conversations = _without_duplicates(work, conversations)
    _refuse_too_few(work, conversations)
    work.contradictions = find_contradictions(conversations)
    clusters = near_duplicate_clusters(conversations)
    grouped = sum(len(cluster) for cluster in clusters if len(cluster) > 1)
    if grouped:
        groups = sum(len(cluster) > 1 for cluster in clusters)
        work.loaded.notes.append(
            f"near-duplicates: {grouped} conversations in {groups} groups, each group kept in one split"
        )
    fractions = {"val": config.val_fraction, "test": config.test_fraction}
    return work, split_conversations(conversations, clusters, fractions, seed)


def _usable(work: _Work) -> list[Conversation]:
    """Valid conversations without turn markers; the dropped and repaired ones are listed in `work`."""
    usable = []
    unused: Counter[tuple[str, str]] = Counter()
    for loaded in work.loaded.records:
        try:
            result = repair(loaded, work.config.fields)
        except Unusable as error:
            work.dropped.append(Listed(loaded.file, loaded.position, str(error)))
            continue
        usable.append(result.conversation)
        unused.update((loaded.file, name) for name in result.unused)
        work.repaired += [
            Listed(loaded.file, loaded.position, f"{change.reason}: {change.detail}") for change in result.changes
        ]
    work.loaded.notes += [f"not used: {file}: field {name!r} ({count})" for (file, name), count in unused.items()]
    repaired = len({(item.file, item.position) for item in work.repaired})
    work.step("valid", len(work.loaded.records), len(usable), f"{len(work.dropped)} dropped, {repaired} repaired")
    return usable


def _with_system_prompt(work: _Work, conversations: list[Conversation]) -> list[Conversation]:
    if not work.config.system_prompt:
        return conversations
    try:
        prompt = Message("system", clean_text(work.config.system_prompt))
    except Unusable as error:
        raise DataError(f"data.system_prompt cannot be used: {error}", "Correct it in the configuration.") from error
    if not prompt.content:
        raise DataError("data.system_prompt is only whitespace", "Write a prompt, or leave it out.")
    prompted = [
        c if c.messages[0].role == "system" else replace(c, messages=(prompt, *c.messages)) for c in conversations
    ]
    added = sum(old is not new for old, new in zip(conversations, prompted, strict=True))
    work.step("system_prompt", len(prompted), len(prompted), f"added to {added} conversations that had none")
    return prompted


def _within_limit(work: _Work, conversations: list[Conversation], tokenizer: ChatTokenizer) -> list[Conversation]:
    fitting = []
    dropped = 0
    for conversation in tqdm(conversations, desc="data: counting tokens", unit="conversation", delay=2, mininterval=1):
        try:
            result: Fitted = fit(conversation, tokenizer, work.config.max_tokens)
        except TooLong as error:
            work.dropped.append(_listed(conversation, str(error)))
            dropped += 1
            continue
        fitting.append(result.conversation)
        work.counts[_place(conversation)] = result.counts
        if result.change:
            work.truncated.append(_listed(conversation, result.change))
    note = f"{len(work.truncated)} cut, {dropped} dropped, limit {work.config.max_tokens} tokens"
    work.step("length", len(conversations), len(fitting), note)
    return fitting


def _refuse_problems(work: _Work, conversations: list[Conversation]) -> None:
    """Stop if the data cannot be used, and name all problems at once.

    Raises:
        DataError: broken files; unusable records with `drop_invalid = false`; or nothing left.
    """
    path = Path(work.config.path)
    root = path if path.is_dir() else path.parent
    unusable = [f"{root / item.file}, {item.position}: {item.reason}" for item in work.dropped]
    problems = work.loaded.problems + ([] if work.config.drop_invalid else unusable)
    if problems:
        hint = "Correct these places."
        if not work.config.drop_invalid and unusable:
            hint = "Correct these places, or set data.drop_invalid = true to leave such records out."
        raise DataError(f"{len(problems)} problem(s) in the data\n{listing(problems)}", hint)
    if not conversations:
        raise DataError(
            f"none of the {len(work.loaded.records)} record(s) in {path} is a usable conversation\n{listing(unusable)}",
            'A record looks like {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", ...}]}.',
        )


def _refuse_too_few(work: _Work, conversations: list[Conversation]) -> None:
    """Stop if too little is left, and name the records left out.

    Raises:
        DataError: fewer than `MINIMUM` conversations.
    """
    if len(conversations) >= MINIMUM:
        return
    left_out = [f"{item.file}, {item.position}: {item.reason}" for item in (*work.dropped, *work.duplicates)]
    named = f"; these were left out\n{listing(left_out)}" if left_out else ""
    raise DataError(
        f"only {len(conversations)} usable conversation(s), at least {MINIMUM} are needed to train, validate and "
        f"test{named}",
        "Add conversations" + (", or correct those left out." if left_out else "."),
    )


def _without_duplicates(work: _Work, conversations: list[Conversation]) -> list[Conversation]:
    """Each distinct conversation once, with a unique id."""
    distinct, duplicates = drop_duplicates(conversations)
    for duplicate, original in duplicates:
        work.duplicates.append(
            _listed(duplicate, f"same messages as {original.source['file']}, {original.source['position']}")
        )
    work.step("duplicates", len(conversations), len(distinct), f"{len(duplicates)} exact duplicates removed")
    used: dict[str, Conversation] = {}
    for conversation in distinct:
        is_repeated = conversation.id in used
        if is_repeated:
            work.repaired.append(
                _listed(
                    conversation, f"id {conversation.id!r} is also the id of {_place(used[conversation.id])}: replaced"
                )
            )
        named = replace(conversation, id=_place(conversation)) if is_repeated else conversation
        used[named.id] = named
    return list(used.values())


def _report(work: _Work, splits: dict[str, list[Conversation]]) -> DataReport:
    everything = [conversation for split in SPLITS for conversation in splits[split]]
    if work.counts:
        lengths = [work.counts[_place(conversation)].tokens for conversation in everything]
    else:
        lengths = [sum(len(message.content) for message in c.messages) for c in everything]
    return DataReport(
        data=Path(work.config.path).name,
        system_prompt=common_system_prompt(everything),
        categories=categories_of(everything),
        splits={split: len(splits[split]) for split in SPLITS},
        steps=tuple(work.steps),
        dropped=tuple(work.dropped),
        duplicates=tuple(work.duplicates),
        truncated=tuple(work.truncated),
        repaired=tuple(work.repaired),
        contradictions=work.contradictions,
        notes=tuple(work.loaded.notes),
        files=work.loaded.files,
        lengths_unit="tokens" if work.counts else "characters",
        lengths=histogram(lengths),
        language=work.config.language,
        source=work.config.source,
        license=work.config.license,
    )


def _place(conversation: Conversation) -> str:
    """File and position of a conversation; unique in a data set."""
    return f"{conversation.source['file']}:{conversation.source['position']}"


def _listed(conversation: Conversation, reason: str) -> Listed:
    return Listed(conversation.source["file"], conversation.source["position"], reason)

"""Run the data stage: split a file or folder of conversations, and report every change."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from tinsmith.core.config import DataConfig
from tinsmith.core.errors import DataError, listing
from tinsmith.core.run_dir import replacing, write_json
from tinsmith.core.scratch import scratch_folder
from tinsmith.core.stage_context import StageContext, Summary
from tinsmith.data.changes import WHAT, ChangeLog
from tinsmith.data.combine import Combined, Places, combine, drop_duplicates
from tinsmith.data.fit import write_tokens
from tinsmith.data.hub import Located, check_digests, locate
from tinsmith.data.not_used import UNUSED_FIELDS
from tinsmith.data.pieces import Part, PartResult, PieceSettings, changes_path, divide, process_part
from tinsmith.data.ray_engine import on_ray, ray_address
from tinsmith.data.read.find import find_pieces
from tinsmith.data.read.record import Found, Note, Problem, Unused
from tinsmith.data.report import DataReport, Step, categories_of, counted, histogram
from tinsmith.data.report_page import write_report
from tinsmith.data.split import SPLITS
from tinsmith.data.store import Store, conversation_of, line_of
from tinsmith.data.workers import in_processes, process_count
from tinsmith.derive.data import RULES
from tinsmith.derive.files import Files
from tinsmith.derive.rules import record
from tinsmith.model.private.masks import Masks, Public, mask_key

MINIMUM = 10
"""Fewest conversations worth splitting."""
_SMALL_BYTES = 8_000_000
"""Reading so little takes less time than starting processes."""
_PRIVATE_DONE = {"warn": "kept", "mask": "masked", "drop": "left out"}


@dataclass(slots=True)
class _Prepared:
    """Results of all steps; the rows stay in `store`."""

    config: DataConfig
    located: Located
    found: Found
    result: PartResult
    masks: Masks
    store: Store
    combined: Combined
    lengths_unit: str
    """`tokens` with a base model, else `characters`."""

    @property
    def files(self) -> dict[str, str]:
        """Name and sha256 of the files with records."""
        without = {item.name for item in self.result.items if isinstance(item, Unused)}
        return {name: sha256 for name, sha256 in self.found.files.items() if name not in without}


def prepare_data(config: DataConfig, base_dir: Path, out_dir: Path, context: StageContext) -> Summary:
    """Write the splits as `train.jsonl`, `val.jsonl` and `test.jsonl`, and what became of every record.

    `tokens.jsonl` has the counts of each conversation, `report.json` those of all, and `changes.jsonl` names every
    record that was left out or changed.

    Raises:
        DataError: the data cannot be read, or too little of it can be used; every problem is named.
        GateError: the loss mask of a conversation is empty or wrong.
    """
    # Next to the splits, where the same disk has to hold as much again. What is left of it would be part of the result.
    with scratch_folder(".parts-", out_dir, must_go=True) as folder:
        prepared = _prepare(config, context.seed, base_dir / "model", folder, out_dir / "changes.jsonl")
        report = _report(prepared)
        for split in SPLITS:
            _write_split(out_dir / f"{split}.jsonl", prepared, split)
        write_tokens(out_dir / "tokens.jsonl", prepared.store, prepared.combined.splits)
    write_json(out_dir / "report.json", report.as_json())
    write_report(out_dir / "report.html", report.as_json())
    prepared.result.private.write(out_dir, config.privacy, prepared.masks.key)
    record(context.recorder, RULES, Files.of_stage("data", out_dir))
    return (*_summary(report), *prepared.result.private.summary(config.privacy))


def check_data(config: DataConfig, seed: int) -> DataReport:
    """Report what a run would use, drop and repair, without a base model. Lengths are in characters and unlimited.

    Raises:
        DataError: as in `prepare_data`.
    """
    with scratch_folder("tinsmith-check-") as folder:
        return _report(_prepare(config, seed, None, folder, folder / "changes.jsonl"))


def _prepare(config: DataConfig, seed: int, model_dir: Path | None, folder: Path, changes: Path) -> _Prepared:
    if not config.path:
        raise DataError("data.path is empty", "Set data.path to a file or folder of conversations.")
    located = locate(config.path)
    found = find_pieces(str(located.path), config.fields, located.only)
    check_digests(located, found.files)
    found.unused += [Unused(f"{located.place}/{name}", "other files of the repository") for name in located.others]
    masks = Masks(mask_key(found.files.values()), Public.of(config.privacy_allow, [config.system_prompt]))
    settings = PieceSettings(model_dir, config.max_tokens, config.system_prompt, config.fields, config.privacy, masks)
    parts = divide(found.pieces, folder, settings)
    result = PartResult(items=[*found.unused, *found.problems, *found.notes])
    result.merge(_process(parts))
    _refuse_problems(config, located, result)
    with replacing(changes) as unfinished, unfinished.open("w", encoding="utf-8", newline="\n") as file:
        for part in parts:
            with changes_path(folder, part.number).open(encoding="utf-8", newline="\n") as one:
                shutil.copyfileobj(one, file)
        log = ChangeLog(file, result.tally)
        store = Store(folder)
        places = Places(store)
        combined = drop_duplicates(store, places, log)
        _refuse_too_few(result, len(combined.rows))
        combine(store, combined, config, seed, places, log)
    return _Prepared(config, located, found, result, masks, store, combined, "tokens" if model_dir else "characters")


def _process(parts: list[Part]) -> PartResult:
    """The results of all parts, in the order of the data."""
    total = sum(part.size for part in parts)
    is_small = total < _SMALL_BYTES
    results: dict[int, PartResult] = {}
    with tqdm(
        total=total, desc="data: reading", unit="B", unit_scale=True, unit_divisor=1000, delay=2, mininterval=1
    ) as bar:
        address = ray_address()
        count = 1 if is_small and not address else process_count(len(parts))
        done = on_ray(process_part, parts, address, count) if address else in_processes(process_part, parts, count)
        for number, result in done:
            results[number] = result
            bar.update(parts[number].size)
            bar.set_postfix_str(f"{sum(one.counts['read'] for one in results.values()):,} records", refresh=False)
    merged = PartResult()
    for number in range(len(parts)):
        merged.merge(results[number])
    return merged


def _refuse_problems(config: DataConfig, located: Located, result: PartResult) -> None:
    """Stop if the data cannot be used, and name all problems at once.

    Raises:
        DataError: broken files; unusable records with `drop_invalid = false`; more unusable records than
            `max_dropped`; or nothing left.
    """
    # Records left out because of personal data are left out on purpose.
    wanted = result.counts["valid"] - result.counts["protected"]
    dropped, read = result.tally.records["dropped"] - wanted, result.counts["read"]
    examples = [f"{located.place}/{change.place}: {change.text}" for change in result.tally.examples("dropped")]
    unusable = [] if config.drop_invalid else examples
    problems = [item for item in result.items if isinstance(item, Problem)]
    if problems or unusable:
        count = len(problems) + (0 if config.drop_invalid else dropped)
        hints = [] if all(item.advice for item in problems) else ["Correct these places."]
        if unusable:
            hints = ["Correct these places, or set data.drop_invalid = true to leave such records out."]
        hints += sorted({item.advice for item in problems if item.advice})
        shown = [*(f"{located.place}/{item}" for item in problems), *unusable]
        raise DataError(f"{count} problem(s) in the data\n{listing(shown, count=count)}", " ".join(hints))
    if not result.counts["rows"]:
        shown = listing(examples, count=dropped)
        raise DataError(
            f"none of the {read} record(s) in {config.path} is a usable conversation\n{shown}",
            'A record looks like {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", ...}]}.',
        )
    if dropped > config.max_dropped * read:
        groups = sorted(
            (
                (group.count, change)
                for (what, _), group in result.tally.groups.items()
                if what == "dropped"
                for change in group.examples[:1]
            ),
            key=lambda item: -item[0],
        )
        reasons = [f"{count:>6,}  {change.reason}, such as {located.place}/{change.place}" for count, change in groups]
        raise DataError(
            f"{dropped:,} of {read:,} records cannot be used, more than data.max_dropped = {config.max_dropped:g} "
            f"allows\n{listing(reasons)}",
            "Correct them, or set data.max_dropped to the share that may be left out.",
        )


def _refuse_too_few(result: PartResult, count: int) -> None:
    """Stop if too little is left, and name the records left out.

    Raises:
        DataError: fewer than `MINIMUM` conversations.
    """
    if count >= MINIMUM:
        return
    left_out = [f"{change.place}: {change.text}" for change in result.tally.examples("dropped", "duplicate")]
    total = result.tally.records["dropped"] + result.tally.records["duplicate"]
    named = f"; these were left out\n{listing(left_out, count=total)}" if left_out else ""
    raise DataError(
        f"only {count} usable conversation(s), at least {MINIMUM} are needed to train, validate and test{named}",
        "Add conversations" + (", or correct those left out." if left_out else "."),
    )


def _write_split(path: Path, prepared: _Prepared, split: str) -> None:
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        for row in prepared.combined.splits[split].tolist():
            file.write(_line(prepared, row))


def _line(prepared: _Prepared, row: int) -> bytes:
    line = prepared.store.line(row)
    new_id = prepared.combined.new_ids.get(row)
    return line if new_id is None else line_of(replace(conversation_of(line), id=new_id))


def _steps(prepared: _Prepared) -> Iterator[Step]:
    counts, records = prepared.result.counts, prepared.result.tally.records
    read, valid, rows, kept = counts["read"], counts["valid"], counts["rows"], len(prepared.combined.rows)
    yield Step("read", read, read, f"from {counted(len(prepared.files), 'file')}")
    yield Step(
        "valid",
        read,
        valid,
        _changed({"dropped": read - valid, "repaired": records["repaired"]}, "all usable as they are"),
    )
    protected = counts["protected"]
    if counts["private"]:
        places = prepared.result.private.places.total()
        note = f"personal data or secrets: {counted(places, 'place')} in {counted(counts['private'], 'conversation')}"
        yield Step("privacy", valid, protected, f"{note}, {_PRIVATE_DONE[prepared.config.privacy]}")
    if prepared.config.system_prompt:
        yield Step("system_prompt", protected, protected, f"added to {counts['prompted']:,} that had none")
    if prepared.lengths_unit == "tokens":
        note = _changed({"cut": records["cut"], "dropped": protected - rows}, "all fit")
        yield Step("length", protected, rows, f"{note}, limit {prepared.config.max_tokens} tokens")
    yield Step("duplicates", rows, kept, _changed({"left out": records["duplicate"]}, "no copies"))


def _changed(counts: dict[str, int], otherwise: str) -> str:
    """How many records a step changed, by what it did to them."""
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or otherwise


def _report(prepared: _Prepared) -> DataReport:
    config, result, combined = prepared.config, prepared.result, prepared.combined
    hub = prepared.located.hub
    return DataReport(
        data=prepared.located.name,
        hub=hub.as_json() if hub else None,
        system_prompt=combined.system_prompt,
        categories=categories_of(combined.categories),
        splits={split: len(combined.splits[split]) for split in SPLITS},
        steps=tuple(_steps(prepared)),
        changes=result.tally,
        private=result.private.counts(),
        contradictions=combined.contradictions,
        survey=combined.survey,
        unused=tuple(_unused(result)),
        notes=(
            *([hub.note] if hub else ()),
            *(f"{item.file}: {item.text}" for item in result.items if isinstance(item, Note)),
        ),
        files=prepared.files,
        lengths_unit=prepared.lengths_unit,
        lengths=histogram(prepared.store.numbers(prepared.lengths_unit)[combined.rows]),
        language=config.language,
        source=config.source,
        license=config.license,
    )


def _unused(result: PartResult) -> Iterator[Unused]:
    for (file, field), count in result.unused_fields.items():
        yield Unused(f"{file}: {field}", UNUSED_FIELDS, count)
    yield from (item for item in result.items if isinstance(item, Unused))


def _summary(report: DataReport) -> Summary:
    sizes = ", ".join(f"{report.splits[split]} {split}" for split in SPLITS)
    summary = [f"{sizes} conversations in {len(report.categories)} categories"]
    named = {"duplicate": "exact duplicates"}
    changes = [f"{count} {named.get(what, what)}" for what in WHAT if (count := report.changes.records[what])]
    if changes:
        summary.append(", ".join(changes) + ": see data/report.html")
    if report.contradictions:
        summary.append(
            f"{len(report.contradictions)} pair(s) of answers seem to contradict each other: see data/report.html"
        )
    return tuple(summary)

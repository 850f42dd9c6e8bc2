"""What differs between two runs, as rows of finished text: settings, versions, data and numbers.

No text of the data is in it, only ids, so that it can be shared.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal, get_origin

from tinsmith.card.answers import KIND_WORDS
from tinsmith.card.evidence import STAGES, Evidence
from tinsmith.card.facts import Facts, words
from tinsmith.card.rounding import interval_text, number_text
from tinsmith.commands.common_items import SPLITS, Pair, Pairing, conversations, outcomes, pairings, same_words
from tinsmith.commands.measurement_names import Name, name_of
from tinsmith.core.config import RunConfig
from tinsmith.core.measure import Measurement
from tinsmith.core.paired import Change
from tinsmith.core.run_dir import read_json
from tinsmith.pipeline.stages import STAGES as PIPELINE

UNTOLD = "no difference can be told"

_TITLES = {stage.name: stage.title for stage in PIPELINE} | {"answers": "Answers to look up"}
_GATES = "Parity gates"
_LISTED_IDS = 10
_NEGLIGIBLE = 1e-4
"""Relative difference below which a number counts as equal. The same model on other processors differs by 1e-5."""
_CAVEATS = (
    "Intervals are 95 %: of twenty numbers that did not change, about one is told apart by chance.",
    "They cover the choice of conversations and questions, not that of the seed: training again also changes numbers.",
)
_PRINTED = frozenset(
    "name base.model base.revision base.license base.tokenizer data.path data.documents data.language data.license "
    "answers.questions answers.writer answers.writer_model answers.wordings answers.encoder bench.devices "
    "card.version".split()
)
"""Keys of settings that are names; all other texts are the author's or the data's, and are not printed."""
_MACHINE = ("cpu", "cores", "memory_bytes", "gpu", "machine")


@dataclass(frozen=True, slots=True)
class Row:
    """One difference."""

    name: str
    old: str
    new: str
    change: str = ""
    """The difference, with its interval and what it rests on."""
    verdict: str = ""
    """What can be told; empty for exact numbers and words."""


@dataclass(slots=True)
class Section:
    """Differences of one kind."""

    title: str
    groups: dict[str, list[Row]] = field(default_factory=dict)
    """Title of a stage -> its rows."""
    notes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.groups or self.notes)


def differences(old: Evidence, new: Evidence) -> list[Section]:
    """The sections in which the runs differ; none if they do not.

    Raises:
        ArtifactError: a file of a run cannot be read.
    """
    sections = (unfinished(old, new), settings(old, new), versions(old, new), data(old, new), numbers(old, new))
    return [section for section in sections if section]


def unfinished(old: Evidence, new: Evidence) -> Section:
    """Stages that only one run has finished."""
    section = Section("Not compared")
    for stage in STAGES:
        done = [stage in evidence.stamps for evidence in (old, new)]
        if done[0] != done[1]:
            section.notes.append(f"{_TITLES[stage]}: the {'new' if done[0] else 'old'} run has not finished it.")
    return section


def settings(old: Evidence, new: Evidence) -> Section:
    """Keys of the configuration that differ."""
    values = [_flat(read_json(evidence.run.config)) for evidence in (old, new)]
    groups: dict[str, list[Row]] = defaultdict(list)
    for key in dict.fromkeys([*values[0], *values[1]]):
        before, after = (side.get(key) for side in values)
        if before != after:
            section = key.split(".")[0] if "." in key else ""
            texts = _setting(key, before), _setting(key, after)
            is_alike = "they differ, though printed alike" if texts[0] == texts[1] else ""
            groups[_TITLES.get(section, "Run")].append(Row(key, *texts, is_alike))
    return Section("Settings", dict(groups))


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    sections = {key: value for key, value in config.items() if isinstance(value, dict)}
    inner = {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}
    return {key: value for key, value in config.items() if key not in sections} | inner


def _setting(key: str, value: Any) -> str:
    """A setting as text: only the last part of a path, only the length of a text of the data or the author."""
    if isinstance(value, list) and (key in _PRINTED or all(isinstance(item, int | float) for item in value)):
        return words(value) or "none"
    if isinstance(value, list):
        return f"{len(value)} text{'' if len(value) == 1 else 's'} (not printed)"
    if not isinstance(value, str):
        return "not recorded" if value is None else words(value)
    if key in _PRINTED or _is_choice(key):
        return (PurePath(value).name if PurePath(value).is_absolute() else value) or "empty"
    return f"{len(value)} characters (not printed)" if value else "empty"


def _is_choice(key: str) -> bool:
    section, _, name = key.rpartition(".")
    model = type(getattr(RunConfig(), section, None)) if section else RunConfig
    fields = getattr(model, "model_fields", {})
    return name in fields and get_origin(fields[name].annotation) is Literal


def versions(old: Evidence, new: Evidence) -> Section:
    """What differs in code, packages and machines, with the stages that ran on them."""
    stages: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    common = [stage for stage in STAGES if stage in old.stamps and stage in new.stamps]
    for stage in common:
        before, after = (_environment(evidence, stage) for evidence in (old, new))
        for key in dict.fromkeys([*before, *after]):
            if before.get(key) != after.get(key):
                stages[key, _version(key, before.get(key)), _version(key, after.get(key))].append(stage)
    groups: dict[str, list[Row]] = defaultdict(list)
    for (key, before, after), ran in stages.items():
        where = "All stages" if ran == common else ", ".join(_TITLES[stage] for stage in ran)
        groups[where].append(Row(key.replace("_", " "), before, after))
    return Section("Versions and machines", dict(groups))


def _environment(evidence: Evidence, stage: str) -> dict[str, Any]:
    id = evidence.stamps[stage].get("environment")
    recorded = read_json(evidence.run.environments / f"{id}.json") if id else {}
    return {**{key: value for key, value in recorded.items() if key != "packages"}, **(recorded.get("packages") or {})}


def _version(key: str, value: Any) -> str:
    if value is None:
        return "none"
    if key == "tinsmith_commit":
        commit, plus, changes = value.partition("+")
        return commit[:12] + plus + changes
    return number_text(value, "bytes") if key == "memory_bytes" else words(value)


def data(old: Evidence, new: Evidence) -> Section:
    """Conversations of each split, moves between splits, and questions, by what both runs have in common."""
    section = Section("Data")
    by_split = {
        split: Pair(conversations(old, split), conversations(new, split), "conversations")
        for split in SPLITS
        if "data" in old.stamps and "data" in new.stamps
    }
    if rows := [row for split, pair in by_split.items() for row in _split_rows(split, pair)]:
        section.groups[_TITLES["data"]] = rows
    section.notes += _moves(by_split)
    sides = outcomes(old), outcomes(new)
    if "knowledge" in old.stamps and "knowledge" in new.stamps and (rows := list(_question_rows(*sides))):
        section.groups[_TITLES["knowledge"]] = rows
    return section


def _split_rows(split: str, pair: Pair[str]) -> Iterator[Row]:
    name, common = name_of(f"data.conversations.{split}").words, len(pair.common)
    if pair.old.keys() == pair.new.keys():
        return
    only_old, only_new = ({side[key] for key in side if key not in pair.common} for side in (pair.old, pair.new))
    change = f"{common:,} in common by their messages"
    if reused := sorted(only_old & only_new):
        change += f"; the same id, but other messages: {_listed(reused)}"
    yield Row(name, f"{len(pair.old):,}", f"{len(pair.new):,}", change)


def _moves(by_split: dict[str, Pair[str]]) -> Iterator[str]:
    """Conversations in another split than before; a model that was trained on some of a test split knows them."""
    for before, old_pair in by_split.items():
        for after, new_pair in by_split.items():
            moved = sorted(new_pair.new[key] for key in old_pair.old.keys() & new_pair.new.keys())
            if moved and before != after:
                yield f"{len(moved):,} moved from the {before} to the {after} split: {_listed(moved)}."


def _listed(ids: list[str]) -> str:
    more = f" and {len(ids) - _LISTED_IDS:,} more" if len(ids) > _LISTED_IDS else ""
    return ", ".join(ids[:_LISTED_IDS]) + more


def _question_rows(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Row]:
    for kind, title in KIND_WORDS.items():
        sides = ({key: one for key, one in side.items() if one.question.kind == kind} for side in (old, new))
        pair = Pair(*sides, "questions")
        if pair.old.keys() == pair.new.keys():
            continue
        common = len(pair.common)
        change = f"{common:,} in common"
        if judged := same_words(pair) - common:
            change += f"; {judged:,} more with the same words, but another right answer"
        yield Row(title, f"{len(pair.old):,}", f"{len(pair.new):,}", change)


def numbers(old: Evidence, new: Evidence) -> Section:
    """Measurements of both runs that differ, by stage; gates come last, as on the card."""
    section = Section("Numbers")
    paired = pairings(old, new)
    facts = [Facts(evidence, evidence.config.card) for evidence in (old, new)]
    others = _other_devices(old, new)
    groups: dict[str, list[Row]] = {_TITLES[stage]: [] for stage in STAGES} | {_GATES: []}
    negligible = 0
    for id, measured in old.measurements.items():
        other, pairing = new.measurements.get(id), paired.get(id)
        if other is None or ".".join(id.split(".")[:2]) in others or not _differs(measured, other, pairing):
            continue
        if _is_negligible(measured, other):
            negligible += 1
            continue
        row = _row(id, facts, pairing, _is_other_machine(old, new, measured.stage))
        groups[_GATES if measured.gate else _TITLES[measured.stage]].append(row)
    section.groups = {title: rows for title, rows in groups.items() if rows}
    section.notes += _missing("old", old, new) + _missing("new", new, old)
    section.notes += [
        f"Device {device.partition('.')[2]} of the old run is not that of the new one, and is not compared."
        for device in sorted(others)
    ]
    if negligible:
        section.notes.append(f"Left out: {negligible:,} that differ by less than {100 * _NEGLIGIBLE:g} %.")
    if any(row.verdict for rows in section.groups.values() for row in rows):
        section.notes += _CAVEATS
    return section


def _differs(old: Measurement, new: Measurement, pairing: Pairing | None) -> bool:
    change = pairing.change if pairing else None
    return old.value != new.value or bool(change and (change.gained or change.lost))


def _is_negligible(old: Measurement, new: Measurement) -> bool:
    """Whether a number that is no count differs by rounding errors of the computation alone."""
    values = float(old.value), float(new.value)
    is_count = all(value.is_integer() for value in values)
    return not is_count and 0 < abs(values[1] - values[0]) < _NEGLIGIBLE * max(map(abs, values))


def _missing(which: str, evidence: Evidence, other: Evidence) -> list[str]:
    """Numbers of stages that both runs have finished, but only one has measured."""
    ids = [id for id, m in evidence.measurements.items() if id not in other.measurements and m.stage in other.stamps]
    return [f"Only the {which} run measured: {_listed(ids)}."] if ids else []


def _other_devices(old: Evidence, new: Evidence) -> set[str]:
    """Prefixes such as `remote.1` that are different devices in the two runs."""
    numbered = {f"remote.{file.partition('.')[0]}": file for file in old.files("remote", ".json")}
    keys = ("name", "browser", "os")
    return {
        prefix
        for prefix, file in numbered.items()
        if (theirs := new.record("remote", file)) is not None
        and any(old.record("remote", file).get(key) != theirs.get(key) for key in keys)
    }


def _is_other_machine(old: Evidence, new: Evidence, stage: str) -> bool:
    environments = [_environment(evidence, stage) for evidence in (old, new)]
    return any(environments[0].get(key) != environments[1].get(key) for key in _MACHINE)


def _row(id: str, facts: list[Facts], pairing: Pairing | None, is_other_machine: bool) -> Row:
    name = name_of(id)
    old, new = (side.evidence.measurements[id] for side in facts)
    cells = [side.cell(id) for side in facts]
    if pairing and pairing.change:
        change, verdict = _change_text(pairing, pairing.change, old.unit), _verdict(pairing.change, name)
    else:
        change, verdict = _difference(new.value - old.value, old.unit, old.spread), _unpaired(old, new)
        if pairing:
            verdict = f"cannot be paired: {pairing.problem}"
    if is_other_machine and (old.unit in ("seconds", "tokens/s") or "memory" in id):
        verdict = "; ".join(filter(None, (verdict, "on another machine")))
    return Row(name.words, *cells, change, verdict)


def _change_text(pairing: Pairing, change: Change, unit: str) -> str:
    """Such as `0.981 times (0.975 to 0.987) on 48 conversations in common of 50 and 52`."""
    value, interval = change.value, change.interval
    ratio = f"{number_text(value, 'ratio', interval)} times"
    text = ratio if change.is_ratio else _difference(value, unit, interval)
    if interval:
        text += f" ({interval_text(value, unit, interval, 'ci95_low', 'ci95_high').removesuffix(' %')})"
    else:
        text += " (too few for an interval)"
    if pairing.common == pairing.old == pairing.new:
        text += f" on the same {pairing.common:,} {pairing.items}"
    else:
        text += f" on {pairing.common:,} {pairing.items} in common of {pairing.old:,} and {pairing.new:,}"
    if change.gained or change.lost:
        text += f"; now so for {change.gained:,} more, no longer for {change.lost:,}"
    return text


def _difference(value: float, unit: str, spread: dict[str, float]) -> str:
    """A difference with its sign, and of shares in percentage points, with as many digits as `spread` supports."""
    return ("+" if value > 0 else "") + number_text(value, unit, spread).replace(" %", " points")


def _verdict(change: Change, name: Name) -> str:
    if not change.is_told_apart:
        return UNTOLD
    none = 1.0 if change.is_ratio else 0.0
    direction = "lower" if change.value < none else "higher"
    if not name.better:
        return direction
    return f"{direction}: {'better' if direction == name.better else 'worse'}"


def _unpaired(old: Measurement, new: Measurement) -> str:
    """What two intervals or ranges say without a pairing: never more than that they are apart."""
    for low, high, what in (("ci95_low", "ci95_high", "intervals"), ("min", "max", "ranges")):
        if low in old.spread and low in new.spread:
            overlap = old.spread[low] <= new.spread[high] and new.spread[low] <= old.spread[high]
            return f"{UNTOLD}: the {what} overlap" if overlap else f"the {what} are apart"
    return ""

"""Measurements that differ between two runs: on the items they have in common where raw items exist."""

from tinsmith.card.evidence import STAGES, Evidence
from tinsmith.card.facts import Facts
from tinsmith.card.rounding import interval_text, number_text
from tinsmith.commands.common_grades import grade_pairings
from tinsmith.commands.common_items import Pairing, pairings
from tinsmith.commands.difference_rows import TITLES, Row, Section, listed
from tinsmith.commands.measurement_names import Name, name_of
from tinsmith.commands.setting_differences import is_other_machine
from tinsmith.core.measure import Measurement
from tinsmith.core.paired import Change

UNTOLD = "no difference can be told"
BETTER, WORSE = "better", "worse"

_GATES = "Parity gates"
_NEGLIGIBLE = 1e-4
"""Relative difference below which a number counts as equal. The same model on other processors differs by 1e-5."""
_NAMED = 4
_SHIPPED = ("INT4 package", "chat page", "Questions")
_CAVEATS = (
    "Intervals are 95 %: of twenty numbers that did not change, about one is told apart by chance.",
    "They cover the choice of conversations and questions, not that of the seed: training again also changes numbers.",
)


def numbers(old: Evidence, new: Evidence) -> tuple[Section, Section]:
    """What got better and worse in two or three lines, and the measurements of both runs that differ.

    The second is by stage; gates come last, as on the card.
    """
    section = Section("Numbers")
    paired = pairings(old, new) | dict(grade_pairings(old, new))
    facts = [Facts(evidence, evidence.config.card) for evidence in (old, new)]
    others = _other_devices(old, new)
    groups: dict[str, list[Row]] = {TITLES[stage]: [] for stage in STAGES} | {_GATES: []}
    told: dict[str, list[str]] = {BETTER: [], WORSE: [], UNTOLD: []}
    negligible = 0
    for id, measured in old.measurements.items():
        other, pairing = new.measurements.get(id), paired.get(id)
        if other is None or ".".join(id.split(".")[:2]) in others or not _differs(measured, other, pairing):
            continue
        if _is_negligible(measured, other):
            negligible += 1
            continue
        row = _row(id, facts, pairing, is_other_machine(old, new, measured.stage))
        if pairing and pairing.change and _is_about_quality(id) and row.verdict.rpartition(": ")[2] in told:
            told[row.verdict.rpartition(": ")[2]].append(row.name)
        groups[_GATES if measured.gate else TITLES[measured.stage]].append(row)
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
    return _in_short(told), section


def _is_about_quality(id: str) -> bool:
    """Whether a number says how good the result is: on questions and conversations that were not trained on."""
    return not {"train", "val", "trained"} & set(id.split(".")) and name_of(id).better != ""


def _in_short(told: dict[str, list[str]]) -> Section:
    """One line each for what is better, worse, and cannot be told; the INT4 package and the page come first."""
    section = Section("In short")
    for verdict, title in ((BETTER, "Better"), (WORSE, "Worse")):
        if names := sorted(told[verdict], key=lambda name: not any(word in name for word in _SHIPPED)):
            more = f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            section.notes.append(f"{title}: {'; '.join(names[:_NAMED])}{more}.")
    if told[UNTOLD]:
        count = len(told[UNTOLD])
        section.notes.append(f"{count} other number{'s' * (count > 1)} changed by no more than chance may explain.")
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
    return [f"Only the {which} run measured: {listed(ids)}."] if ids else []


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


def _row(id: str, facts: list[Facts], pairing: Pairing | None, has_other_machine: bool) -> Row:
    name = name_of(id)
    old, new = (side.evidence.measurements[id] for side in facts)
    cells = [side.cell(id) for side in facts]
    if pairing and pairing.change:
        change, verdict = _change_text(pairing, pairing.change, old.unit), _verdict(pairing.change, name)
    else:
        change, verdict = _difference(new.value - old.value, old.unit, old.spread), _unpaired(old, new)
        if pairing:
            verdict = f"cannot be paired: {pairing.problem}"
    if has_other_machine and (old.unit in ("seconds", "tokens/s") or "memory" in id):
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
    return f"{direction}: {BETTER if direction == name.better else WORSE}"


def _unpaired(old: Measurement, new: Measurement) -> str:
    """What two intervals or ranges say without a pairing: never more than that they are apart."""
    for low, high, what in (("ci95_low", "ci95_high", "intervals"), ("min", "max", "ranges")):
        if low in old.spread and low in new.spread:
            overlap = old.spread[low] <= new.spread[high] and new.spread[low] <= old.spread[high]
            return f"{UNTOLD}: the {what} overlap" if overlap else f"the {what} are apart"
    return ""

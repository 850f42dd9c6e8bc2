"""Settings, versions and machines that differ between two runs. Only the length of the author's texts is shown."""

from collections import defaultdict
from pathlib import PurePath
from typing import Any, Literal, get_origin

from tinsmith.card.evidence import STAGES, Evidence
from tinsmith.card.facts import words
from tinsmith.card.rounding import number_text
from tinsmith.commands.difference_rows import TITLES, Row, Section
from tinsmith.core.config import RunConfig
from tinsmith.core.run_dir import read_json

_PRINTED = frozenset(
    "name base.model base.revision base.license base.tokenizer data.path data.documents data.language data.license "
    "answers.questions answers.writer answers.writer_model answers.wordings answers.encoder bench.devices "
    "card.version".split()
)
"""Keys of settings that are names; all other texts are the author's or the data's, and are not printed."""
_SECTIONS = TITLES | {"answers": TITLES["knowledge"]}
_RECORDED = {
    "base": ("base.json", {"id": "base model", "revision": "revision"}),
    "train": ("train.json", {"framework": "framework", "backend": "backend", "compute_dtype": "trained in"}),
    "export": ("export.json", {"recipe": "INT4 recipe"}),
    "bench": ("wasm.json", {"browser": "browser"}),
}
"""Stage -> its record, and keys of it, with their names, that say what a setting such as `auto` came to."""
_MACHINE = ("cpu", "cores", "memory_bytes", "gpu", "machine")


def settings(old: Evidence, new: Evidence) -> Section:
    """Keys of the configuration that differ."""
    values = [_flat(read_json(evidence.run.config)) for evidence in (old, new)]
    groups: dict[str, list[Row]] = defaultdict(list)
    for key in dict.fromkeys([*values[0], *values[1]]):
        before, after = (side.get(key) for side in values)
        if before != after:
            section = key.split(".")[0] if "." in key else ""
            texts = _setting(key, before), _setting(key, after)
            why = "" if texts[0] != texts[1] else "in another folder" if _is_path(before) else "another text"
            groups[_SECTIONS.get(section, "Run")].append(Row(key, *texts, why))
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
        return (PurePath(value).name if _is_path(value) else value) or "empty"
    return f"{len(value)} characters (not printed)" if value else "empty"


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and PurePath(value).is_absolute()


def _is_choice(key: str) -> bool:
    section, _, name = key.rpartition(".")
    model = type(getattr(RunConfig(), section, None)) if section else RunConfig
    fields = getattr(model, "model_fields", {})
    return name in fields and get_origin(fields[name].annotation) is Literal


def versions(old: Evidence, new: Evidence) -> Section:
    """What differs in code, packages, machines and what `auto` came to, with the stages concerned."""
    stages: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    common = [stage for stage in STAGES if stage in old.stamps and stage in new.stamps]
    for stage in common:
        before, after = (_environment(evidence, stage) for evidence in (old, new))
        for key in dict.fromkeys([*before, *after]):
            if before.get(key) != after.get(key):
                stages[key, _version(key, before.get(key)), _version(key, after.get(key))].append(stage)
    groups: dict[str, list[Row]] = defaultdict(list)
    for (key, before, after), ran in stages.items():
        where = "All stages" if ran == common else ", ".join(TITLES[stage] for stage in ran)
        groups[where].append(Row(key.replace("_", " "), before, after))
    return Section("Versions and machines", dict(groups))


def _environment(evidence: Evidence, stage: str) -> dict[str, Any]:
    id = evidence.stamps[stage].get("environment")
    recorded = read_json(evidence.run.environments / f"{id}.json") if id else {}
    file, keys = _RECORDED.get(stage, ("", {}))
    record = (evidence.record(stage, file) if file else None) or {}
    return {
        **{key: value for key, value in recorded.items() if key != "packages"},
        **(recorded.get("packages") or {}),
        **{name: record.get(key) for key, name in keys.items()},
    }


def _version(key: str, value: Any) -> str:
    if value is None:
        return "none"
    if key == "tinsmith_commit":
        commit, plus, changes = value.partition("+")
        return commit[:12] + plus + changes
    return number_text(value, "bytes") if key == "memory_bytes" else words(value)


def is_other_machine(old: Evidence, new: Evidence, stage: str) -> bool:
    """Whether a stage ran on different hardware in the two runs."""
    environments = [_environment(evidence, stage) for evidence in (old, new)]
    return any(environments[0].get(key) != environments[1].get(key) for key in _MACHINE)

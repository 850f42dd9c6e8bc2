"""Every id that the docs list has a rule, and every rule an id in the docs."""

import itertools
import re
from pathlib import Path

from tinsmith.derive.table import RULES

PAGE = Path(__file__).parents[2] / "docs/measurements.md"
EXAMPLES = {
    "split": "test",
    "model": "int4",
    "subject": "int4",
    "number": "1",
    "n": "256",
    "device": "wasm",
    "pair": "page_minus_int4",
}
"""Texts for placeholders where not every text makes an id."""


def documented_ids() -> set[str]:
    """Ids of the section on ids, with `{a,b}` multiplied out and placeholders filled."""
    section = PAGE.read_text().partition("## Ids")[2]
    ids = set()
    for code in re.findall(r"`([a-z_]+\.[^`\s]+)`", section):
        parts = [part.strip("{}").split(",") for part in re.split(r"(\{[^}]*\})", code)]
        for combination in itertools.product(*parts):
            filled = re.sub(r"<(\w+)>", lambda m: EXAMPLES.get(m[1], "some"), "".join(combination))
            if not filled.endswith((".json", ".jsonl", ".toml", ".py", ".md")):
                ids.add(filled)
    return ids


def test_every_documented_id_has_a_rule():
    rules = [rule for of_stage in RULES.values() for rule in of_stage]
    ids = documented_ids()
    assert len(ids) > 150
    assert not {id for id in ids if "*" not in id and not any(rule.fields(id) is not None for rule in rules)}
    starts = {rule.id.partition("{")[0] for rule in rules}
    for id in ids:
        if "*" in id:
            prefix = id.partition("*")[0]
            assert any(start.startswith(prefix) or prefix.startswith(start) for start in starts), id


def test_every_rule_names_a_file_of_its_stage_and_a_function():
    for stage, rules in RULES.items():
        for rule in rules:
            # Gates on hidden values read which they are from the data stage.
            others = {"evaluate", "data"} if rule.id.startswith("gate.private.") else {"evaluate"}
            assert rule.raw.partition("/")[0] in {stage, *others}, rule.id
            assert rule.method.startswith("tinsmith."), rule.id

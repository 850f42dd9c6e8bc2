"""Verify raw files against what they describe: sizes and shapes of stored files, and counts of conversations."""

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tinsmith.core.run_dir import RunDir
from tinsmith.derive.data import REPORT, SPLITS, TOKENS
from tinsmith.derive.files import Files
from tinsmith.derive.inventory import INVENTORY_FILE, inventory

_INVENTORIES = {"base": "model", "knowledge": "answers", "train": "adapter", "export": "package"}
"""Stage -> the folder that its inventory describes."""


def wrong_raw_files(run: RunDir, files: Files) -> Iterator[str]:
    """Inventories of other files than are there, and counts of other conversations than the splits contain."""
    for stage, name in _INVENTORIES.items():
        path, folder = f"{stage}/{INVENTORY_FILE}", run.stage(stage) / name
        if files.has(path) and folder.is_dir() and files.json(path) != inventory(folder):
            yield f"{path}: not the sizes and shapes of the files in {stage}/{name}"
    if not (files.has(TOKENS) and files.has(REPORT)):
        return
    lines, report = list(map(_split_and_category, files.each_line(TOKENS))), files.json(REPORT)
    sizes = Counter(split for split, _ in lines)
    if report["splits"] != {split: sizes[split] for split in SPLITS}:
        yield f"{REPORT}: splits of other sizes than in {TOKENS}"
    counts = Counter(category for _, category in lines)
    shares = {name: (count, count / len(lines)) for name, count in counts.items()}
    if {one["name"]: (one["count"], one["share"]) for one in report["categories"]} != shares:
        yield f"{REPORT}: other categories than in {TOKENS}"
    for split in SPLITS:
        name = f"data/{split}.jsonl"
        counted = [category for other, category in lines if other == split]
        if files.has(name) and [conversation["category"] for conversation in files.each_line(name)] != counted:
            yield f"{TOKENS}: other conversations than in {name}"


def _split_and_category(line: dict[str, Any]) -> tuple[str, str]:
    return sys.intern(line["split"]), sys.intern(line["category"])

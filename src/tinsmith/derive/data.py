"""Numbers of the data stage: what became of the records, sizes of splits and categories, and the loss mask."""

from collections import Counter
from typing import Any

from tinsmith.core.measure import Gate
from tinsmith.derive.files import Files
from tinsmith.derive.rules import Derived, Fields, Rule

REPORT = "data/report.json"
TOKENS = "data/tokens.jsonl"
"""One line per conversation: split, category, and the counts of `TokenCounts`."""
SPLITS = ("train", "val", "test")


def records_read(files: Files) -> Derived:
    """Records in the files."""
    return _of_records(files, _records(files))


def records_dropped(files: Files) -> Derived:
    """Records that could not be used."""
    return _of_records(files, files.json(REPORT)["records"]["dropped"])


def records_repaired(files: Files) -> Derived:
    """Records with at least one repair."""
    return _of_records(files, files.json(REPORT)["records"]["repaired"])


def records_duplicates(files: Files) -> Derived:
    """Records with the same messages as an earlier one."""
    return _of_records(files, files.json(REPORT)["records"]["duplicate"])


def truncated(files: Files) -> Derived:
    """Conversations cut to the token limit."""
    return _of_records(files, files.json(REPORT)["records"]["cut"])


def after_step(files: Files, name: str) -> Derived:
    """Conversations left after a step."""
    step = next(step for step in files.json(REPORT)["steps"] if step["name"] == name)
    return Derived(step["after"], "count", step["before"], "records")


def contradictions(files: Files) -> Derived:
    """Pairs of answers that seem to contradict each other."""
    return _of_conversations(files, len(files.json(REPORT)["contradictions"]))


def conversations(files: Files, split: str) -> Derived:
    """Conversations of a split; of all splits for `total`."""
    return _of_conversations(files, len(_lines(files, split)))


def category_share(files: Files, category: str) -> Derived:
    """Share of all conversations."""
    count = sum(line["category"] == category for line in files.lines(TOKENS))
    return Derived(count / len(files.lines(TOKENS)), "fraction", len(files.lines(TOKENS)), "conversations")


def tokens(files: Files, split: str) -> Derived:
    """Tokens of a split's conversations, each as it is trained on."""
    return _of_split(files, split, "tokens")


def supervised_tokens(files: Files, split: str) -> Derived:
    """Tokens of a split that count in the loss."""
    return _of_split(files, split, "supervised")


def fewest_supervised(files: Files) -> Derived:
    """Fewest supervised tokens of a conversation."""
    return _mask_gate(files, min(line["supervised"] for line in files.lines(TOKENS)), ">=", 1, "tokens")


def extra_ends(files: Files) -> Derived:
    """Supervised end-of-turn tokens beyond one for each assistant turn."""
    lines = files.lines(TOKENS)
    extra = sum(line["supervised_ends"] - line["assistant_turns"] for line in lines)
    return _mask_gate(files, extra, "==", 0, "tokens")


def wrong_bos(files: Files) -> Derived:
    """Conversations with a wrong number of beginning-of-sequence tokens."""
    wrong = sum(not line["is_bos_right"] for line in files.lines(TOKENS))
    return _mask_gate(files, wrong, "==", 0, "conversations")


def _records(files: Files) -> int:
    return files.json(REPORT)["steps"][0]["before"]


def _of_records(files: Files, value: int) -> Derived:
    return Derived(value, "count", _records(files), "records")


def _of_conversations(files: Files, value: int) -> Derived:
    return Derived(value, "count", len(files.lines(TOKENS)), "conversations")


def _of_split(files: Files, split: str, key: str) -> Derived:
    lines = _lines(files, split)
    return Derived(sum(line[key] for line in lines), "count", len(lines), "conversations")


def _mask_gate(files: Files, value: int, op: Any, bound: float, unit: str) -> Derived:
    gate: Gate = {"op": op, "bound": bound}
    return Derived(value, unit, len(files.lines(TOKENS)), "conversations", gate=gate)


def _lines(files: Files, split: str) -> list[dict[str, Any]]:
    return [line for line in files.lines(TOKENS) if split in ("total", line["split"])]


def _steps(files: Files) -> list[Fields]:
    return [{"name": step["name"]} for step in files.json(REPORT)["steps"]]


def _splits(files: Files) -> list[Fields]:
    return [{"split": split} for split in SPLITS]


def _splits_and_total(files: Files) -> list[Fields]:
    return [{"split": "total"}, *_splits(files)]


def _categories(files: Files) -> list[Fields]:
    """The largest first."""
    counts = Counter(line["category"] for line in files.lines(TOKENS))
    return [{"category": name} for name in sorted(counts, key=lambda name: (-counts[name], name))]


_MASK_HINT = "The loss mask is built in tokens.py from the family's segments; see data/report.json for the data."

RULES = (
    Rule("data.records.read", REPORT, records_read),
    Rule("data.records.dropped", REPORT, records_dropped),
    Rule("data.records.repaired", REPORT, records_repaired),
    Rule("data.records.duplicates", REPORT, records_duplicates),
    Rule("data.step.{name}.after", REPORT, after_step, _steps),
    Rule("data.conversations.{split}", TOKENS, conversations, _splits_and_total),
    Rule("data.category.{category*}", TOKENS, category_share, _categories),
    Rule("data.contradictions", REPORT, contradictions),
    Rule("data.truncated", REPORT, truncated),
    Rule("data.tokens.{split}", TOKENS, tokens, _splits),
    Rule("data.supervised_tokens.{split}", TOKENS, supervised_tokens, _splits),
    Rule("gate.mask.supervised_fraction", TOKENS, fewest_supervised, hint=_MASK_HINT),
    Rule("gate.mask.end_of_turn", TOKENS, extra_ends, hint=_MASK_HINT),
    Rule("gate.mask.bos", TOKENS, wrong_bos, hint=_MASK_HINT),
)

"""Numbers of the data stage: what became of the records, sizes of splits and categories, and the loss mask."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tinsmith.core.measure import Gate
from tinsmith.derive.files import Files
from tinsmith.derive.rules import Derived, Fields, Rule
from tinsmith.model.private.record import COUNTS_FILE

REPORT = "data/report.json"
PRIVATE = f"data/{COUNTS_FILE}"
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


def private_values(files: Files, kind: str) -> Derived:
    """Different values of one kind of personal data or secret, and the number of places they stand in."""
    counts = files.json(PRIVATE)["kinds"][kind]
    return Derived(counts["values"], "count", counts["places"], "places")


@dataclass(slots=True)
class _Sums:
    """Sums over the conversations of one split."""

    conversations: int = 0
    tokens: int = 0
    supervised: int = 0


@dataclass(slots=True)
class _Totals:
    """What the numbers need of `tokens.jsonl`, from one pass over its lines."""

    splits: dict[str, _Sums] = field(default_factory=lambda: {split: _Sums() for split in SPLITS})
    categories: Counter[str] = field(default_factory=Counter)
    fewest_supervised: int | None = None
    extra_ends: int = 0
    wrong_bos: int = 0

    @property
    def conversations(self) -> int:
        """Of all splits."""
        return sum(sums.conversations for sums in self.splits.values())

    def add(self, line: dict[str, Any]) -> None:
        """Add the counts of a conversation."""
        sums = self.splits[line["split"]]
        sums.conversations += 1
        sums.tokens += line["tokens"]
        sums.supervised += line["supervised"]
        self.categories[line["category"]] += 1
        fewest = self.fewest_supervised
        self.fewest_supervised = line["supervised"] if fewest is None else min(fewest, line["supervised"])
        self.extra_ends += line["supervised_ends"] - line["assistant_turns"]
        self.wrong_bos += not line["is_bos_right"]


def _totals(files: Files) -> _Totals:
    return files.once(_sum_lines)


def _sum_lines(files: Files) -> _Totals:
    totals = _Totals()
    for line in files.each_line(TOKENS):
        totals.add(line)
    return totals


def conversations(files: Files, split: str) -> Derived:
    """Conversations of a split; of all splits for `total`."""
    totals = _totals(files)
    return _of_conversations(files, totals.conversations if split == "total" else totals.splits[split].conversations)


def category_share(files: Files, category: str) -> Derived:
    """Share of all conversations."""
    totals = _totals(files)
    share = totals.categories[category] / totals.conversations
    return Derived(share, "fraction", totals.conversations, "conversations")


def tokens(files: Files, split: str) -> Derived:
    """Tokens of a split's conversations, each as it is trained on."""
    sums = _totals(files).splits[split]
    return Derived(sums.tokens, "count", sums.conversations, "conversations")


def supervised_tokens(files: Files, split: str) -> Derived:
    """Tokens of a split that count in the loss."""
    sums = _totals(files).splits[split]
    return Derived(sums.supervised, "count", sums.conversations, "conversations")


def fewest_supervised(files: Files) -> Derived | None:
    """Fewest supervised tokens of a conversation."""
    fewest = _totals(files).fewest_supervised
    return None if fewest is None else _mask_gate(files, fewest, ">=", 1, "tokens")


def extra_ends(files: Files) -> Derived:
    """Supervised end-of-turn tokens beyond one for each assistant turn."""
    return _mask_gate(files, _totals(files).extra_ends, "==", 0, "tokens")


def wrong_bos(files: Files) -> Derived:
    """Conversations with a wrong number of beginning-of-sequence tokens."""
    return _mask_gate(files, _totals(files).wrong_bos, "==", 0, "conversations")


def _records(files: Files) -> int:
    return files.json(REPORT)["steps"][0]["before"]


def _of_records(files: Files, value: int) -> Derived:
    return Derived(value, "count", _records(files), "records")


def _of_conversations(files: Files, value: int) -> Derived:
    return Derived(value, "count", _totals(files).conversations, "conversations")


def _mask_gate(files: Files, value: int, op: Any, bound: float, unit: str) -> Derived:
    gate: Gate = {"op": op, "bound": bound}
    return Derived(value, unit, _totals(files).conversations, "conversations", gate=gate)


def _private_kinds(files: Files) -> list[Fields]:
    return [{"kind": kind} for kind in files.json(PRIVATE)["kinds"]] if files.has(PRIVATE) else []


def _steps(files: Files) -> list[Fields]:
    return [{"name": step["name"]} for step in files.json(REPORT)["steps"]]


def _splits(files: Files) -> list[Fields]:
    return [{"split": split} for split in SPLITS]


def _splits_and_total(files: Files) -> list[Fields]:
    return [{"split": "total"}, *_splits(files)]


def _categories(files: Files) -> list[Fields]:
    """The largest first."""
    counts = _totals(files).categories
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
    Rule("data.private.{kind}", PRIVATE, private_values, _private_kinds),
    Rule("data.tokens.{split}", TOKENS, tokens, _splits),
    Rule("data.supervised_tokens.{split}", TOKENS, supervised_tokens, _splits),
    Rule("gate.mask.supervised_fraction", TOKENS, fewest_supervised, hint=_MASK_HINT),
    Rule("gate.mask.end_of_turn", TOKENS, extra_ends, hint=_MASK_HINT),
    Rule("gate.mask.bos", TOKENS, wrong_bos, hint=_MASK_HINT),
)

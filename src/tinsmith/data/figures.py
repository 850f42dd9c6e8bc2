"""Record the data stage's numbers for the card, and its gates on the loss mask."""

from collections.abc import Mapping, Sequence

from tinsmith.core.measure import Recorder
from tinsmith.data.fit import TokenCounts, totals
from tinsmith.data.report import DataReport


def record_counts(recorder: Recorder, report: DataReport) -> None:
    """Record what happened to the records, and the sizes of splits and categories."""
    method, raw = "tinsmith.data.stage.prepare_data", "data/report.json"
    records = report.steps[0].before
    for name, value in {
        "read": records,
        "dropped": len(report.dropped),
        "repaired": report.repaired_records,
        "duplicates": len(report.duplicates),
    }.items():
        recorder.add(f"data.records.{name}", value, "count", records, "records", method, raw=raw)
    for step in report.steps:
        recorder.add(f"data.step.{step.name}.after", step.after, "count", step.before, "records", method, raw=raw)
    total = sum(report.splits.values())
    for name, value in {"total": total, **report.splits}.items():
        recorder.add(f"data.conversations.{name}", value, "count", total, "conversations", method, raw=raw)
    for category in report.categories:
        recorder.add(
            f"data.category.{category.name}",
            category.share,
            "fraction",
            total,
            "conversations",
            "tinsmith.data.report.categories_of",
            raw=raw,
        )
    recorder.add(
        "data.contradictions",
        len(report.contradictions),
        "count",
        total,
        "conversations",
        "tinsmith.data.contradictions.find_contradictions",
        raw=raw,
    )
    recorder.add("data.truncated", len(report.truncated), "count", records, "records", "tinsmith.data.fit.fit", raw=raw)


def record_tokens(recorder: Recorder, splits: Mapping[str, Sequence[TokenCounts]]) -> None:
    """Record the tokens of each split, then the gates on the loss mask over all conversations.

    Raises:
        GateError: a conversation has no supervised tokens, its supervised end-of-turn tokens do not match its
            assistant turns, or it has a wrong number of beginning-of-sequence tokens.
    """
    every: list[TokenCounts] = []
    method = "tinsmith.model.tokens.ChatTokenizer.encode"
    for split, counts in splits.items():
        tokens, supervised = totals(counts)
        recorder.add(f"data.tokens.{split}", tokens, "count", len(counts), "conversations", method)
        recorder.add(f"data.supervised_tokens.{split}", supervised, "count", len(counts), "conversations", method)
        every += counts
    hint = "The loss mask is built in tokens.py from the family's segments; see data/report.json for the data."
    smallest = min(counts.supervised for counts in every)
    extra_ends = sum(counts.supervised_ends - counts.assistant_turns for counts in every)
    wrong_bos = sum(not counts.is_bos_right for counts in every)
    for name, value, op, bound, unit in (
        ("supervised_fraction", smallest, ">=", 1, "tokens"),
        ("end_of_turn", extra_ends, "==", 0, "tokens"),
        ("bos", wrong_bos, "==", 0, "conversations"),
    ):
        recorder.gate(f"gate.mask.{name}", value, op, bound, unit, len(every), "conversations", method, hint)

"""Judge a table of question, reference and reply, and count how often the judgement is right.

Each line of `--pairs` is one JSON object: `kind`, `question`, `reference`, `reply` and `right`, whether the reply
states what the question asks of the reference and contradicts nothing of it. Other keys are ignored. A table shows, by
kind, how many judgements are right, how many wrong replies were accepted (false hits) and right ones refused (misses).

The controls are wrong replies to the questions of `--answers` (`evaluate/answers.jsonl` of a run; other records with
`question` and `reference` will do), or else to those of the pairs: the recall of `reversed`, `swapped`, `negated` and
`soup` must be below 0.1; `reference` is the recall of the references themselves. The last line is one JSON object.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import SEED

from tinsmith.model.facts import (
    MAX_CONTROL_RECALL,
    common_words,
    control_recalls,
    control_replies,
    facts_of,
    judge_facts,
    states_reference,
)

PAIRS = Path(__file__).parents[1] / "tests/model/fact_pairs.jsonl"


def read_lines(path: Path, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Records of a JSONL file.

    Raises:
        SystemExit: The file is missing, a line is no JSON object, or it lacks one of `keys`.
    """
    if not path.is_file():
        sys.exit(f"{path}: no such file")
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            sys.exit(f"{path}:{number}: not JSON: {error}")
        missing = [key for key in keys if not isinstance(record, dict) or key not in record]
        if missing:
            sys.exit(f"{path}:{number}: needs {', '.join(missing)}")
        records.append(record)
    if not records:
        sys.exit(f"{path}: no records")
    return records


def judge_pairs(pairs: Sequence[Mapping[str, Any]], shows_errors: bool) -> dict[str, dict[str, int]]:
    """By kind: `pairs`, `right` judgements, `false_hits` and `misses`."""
    counts: dict[str, Counter[str]] = {}
    for pair in pairs:
        is_accepted = states_reference(pair["question"], pair["reference"], pair["reply"])
        outcome = "right" if is_accepted == pair["right"] else "false_hits" if is_accepted else "misses"
        counts.setdefault(pair["kind"], Counter()).update(["pairs", outcome])
        if shows_errors and outcome != "right":
            print(f"{outcome}: {pair['question']} | {pair['reference']} | {pair['reply']}", file=sys.stderr)
    return {
        kind: {name: counter[name] for name in ("pairs", "right", "false_hits", "misses")}
        for kind, counter in counts.items()
    }


def judge_controls(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """By control, and for the references themselves: `facts`, `stated` and `recall`."""
    unique = {(record["question"], record["reference"]): record for record in records}.values()
    questions, references = [r["question"] for r in unique], [r["reference"] for r in unique]
    common = common_words(references)
    facts = [facts_of(r["reference"], r["question"], r.get("system", ""), common) for r in unique]
    verdicts = [
        v for own, r in zip(facts, unique, strict=True) for v in judge_facts(own, r["question"], r["reference"])
    ]
    recalls = {"reference": (verdicts.count("stated"), len(verdicts))}
    recalls |= control_recalls(list(control_replies(questions, references, facts, SEED)))
    return {
        name: {"facts": count, "stated": stated, "recall": round(stated / count, 4) if count else 0.0}
        for name, (stated, count) in recalls.items()
    }


def main() -> None:
    """Print both tables and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, default=PAIRS, help="JSONL file of pairs")
    parser.add_argument("--answers", type=Path, help="JSONL file of questions and references for the controls")
    parser.add_argument("--errors", action="store_true", help="show each wrong judgement")
    arguments = parser.parse_args()
    pairs = read_lines(arguments.pairs, ("kind", "question", "reference", "reply", "right"))
    kinds = judge_pairs(pairs, arguments.errors)
    records = read_lines(arguments.answers, ("question", "reference")) if arguments.answers else pairs
    controls = judge_controls(records)
    total = {
        name: sum(counts[name] for counts in kinds.values()) for name in ("pairs", "right", "false_hits", "misses")
    }
    print(f"{'kind':<14}{'pairs':>7}{'right':>7}{'false hits':>12}{'misses':>8}")
    for kind, counts in [*sorted(kinds.items()), ("all", total)]:
        print(f"{kind:<14}{counts['pairs']:>7}{counts['right']:>7}{counts['false_hits']:>12}{counts['misses']:>8}")
    print(f"\n{'control':<14}{'facts':>7}{'stated':>7}{'recall':>12}")
    for name, row in controls.items():
        is_bad = name != "reference" and row["recall"] >= MAX_CONTROL_RECALL
        print(f"{name:<14}{row['facts']:>7}{row['stated']:>7}{row['recall']:>12}{'  too high' if is_bad else ''}")
    accuracy = round(total["right"] / total["pairs"], 4)
    print(json.dumps({"accuracy": accuracy, **total, "kinds": kinds, "controls": controls}))


if __name__ == "__main__":
    main()

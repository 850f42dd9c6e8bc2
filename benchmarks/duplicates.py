"""Measure the search for near-duplicate questions and for contradictions: time, memory, growth and what it misses.

Usage: python benchmarks/duplicates.py [--counts 1000 10000 100000 1000000]

Questions are made up: of six templates, of one, and of random words. Each measurement is a process of its own; its
seconds are processor time. Up to 4,000 questions, clusters are compared with those of an exact search. The table is
printed, and all figures are in `benchmarks/results/duplicates.json`; the last line is one JSON object.
"""

import argparse
import json
import math
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import HERE, environment, publish

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from exact_duplicates import exact_clusters, pairs_together
from made_up_questions import one_template, random_words, templated

KINDS = {"templated": templated, "one template": one_template, "random": random_words}
MAX_EXACT = 4000


def measured(kind: str, count: int) -> dict[str, Any]:
    """Seconds, memory and clusters of one data set."""
    from tinsmith.data.candidates import find_candidates
    from tinsmith.data.contradictions import comparing, contradictions_of
    from tinsmith.data.duplicates import near_duplicates, signatures
    from tinsmith.data.statements import statements
    from tinsmith.model.conversations import Conversation, Message

    questions = KINDS[kind](count)
    start = time.process_time()
    columns = signatures(questions)
    signed = time.process_time()
    labels = near_duplicates(columns, questions.__getitem__)
    searched = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result: dict[str, Any] = {
        "kind": kind,
        "count": count,
        "signature_seconds": round(signed - start, 2),
        "search_seconds": round(searched - signed, 2),
        "peak_bytes": peak,
        "clusters": len(np.unique(labels)),
    }
    if count <= MAX_EXACT:
        exact = exact_clusters(questions)
        together = pairs_together(list(zip(labels.tolist(), exact, strict=True)))
        if pairs := pairs_together(exact):
            result["recall"] = round(together / pairs, 4)
    chance = random.Random(count)
    prices = [chance.randint(10, 99) for _ in questions]

    def conversation(index: int) -> Conversation:
        answer = f"For that, we charge {prices[index]} euros, within {index % 9 + 2} days."
        messages = (Message("user", questions[index]), Message("assistant", answer))
        return Conversation(str(index), "", messages, {"file": "made up", "position": str(index)})

    start = _cpu_seconds()
    rows = [statements(conversation(index)) for index in range(count)]
    stated = _cpu_seconds()
    owners = np.repeat(np.arange(count), [len(some) for some in rows])
    candidates = find_candidates(np.concatenate(rows), owners, labels)
    with comparing(candidates, conversation) as conflicts:
        found = contradictions_of(candidates, conflicts, conversation)
    result["statement_seconds"] = round(stated - start, 2)
    result["contradiction_seconds"] = round(_cpu_seconds() - stated, 2)
    result["contradictions"] = len(found)
    return result


def _cpu_seconds() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def exponent(rows: list[dict[str, Any]], key: str) -> float:
    """Slope between the logarithms of counts and seconds, from 4,000 questions on to the most."""
    points = [(row["count"], max(row[key], 0.01)) for row in rows if row["count"] >= MAX_EXACT]
    (few, fast), (many, slow) = points[0], points[-1]
    return round(math.log(slow / fast) / math.log(many / few), 2) if many > few else math.nan


def main() -> None:
    """Measure every kind and count, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--one", nargs=2, metavar=("KIND", "COUNT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measured(args.one[0], int(args.one[1]))))
        return
    rows = []
    for kind in KINDS:
        for count in args.counts:
            command = [sys.executable, __file__, "--one", kind, str(count)]
            rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
            print(json.dumps(rows[-1]), file=sys.stderr)
    growth = {
        kind: {
            key: exponent([row for row in rows if row["kind"] == kind], key)
            for key in ("search_seconds", "contradiction_seconds")
        }
        for kind in KINDS
    }
    report = {"rows": rows, "growth": growth, **environment(HERE / "made up", ("numpy",))}
    publish("duplicates", report, {"growth": growth})


if __name__ == "__main__":
    main()

"""Measure how much planted personal data is found, and how often something harmless is taken for it.

Usage: python benchmarks/private_items.py [--half developed|held_out|both] [--count 500] [--misses]

Plants COUNT made-up values of 35 kinds in ten formats and three languages, and adds as many texts that only look
private. The detector was developed on one half; the sentences, formats and harmless texts of the other half were
written before and measured afterwards. The last line is one JSON object, and `benchmarks/results/private_items.json`
holds it. Fails if recall is below 0.95 or precision below 0.9 in a half.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness import publish
from private_negatives import harmless
from private_sentences import FORMATS, LANGUAGES, planted
from private_values import MAKERS

from tinsmith.core.intervals import wilson
from tinsmith.model.private import find_private

MIN_RECALL, MIN_PRECISION = 0.95, 0.90
HALVES = ("developed", "held_out")


@dataclass(frozen=True, slots=True)
class Sample:
    """A text and the value planted in it, if any."""

    text: str
    kind: str = ""
    format: str = ""
    language: str = ""
    start: int = 0
    end: int = 0


def samples(half: str, count: int) -> Iterator[Sample]:
    """`count` texts with a planted value and as many harmless ones."""
    rng = random.Random(f"private {half}")
    for number in range(count):
        value = MAKERS[number % len(MAKERS)](rng)
        format = FORMATS[(number + number // len(MAKERS)) % len(FORMATS)]
        language = LANGUAGES[(number // 7) % len(LANGUAGES)]
        text, start, end = planted(value, format, language, half, rng)
        yield Sample(text, value.kind, format, language, start, end)
    for number in range(count):
        yield Sample(harmless(half, number, rng))


def measure(half: str, count: int) -> tuple[dict[str, Any], list[str]]:
    """Counts and shares of a half, and a line for each mistake.

    A value counts as found if one item covers all of it. An item that touches no planted value is a false alarm.
    """
    found: dict[tuple[str, str], Counter[bool]] = defaultdict(Counter)
    kinds_right, alarms, mistakes = 0, 0, []
    for sample in samples(half, count):
        items = find_private(sample.text)
        whole = [item for item in items if sample.kind and item.start <= sample.start and item.end >= sample.end]
        stray = [item for item in items if item.end <= sample.start or item.start >= sample.end]
        alarms += len(stray)
        mistakes += [f"alarm {item.kind} {sample.text[item.start : item.end]!r} in {sample.text!r}" for item in stray]
        if sample.kind:
            for group in (("all", ""), ("kind", sample.kind), ("format", sample.format), ("language", sample.language)):
                found[group][bool(whole)] += 1
            kinds_right += any(item.kind == sample.kind for item in whole)
            if not whole:
                mistakes.append(f"missed {sample.kind} {sample.format} {sample.text!r}")
    hits, total = found["all", ""][True], found["all", ""].total()
    result = {
        "planted": total,
        "harmless": count,
        "found": hits,
        "kind_right": kinds_right,
        "false_alarms": alarms,
        "recall": round(hits / total, 4),
        "recall_ci95": _interval(hits, total),
        "precision": round(hits / (hits + alarms), 4),
        "precision_ci95": _interval(hits, hits + alarms),
    }
    for name in ("kind", "format", "language"):
        result[f"recall_by_{name}"] = {
            one: f"{counts[True]}/{counts.total()}" for (group, one), counts in sorted(found.items()) if group == name
        }
    return result, mistakes


def _interval(hits: int, total: int) -> list[float]:
    return [round(value, 4) for value in wilson(hits, total).values()]


def microseconds_per_kilobyte(count: int) -> float:
    """Processor time of the detector on harmless texts, best of five, after one run that loads its tables."""
    texts = [sample.text for sample in samples("developed", count) if not sample.kind]
    times = []
    for _ in range(6):
        started = time.process_time()
        for text in texts:
            find_private(text)
        times.append(time.process_time() - started)
    return min(times[1:]) / sum(map(len, texts)) * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=(*HALVES, "both"), default="both")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--misses", action="store_true", help="print every mistake")
    options = parser.parse_args()
    halves = HALVES if options.half == "both" else (options.half,)
    results: dict[str, Any] = {}
    print(f"{'half':<10} {'planted':>8} {'found':>6} {'harmless':>9} {'alarms':>7} {'recall':>8} {'precision':>10}")
    for half in halves:
        results[half], mistakes = measure(half, options.count)
        one = results[half]
        counts = f"{one['planted']:>8} {one['found']:>6} {one['harmless']:>9} {one['false_alarms']:>7}"
        print(f"{half:<10} {counts} {one['recall']:>8.3f} {one['precision']:>10.3f}")
        if options.misses:
            print("\n".join(mistakes))
    summary = {half: {key: results[half][key] for key in ("recall", "precision")} for half in halves}
    if options.half == "both":
        results["microseconds_per_kilobyte_harmless"] = round(microseconds_per_kilobyte(options.count))
        publish("private_items", results, summary)
    else:
        print(json.dumps(summary))
    failed = [
        half for half in halves if results[half]["recall"] < MIN_RECALL or results[half]["precision"] < MIN_PRECISION
    ]
    if failed:
        sys.exit(f"recall below {MIN_RECALL} or precision below {MIN_PRECISION}: {', '.join(failed)}")


if __name__ == "__main__":
    main()

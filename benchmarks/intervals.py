"""Measure how often tinsmith's 95 % intervals cover the truth, on simulated skewed test sets.

Usage: python benchmarks/intervals.py [--sets 2000] [--kind KIND]... [--sizes 24 50] [--run RUN]

Simulates SETS test sets of each of four populations for every kind of interval and size. The last line is one JSON
object; all cells are in `benchmarks/results/intervals.json`. With `--run`, sets are drawn from the conversations of a
finished run instead, and no file is written. Fails if a kind of interval covers the truth in fewer than
93 % or more than 97 % of a population's sets that got one, by more than 0.5 points of chance.
"""

import argparse
import json
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import environment, publish
from interval_populations import CONVERSATIONS, KINDS, LIKELIHOODS, Draw, of_run

BOUNDS = (0.93, 0.97)
CHANCE = 0.005
"""What 2,000 sets leave to chance: about one standard error."""


def coverage(kind: str, population: str, n: int, sets: int) -> dict[str, Any]:
    """How often the intervals of `sets` simulated test sets of `n` clusters cover the truth.

    Returns:
        `coverage` and `below`, `above` (truth beyond an end) as shares of the sets that got an interval, `none` (share
        of sets without one), `old` (coverage of the percentile bootstrap, where there was one).
    """
    draw = KINDS[kind][0]
    rng = np.random.default_rng(zlib.crc32(f"{kind} {population} {n}".encode()))
    draws = [draw(population, rng, n) for _ in range(sets)]
    given = [one for one in draws if one.interval]
    below = _share([one.truth < one.interval["ci95_low"] for one in given])
    above = _share([one.truth > one.interval["ci95_high"] for one in given])
    return {
        "kind": kind,
        "population": population,
        "n": n,
        "coverage": None if below is None or above is None else round(1 - below - above, 4),
        "below": below,
        "above": above,
        "none": round(1 - len(given) / sets, 4),
        "old": _share([_is_covered(one) for one in draws if one.old]),
    }


def _is_covered(one: Draw) -> bool:
    return one.old["ci95_low"] <= one.truth <= one.old["ci95_high"]


def _share(flags: Sequence[bool]) -> float | None:
    return round(float(sum(flags)) / len(flags), 4) if flags else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 50])
    parser.add_argument("--kind", action="append", choices=KINDS)
    parser.add_argument("--run", type=Path)
    arguments = parser.parse_args()
    populations = {kind: KINDS[kind][1] for kind in arguments.kind or KINDS}
    if arguments.run:
        pairs = {f"{new} after {old}": (old, new) for old, new in (("base", "tuned"), ("tuned", "int4"))}
        for name, pair in pairs.items():
            CONVERSATIONS[name] = of_run(arguments.run, *pair)
        populations = {kind: tuple(pairs) for kind in populations if KINDS[kind][1] == LIKELIHOODS}
    cells = []
    for kind, names in populations.items():
        for population in names:
            for n in arguments.sizes:
                cells.append(cell := coverage(kind, population, n, arguments.sets))
                print({key: value for key, value in cell.items() if value is not None}, file=sys.stderr)
    held = [cell["coverage"] for cell in cells if cell["coverage"] is not None]
    old = [cell["old"] for cell in cells if cell["old"] is not None]
    summary = {
        "sets": arguments.sets,
        "cells": len(cells),
        "lowest": min(held),
        "highest": max(held),
        "outside": [
            f"{cell['kind']}, {cell['population']}, {cell['n']}: {cell['coverage']:.1%}"
            for cell in cells
            if cell["coverage"] is not None and not BOUNDS[0] - CHANCE <= cell["coverage"] <= BOUNDS[1] + CHANCE
        ],
        "lowest_of_percentile_bootstrap": min(old, default=None),
    }
    if arguments.run:
        print(json.dumps(summary))
    else:
        publish(
            "intervals", {"environment": environment(Path("simulated"), ("numpy",)), **summary, "each": cells}, summary
        )
    if summary["outside"]:
        sys.exit("outside 93 to 97 %: " + "; ".join(summary["outside"]))


if __name__ == "__main__":
    main()

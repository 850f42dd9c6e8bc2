"""Collect the figures that README quotes from a finished `make demo`. Usage: python demo.py [RUN]

`benchmarks/results/demo.json` gets the run's environment, the seconds of each stage, the number of gates that held, and
every measurement of answers, export, evaluation and browser benchmark by id. The last line is a short form.
"""

import sys
from pathlib import Path

from harness import HERE, publish

from tinsmith.core.measure import current_measurements
from tinsmith.core.run_dir import RunDir, read_json

SHORT = (
    "answers.known.right",
    "answers.known.right_in_3",
    "answers.known.wrong",
    "evaluate.ratio.test.int4_over_tuned",
    "evaluate.ratio.test.int4_int8_over_tuned",
    "export.weights_bytes",
    "bench.wasm.load_seconds",
    "bench.wasm.first_token_seconds",
    "bench.wasm.decode_tokens_per_second",
)


def main(run: RunDir) -> None:
    measurements = current_measurements(run)
    stamps = {path.stem: read_json(path) for path in sorted(run.stamps.glob("*.json"))}
    measured = {
        one.id: {"value": one.value, "unit": one.unit, **one.spread}
        for one in measurements
        if one.stage in ("knowledge", "export", "evaluate", "bench") and not one.gate and ".category." not in one.id
    }
    gates = [one.passed for one in measurements if one.gate]
    publish(
        "demo",
        {
            "environment": read_json(run.environments / f"{stamps['bench']['environment']}.json"),
            "seconds": {name: stamp["elapsed_seconds"] for name, stamp in stamps.items()},
            "gates": len(gates),
            "gates_passed": sum(gates),
            "measured": measured,
        },
        {"gates_passed": sum(gates)} | {id: measured[id]["value"] for id in SHORT},
    )


if __name__ == "__main__":
    main(RunDir(Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parent / "runs" / "demo")))

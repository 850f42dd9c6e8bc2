"""Measure whether the recipe `mixed` costs speed: packages of `rtn` and `mixed` in turn, in headless Chromium.

The packages are those of `int4.py` (run `make bench-int4` first). In every round each package loads in a new browser,
answers once to warm up, and answers prompts of about 32 and 512 tokens with 64 greedy tokens. `rtn` runs twice a round,
and the difference between its two turns is the noise, some tenths. Smaller effects show in single steps: both graphs
alternate in one process of the same runtime (`recipe_steps.mjs`), one token each after 32 and after 512 others.

The last line is one JSON object, `{model: {step32, step512, decode, decode512, first32, first512, load}}`: the median
ratio of `mixed` to `rtn` over 100 steps or all rounds. Steps, first tokens and loads are times, decoding is a speed.
`benchmarks/results/recipe_speed.json` also has the ranges, the ratio of `rtn`'s two turns, every round and the machine.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx_ir as ir
from harness import HERE, data_path, environment, publish, published
from int4 import WORK

from browser import PROMPT_TOKENS, measured, prompt_of, site
from tinsmith.model.conversations import read_jsonl
from tinsmith.model.int8_weights import unpacked_weights
from tinsmith.model.package_format import INT8_PAGE, UNPACKED_DATA
from tinsmith.model.tokens import load_tokenizer

TURNS = {"rtn": "rtn", "mixed": "mixed", "rtn_again": "rtn"}
"""Name -> recipe."""
STEPS = {"step32": 32, "step512": 512}
"""Tokens before the timed one."""
FIGURES = {
    "decode": "decode_short",
    "decode512": "decode_long",
    "first32": "first_short",
    "first512": "first_long",
    "load": "load",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="smollm2-135m-instruct,gemma-3-270m")
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    data, models = data_path(), published("recipe_speed")
    for model in arguments.models.split(","):
        steps = steps_of(WORK / f"{model}-{data.stem}")
        rounds = rounds_of(f"{model}-{data.stem}", arguments.rounds)
        ratios = {
            turn: {
                name: [a[key] / b[key] for a, b in zip(rounds[turn], rounds["rtn"], strict=True)]
                for name, key in FIGURES.items()
            }
            for turn in ("mixed", "rtn_again")
        }
        medians = {name: step["ratio"][1] for name, step in steps.items()}
        medians |= {name: statistics.median(values) for name, values in ratios["mixed"].items()}
        ranges = {
            turn: {name: [min(values), statistics.median(values), max(values)] for name, values in of.items()}
            for turn, of in ratios.items()
        }
        for turn, of in ranges.items():
            print(
                f"{model}, {turn} over rtn: "
                + ", ".join(f"{name} {m:.3f} [{low:.3f}, {high:.3f}]" for name, (low, m, high) in of.items()),
                file=sys.stderr,
            )
        models[model] = medians | {
            "steps": steps,
            "ranges": ranges,
            "environment": environment(data, ()),
            "rounds": rounds,
        }
        publish(
            "recipe_speed",
            models,
            {name: {key: one[key] for key in (*STEPS, *FIGURES) if key in one} for name, one in models.items()},
        )


def steps_of(work: Path) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of one token in `rtn` and `mixed`, and the ratio's tenth percentile, median and ninetieth."""
    steps = {}
    with tempfile.TemporaryDirectory(prefix="tinsmith-steps-") as folder:
        sides = [unpacked(work / recipe / "package", Path(folder) / recipe) for recipe in ("rtn", "mixed")]
        for name, past in STEPS.items():
            done = subprocess.run(
                ["node", HERE / "recipe_steps.mjs", *sides, str(past), "100"],
                check=True,
                capture_output=True,
                text=True,
            )
            steps[name] = json.loads(done.stdout.splitlines()[-1])
            print(f"{work.name}, {name}: {done.stdout.splitlines()[-1]}", file=sys.stderr)
    return steps


def unpacked(package: Path, out: Path) -> Path:
    """Write the INT8 graph of `package` to `out`, with its unpacked weights and the widths of its keys and values."""
    out.mkdir()
    source = (package / INT8_PAGE.file).parent
    for path in [*source.glob("*_data*"), package / INT8_PAGE.file]:
        shutil.copyfile(path, out / path.name)
    unpacked_weights(source).tofile(out / UNPACKED_DATA)
    graph = ir.load(package / INT8_PAGE.file).graph
    files = {
        str(value.const_value.location)
        for value in graph.initializers.values()
        if isinstance(value.const_value, ir.ExternalTensor)
    }
    widths = {
        value.name: value.shape[2]
        for value in graph.inputs
        if value.name and value.name.startswith("past_key_values.") and value.shape is not None
    }
    (out / "inputs.json").write_text(json.dumps({"files": sorted(files), "inputs": widths}))
    return out


def rounds_of(name: str, count: int) -> dict[str, list[dict[str, float]]]:
    """Measurements of every round by turn."""
    packages = {turn: WORK / name / recipe / "package" for turn, recipe in TURNS.items()}
    for package in packages.values():
        if not package.is_dir():
            sys.exit(f"{package}: missing; run make bench-int4 first")
    tokenizer = load_tokenizer(packages["rtn"])
    train = read_jsonl(WORK.parent / "tuned" / name / "run" / "data" / "train.jsonl")
    words = " ".join(message.content for conversation in train for message in conversation.messages).split()
    prompts = {length: prompt_of(tokenizer, words, tokens) for length, tokens in PROMPT_TOKENS.items()}
    rounds: dict[str, list[dict[str, float]]] = {turn: [] for turn in packages}
    for number in range(count):
        for turn, package in list(packages.items())[:: 1 if number % 2 else -1]:
            with site(package) as server:
                row = measured("tinsmith", f"{server.origin}/bench.html", prompts, min(8, os.cpu_count() or 1))
            rounds[turn].append(row)
            print(f"round {number + 1}, {turn}: " + ", ".join(f"{k} {v:.4g}" for k, v in row.items()), file=sys.stderr)
    return rounds


if __name__ == "__main__":
    main()

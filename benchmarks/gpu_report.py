"""Measure training, INT4 and the page on this machine's GPU, in under eight minutes.

Training: the demo's base on the demo's data, optimizer steps of 16 conversations. Sides: this version (a step in one
pass, recorded as a CUDA graph), the same without the record, passes of four, Unsloth, and TRL + PEFT + bitsandbytes
with passes of 4 and of 16. All take the same steps. The first steps compile and are not timed.
INT4: seconds of the export stage and of its calibration.
Page: tokens/s and seconds to the first token in Chromium on this GPU, with own kernels and on ONNX Runtime, beside
wllama's WebGPU and stock Transformers.js, in up to three rounds.

Each part has a budget of seconds. What is still running then is ended. A part or side that cannot run here is written
down with its reason, and the others go on. `--rehearse` does all of it on a processor, without budgets, on 60
conversations, with few steps and a software adapter, to see that it works. The last line is one JSON object.
"""

import argparse
import json
import math
import shutil
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from harness import (
    HERE,
    SEED,
    data_path,
    environment,
    publish,
    published,
    run_measured,
    seconds_left,
    time_limit,
)

import train
from tinsmith.core.errors import UserError

WORK = HERE / ".work" / "gpu"
BUDGET_SECONDS = {"training": 200, "int4": 150, "page": 110}
"""7 min 40 s together.

Training prepares for about 30 s; each of six sides then takes 24 steps, and the first ones compile. INT4 tunes a model
in about 40 s; on an H100 the export stage took 90 s, most of it on the processor. In each of three rounds, two sides of
the page decode 384 tokens at about 35 a second and load in 4 s, as measured there; the other two are faster.
"""
OURS: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours, not recorded": {"record": False},
    "ours, 4 in a pass": {"record": False, "pass_size": 4},
    "Unsloth": {"backend": "unsloth"},
}
PEERS = {"TRL, 4 in a pass": 4, "TRL, 16 in a pass": 16}
PAGES: dict[str, tuple[str, dict[str, str]]] = {
    "own kernels": ("bench.html", {"engine": "own"}),
    "own page on ONNX Runtime": ("bench.html", {"engine": "onnxruntime"}),
    "wllama": ("peers/wllama.html", {}),
    "stock Transformers.js": ("peers/stock.html", {}),
}
"""Page and further options of `load`."""
_PATIENCE_SECONDS = 3600
"""For one action of a page, where its part has no budget."""
_REHEARSED = 60
"""Conversations of a rehearsal."""


def main() -> None:
    arguments = parsed_arguments()
    parts: dict[str, Callable[[argparse.Namespace], dict]] = {"training": training, "int4": int4, "page": page}
    report = published("gpu") if arguments.parts else {}
    report["environment"] = environment(arguments.data, train.PACKAGES)
    for name in arguments.parts.split(",") if arguments.parts else parts:
        with time_limit(math.inf if arguments.rehearse else BUDGET_SECONDS[name]):
            started = time.monotonic()
            report[name] = attempt(lambda part=parts[name]: part(arguments), name)
            report[name]["part_seconds"] = round(time.monotonic() - started, 1)
    summary = {name: summarized(report[name]) for name in parts if name in report}
    if arguments.rehearse:
        print(json.dumps({"rehearsed": summary}))
    else:
        publish("gpu", report, summary)


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct", help="a tiny model's folder rehearses faster")
    parser.add_argument("--data", type=Path, default=data_path())
    parser.add_argument("--parts", default="", help="training, int4, page; all if left out")
    parser.add_argument("--peer-python", type=Path, default=HERE / ".venv-trl" / "bin" / "python")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--untimed", type=int, default=8, help="first steps, which compile")
    parser.add_argument("--rehearse", action="store_true", help="on a processor: two steps, a software adapter")
    arguments = parser.parse_args()
    if arguments.rehearse:
        arguments.steps, arguments.untimed = 2, 1
        lines = arguments.data.read_text(encoding="utf-8").splitlines(keepends=True)
        WORK.mkdir(parents=True, exist_ok=True)
        arguments.data = WORK / f"{arguments.data.stem}-rehearsal.jsonl"
        arguments.data.write_text("".join(lines[:_REHEARSED]), encoding="utf-8")
    return arguments


def attempt(part: Callable[[], dict], name: str) -> dict:
    """The part's results, or why there are none."""
    try:
        if not seconds_left():
            sys.exit("no time was left")
        return part()
    except SystemExit as failed:  # a command's, with the end of its log
        lines = str(failed).strip().splitlines()
        reason = next((line for line in reversed(lines) if not line.startswith(" ")), lines[-1])  # hints are indented
    except (UserError, OSError, RuntimeError, ValueError, LookupError) as failed:
        reason = f"{type(failed).__name__}: {failed}".splitlines()[0]
    print(f"{name}: not measured ({reason})", file=sys.stderr)
    return {"not_measured": reason}


def training(arguments: argparse.Namespace) -> dict:
    """Every side's tokens/s, peak memory and losses over the same optimizer steps."""
    work = WORK / "training"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    settings = argparse.Namespace(
        data=arguments.data,
        steps=arguments.steps,
        effective_batch_size=16,
        peer_batch_size=4,
        learning_rate=1e-3,
        without_checkpointing=True,
    )
    train.prepare(work, arguments.model, settings)
    plan = train.write_plan(work, settings)
    counts = [sum(len(plan["ids"][index]) for index in step) for step in plan["order"]]
    base = json.loads((work / "settings.json").read_text())
    sides = {}
    for side, changes in OURS.items():
        own = base | {key: value for key, value in changes.items() if key != "backend"}
        own["train"] = base["train"] | {"backend": changes.get("backend", "peft")}
        (work / f"{side}.settings.json").write_text(json.dumps(own))
        sides[side] = attempt(lambda side=side: train.run_ours(work, counts, side, arguments.untimed), side)
    for side, size in PEERS.items():
        (work / "plan.json").write_text(json.dumps(plan | {"peer_batch_size": size}))
        sides[side] = attempt(lambda: train.run_peer(work, arguments.peer_python, counts, arguments.untimed), side)
    for side, row in sides.items():
        if "tokens_per_second" in row:
            print(f"{side}: {train.line(row)}, last loss {row['losses'][-1]:.4f}", file=sys.stderr)
    return {"model": arguments.model, "tokens_per_step": counts, "untimed_steps": arguments.untimed, "sides": sides}


@cache
def exported(model: str, data: Path) -> tuple[Path, float]:
    """A run with a package and a GGUF file, tuned for one step, and the seconds of its export stage.

    Neither those seconds nor the page's speed depend on how well the model is tuned.
    """
    config = WORK / f"{data.stem}.toml"
    WORK.mkdir(parents=True, exist_ok=True)
    config.write_text(
        f'name = "{data.stem}"\nseed = {SEED}\n[base]\nmodel = "{model}"\n'
        f'[data]\npath = "{data.resolve()}"\n'
        f'[answers]\nmode = "model"\n[train]\nsteps = 1\n[export]\nrecipe = "mixed"\ngguf = "q4_0"\n'
    )
    command = [sys.executable, "-m", "tinsmith", "run", str(config), "--runs", str(WORK / "runs")]
    run_measured([*command, "--to", "merge"], WORK / "merge.log")
    seconds, _ = run_measured([*command, "--to", "export"], WORK / "export.log")
    return WORK / "runs" / data.stem, seconds


def int4(arguments: argparse.Namespace) -> dict:
    """Seconds of the export stage and of each recipe."""
    shutil.rmtree(WORK / "runs" / arguments.data.stem, ignore_errors=True)
    run, seconds = exported(arguments.model, arguments.data)
    recipes = {
        row["id"].removeprefix("export.recipe."): row["value"]
        for line in (run / "measurements.jsonl").read_text().splitlines()
        if (row := json.loads(line))["id"].startswith("export.recipe.")
    }
    return {"seconds": seconds, "recipes": recipes}


def page(arguments: argparse.Namespace) -> dict:
    """Each side's first token and tokens/s on WebGPU after prompts of 32 and 1,024 tokens, three rounds."""
    import browser
    from tinsmith.model.conversations import read_jsonl
    from tinsmith.model.tokens import load_tokenizer

    run, _ = exported(arguments.model, arguments.data)
    package, (gguf,) = run / "export" / "package", (run / "export" / "gguf").glob("*.gguf")
    test = read_jsonl(run / "data" / "test.jsonl")
    words = " ".join(message.content for conversation in test for message in conversation.messages).split()
    sizes = {"short": 32} if arguments.rehearse else {"short": 32, "long": 1024}
    tokenizer = load_tokenizer(package)
    prompts = {name: browser.prompt_of(tokenizer, words, tokens) for name, tokens in sizes.items()}
    adapter, rounds, browser.NEW_TOKENS = ("software", 1, 2) if arguments.rehearse else ("auto", 3, 128)
    results: dict[str, list[dict]] = {side: [] for side in PAGES}
    with browser.site(package, gguf) as server:
        for _ in range(rounds):
            for side, (address, options) in PAGES.items():
                browser.PATIENCE_SECONDS = min(_PATIENCE_SECONDS, seconds_left())
                call = partial(browser.measured, side, f"{server.origin}/{address}", prompts, 4, adapter, **options)
                row = attempt(call, side)
                results[side].append(row)
                print(f"{side}: " + ", ".join(f"{name} {value}" for name, value in row.items()), file=sys.stderr)
    return {"adapter": adapter, "prompt_tokens": sizes, "new_tokens": browser.NEW_TOKENS, "sides": results}


def summarized(part: dict) -> Any:
    """The figures of a part for the last line."""
    if "not_measured" in part:
        return part
    if "recipes" in part:
        return {"seconds": round(part["seconds"], 1)}
    if "tokens_per_step" in part:
        return {
            side: round(row.get("tokens_per_second", 0)) or row["not_measured"] for side, row in part["sides"].items()
        }
    return {
        side: [row.get("not_measured") or round(row["decode_short"], 1) for row in rows]
        for side, rows in part["sides"].items()
    }


if __name__ == "__main__":
    main()

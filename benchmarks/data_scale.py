"""Measure how the data stage grows with conversations: time, memory of all its processes, table, JSON and plot.

Usage: python data_scale.py [--sizes 1000 10000 ...] [--kinds templated random] [--model ALIAS_OR_FOLDER]. Each point is
`tinsmith run --to data` in a fresh process on a run whose base stage has finished. The floor beside it is what one
process needs to read the same records, parse their JSON and tokenize their text once; it is measured on at most 10,000
records and scaled. Up to that size `tinsmith check` is timed, too. Points that are not measured again stay in the
results, each with the commit it belongs to. `--ray .venv-ray/bin/python` repeats every point on Ray and compares bytes.
"""

import argparse
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from harness import HERE, SEED, environment, publish, published
from scale_conversations import KINDS, write_conversations

PACKAGES = ("numpy", "pyarrow", "tokenizers", "transformers")
SIZES = (1_000, 10_000, 100_000, 1_000_000)
MAX_EXPONENT = 1.1
_SAMPLE_SECONDS = 0.25
_FLOOR_RECORDS = 10_000
_CHECK_RECORDS = 10_000
_IMAGE = HERE.parent / "docs" / "images" / "data-scale.svg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--max-tokens", type=int, default=1024)
    parser.add_argument("--work", type=Path, default=HERE / ".work" / "data_scale", help="folder for data and runs")
    parser.add_argument("--image", type=Path, default=_IMAGE)
    parser.add_argument("--ray", type=Path, metavar="PYTHON", help="also run on Ray, with an environment that has it")
    parser.add_argument("--floor", type=Path, nargs=2, metavar=("DATA", "MODEL"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.floor:
        print(json.dumps(floor(*arguments.floor)))
        return
    points = {(point["kind"], point["conversations"]): point for point in published("data_scale").get("points", [])}
    for size, kind in itertools.product(sorted(arguments.sizes), arguments.kinds):
        points[kind, size] = measured(kind, size, arguments)
        print(json.dumps(points[kind, size]), file=sys.stderr)
    ordered = [points[key] for key in sorted(points)]
    report = {
        "environment": environment(Path("made up by scale_conversations.py"), PACKAGES),
        "model": Path(arguments.model).name,
        "points": ordered,
        "exponents": exponents(ordered),
    }
    print(table(ordered))
    publish("data_scale", report, {"exponents": report["exponents"]})
    plot(ordered, arguments.image)


def measured(kind: str, size: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One point: the stage, its floor, the check, and the stage on Ray."""
    name, work = f"{kind}-{size}", arguments.work
    data = work / "data" / name
    if not (data / "complete").exists():
        write_conversations(data / "files", size, kind, SEED)
        (data / "complete").touch()
    config = work / f"{name}.toml"
    config.write_text(
        f'name = "{name}"\nseed = {SEED}\n[base]\nmodel = {json.dumps(arguments.model)}\n'
        f"[data]\nmax_tokens = {arguments.max_tokens}\npath = {json.dumps(str((data / 'files').resolve()))}\n"
    )
    tinsmith = [sys.executable, "-m", "tinsmith"]
    run = [*tinsmith, "run", str(config), "--runs", str(work / "runs")]
    # Without a base model a run reads the data first, so the base stage gets a few conversations only.
    few = work.resolve() / "data" / "few"
    write_conversations(few, 100, kind, SEED)
    run_sampled([*run, "--set", f"data.path={few}", "--to", "base"], work / f"{name}.base.log")
    stage = run_sampled([*run, "--from", "data", "--to", "data", "--force"], work / f"{name}.log")
    model_dir = work / "runs" / name / "base" / "model"
    script = [sys.executable, __file__, "--floor", str(data / "files"), str(model_dir)]
    floor_result = json.loads(subprocess.run(script, stdout=subprocess.PIPE, text=True, check=True).stdout)
    scale = size / floor_result["records"]
    point = {
        "kind": kind,
        "conversations": size,
        "bytes": sum(path.stat().st_size for path in (data / "files").iterdir()),
        "code": commit(),
        **stage,
        "floor_cpu_seconds": floor_result["cpu_seconds"] * scale,
    }
    if size <= _CHECK_RECORDS:
        point["check"] = run_sampled([*tinsmith, "check", str(config)], work / f"{name}.check.log")
    if arguments.ray:
        point["ray"] = measured_on_ray(run, arguments.ray, work / "runs" / name, work / f"{name}.ray.log")
    if size > _CHECK_RECORDS:  # gigabytes
        shutil.rmtree(data)
    shutil.rmtree(work / "runs" / name)
    return point


def measured_on_ray(run: list[str], python: Path, folder: Path, log: Path) -> dict[str, Any]:
    """The stage with Ray's workers on this machine; its files must have the bytes that they have without it."""
    stamp = folder / "stamps" / "data.json"
    outputs = json.loads(stamp.read_text())["outputs"]
    os.environ["TINSMITH_RAY"] = "local"
    try:
        sample = run_sampled([str(python), *run[1:], "--from", "data", "--to", "data", "--force"], log)
    finally:
        del os.environ["TINSMITH_RAY"]
    on_ray = json.loads(stamp.read_text())["outputs"]
    if on_ray != outputs:
        sys.exit(f"Ray wrote other bytes: {sorted(name for name in outputs if on_ray.get(name) != outputs[name])}")
    # Ray's workers are not this process's children when they end, so their processor time is not known.
    return {name: value for name, value in sample.items() if name != "cpu_seconds"} | {"same_bytes": True}


def run_sampled(command: list[str], log: Path) -> dict[str, float]:
    """Run a command, and measure it with all its children.

    Returns:
        `wall_seconds`, `cpu_seconds`, `peak_rss_bytes` (every process's resident pages; shared ones count once for each
        process) and `peak_pss_bytes` (shared pages divided among their processes), the largest sums over the processes.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    before, started = _children_cpu_seconds(), time.monotonic()
    peaks = {"peak_rss_bytes": 0, "peak_pss_bytes": 0}
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            for name, value in _memory(process.pid).items():
                peaks[name] = max(peaks[name], value)
            time.sleep(_SAMPLE_SECONDS)
    wall = time.monotonic() - started
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}\n{log.read_text()[-3000:]}")
    return {"wall_seconds": wall, "cpu_seconds": _children_cpu_seconds() - before, **peaks}


def _children_cpu_seconds() -> float:
    """CPU time of finished children and of those that they waited for."""
    times = psutil.Process().cpu_times()
    return times.children_user + times.children_system


def _memory(pid: int) -> dict[str, int]:
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return {}
    rss = pss = 0
    for process in processes:
        try:
            memory = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has just ended
            continue
        rss += memory.rss
        pss += getattr(memory, "pss", memory.uss)
    return {"peak_rss_bytes": rss, "peak_pss_bytes": pss}


def floor(data: Path, model_dir: Path) -> dict[str, float]:
    """CPU seconds to read, parse and tokenize at most `_FLOOR_RECORDS` records, the same number of every file."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    files = sorted(data.iterdir())
    started, records = time.process_time(), 0
    for path in files:
        with path.open(encoding="utf-8") as lines:
            for line in itertools.islice(lines, _FLOOR_RECORDS // len(files)):
                record = json.loads(line)
                turns = record.get("messages") or record["conversations"]
                text = "\n".join(turn.get("content") or turn.get("value", "") for turn in turns)
                tokenizer.encode(text, add_special_tokens=False)
                records += 1
    return {"records": records, "cpu_seconds": time.process_time() - started}


def commit() -> str:
    """Short hash of the code, with `+` if files are changed."""
    git = ["git", "-C", str(HERE), "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()


def exponents(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Growth between neighbouring sizes of each kind: the power of the number of conversations."""
    grown = []
    for one, other in itertools.pairwise(points):
        if one["kind"] == other["kind"]:
            ratio = math.log(other["conversations"] / one["conversations"])
            grown.append(
                {
                    "kind": one["kind"],
                    "from": one["conversations"],
                    "to": other["conversations"],
                    **{
                        key.rpartition("_")[0]: round(math.log(other[key] / one[key]) / ratio, 3)
                        for key in ("wall_seconds", "cpu_seconds", "peak_rss_bytes")
                    },
                }
            )
    return grown


def table(points: list[dict[str, Any]]) -> str:
    """All points as a Markdown table."""
    rows = [
        "| questions | conversations | wall s | CPU s | floor, CPU s | peak GB (PSS) | check, wall s (CPU s) |",
        "|---|---|---|---|---|---|---|",
    ]
    for point in points:
        check = "{wall_seconds:.1f} ({cpu_seconds:.1f})".format(**point["check"]) if "check" in point else "-"
        rows.append(
            f"| {point['kind']} | {point['conversations']:,} | {point['wall_seconds']:.1f} | "
            f"{point['cpu_seconds']:.1f} | {point['floor_cpu_seconds']:.1f} | "
            f"{point['peak_rss_bytes'] / 1e9:.2f} ({point['peak_pss_bytes'] / 1e9:.2f}) | {check} |"
        )
    rows += [""]
    rows += [
        f"{step['kind']}, {step['from']:,} to {step['to']:,}: wall time grows with power {step['wall']:.2f}, "
        f"CPU time {step['cpu']:.2f}, memory {step['peak_rss']:.2f} (at most {MAX_EXPONENT})"
        for step in exponents(points)
    ]
    return "\n".join(rows)


def plot(points: list[dict[str, Any]], path: Path) -> None:
    """CPU time with its floor, and memory, over the number of conversations; both axes logarithmic."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    colours = {"templated": "#1f5fa8", "random": "#c8500a"}
    with rc_context({"svg.hashsalt": "data_scale", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        seconds, memory = figure.subplots(1, 2)
        for kind, colour in colours.items():
            of_kind = [point for point in points if point["kind"] == kind]
            sizes = [point["conversations"] for point in of_kind]
            seconds.plot(sizes, [p["wall_seconds"] for p in of_kind], "o-", color=colour, label=f"{kind}, wall")
            seconds.plot(sizes, [p["cpu_seconds"] for p in of_kind], "o--", color=colour, label=f"{kind}, CPU")
            memory.plot(sizes, [p["peak_rss_bytes"] / 1e9 for p in of_kind], "o-", color=colour, label=kind)
        largest = {point["conversations"]: point["floor_cpu_seconds"] for point in points}
        seconds.plot(sorted(largest), [largest[size] for size in sorted(largest)], ":", color="#767068", label="floor")
        seconds.set(xscale="log", yscale="log", xlabel="conversations", ylabel="seconds")
        memory.set(xscale="log", yscale="log", xlabel="conversations", ylabel="GB, all processes")
        for axes in (seconds, memory):
            axes.legend(frameon=False, fontsize=8)
            axes.spines[["top", "right"]].set_visible(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()

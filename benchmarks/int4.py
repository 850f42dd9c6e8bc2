"""Compare tinsmith's INT4 recipes with ONNX Runtime's RTN and k_quant, HQQ and AutoRound on the same merged weights.

Each model is fine-tuned on the data, merged, and quantized by every recipe and every peer. Each result is scored on the
test split, and on 100 conversations of other data, used neither for tuning nor for calibration. tinsmith's packages run
on ONNX Runtime. Peers are scored by their dequantized weights in float32.

The last line is one JSON object, `{model: {recipe, weights_mb, ppl_ratio, ppl_ratio_low, ppl_ratio_high, seconds,
peak_gb}}`, for the recipe that `export.recipe = "auto"` takes: `rtn` if its perplexity on the validation split is close
enough, else `mixed`. Every row and the machine are in `benchmarks/results/int4.json`, or `int4_faq.json` for the public
question-answer set. Models that a call leaves out keep their earlier results. An interrupted call continues where it
stopped: nothing is quantized twice from the same weights, settings and code.
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import HERE, SEED, data_path, environment, faq, fine_tuned, publish, published, run_measured

from tinsmith.core.code_version import code_version
from tinsmith.core.config import ExportConfig

PACKAGES = ("torch", "transformers", "onnxruntime")
WORK = HERE / ".work" / "int4"
RECIPES = ("rtn", "gptq", "mixed")
PEERS = {"ort_rtn": "ONNX Runtime RTN", "ort_k_quant": "ONNX Runtime k_quant", "hqq": "HQQ", "autoround": "AutoRound"}
CALIBRATION_CONVERSATIONS = 48
OTHER_CONVERSATIONS = 100
MAX_PERPLEXITY_RATIO = ExportConfig().max_perplexity_ratio
SUMMARY = ("recipe", "weights_mb", "ppl_ratio", "ppl_ratio_low", "ppl_ratio_high", "seconds", "peak_gb")
NOT_PUBLISHED = ("package", "values", "key", "scored")
"""Columns of a row that mean nothing outside this machine."""


def main() -> None:
    arguments = parsed_arguments()
    measured_on = {"environment": environment(arguments.data, PACKAGES), "other_data": arguments.other_data.name}
    results = "int4_faq" if arguments.data.resolve() == faq("en").resolve() else "int4"
    models = published(results)
    for model in arguments.models.split(","):
        rows = compare(model, arguments)
        models[model] = (
            shipped(rows)
            | measured_on
            | {
                "rows": {
                    name: {key: value for key, value in row.items() if key not in NOT_PUBLISHED}
                    for name, row in rows.items()
                }
            }
        )
        publish(results, models, {model: {key: row[key] for key in SUMMARY} for model, row in models.items()})


def shipped(rows: dict[str, dict]) -> dict:
    """Summary of the recipe that `export.recipe = "auto"` ships."""
    row = rows["rtn" if rows["rtn"]["val_ratio"] <= MAX_PERPLEXITY_RATIO else "mixed"]
    return {key: row[key] for key in SUMMARY}


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_path())
    parser.add_argument(
        "--other-data",
        type=Path,
        help="default: the Swedish half of the public question-answer set, "
        "or its English half where --data is something else",
    )
    parser.add_argument("--peer-python", type=Path, default=HERE / ".venv-int4" / "bin" / "python")
    parser.add_argument("--models", default="smollm2-135m-instruct,gemma-3-270m")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--calibration-tokens", type=int, default=ExportConfig().calibration_tokens)
    parser.add_argument("--epochs", type=int, default=2, help="of the fine-tune that is quantized")
    arguments = parser.parse_args()
    arguments.other_data = arguments.other_data or faq("sv" if arguments.data == faq("en") else "en")
    return arguments


def compare(model: str, arguments: argparse.Namespace) -> dict:
    """Size, perplexity ratios, time and memory of every recipe and peer on one model."""
    work = WORK / f"{model}-{arguments.data.stem}"
    work.mkdir(parents=True, exist_ok=True)
    run, command = fine_tuned(model, arguments.data, arguments.epochs)
    other = ["--set", "name=other", "--set", f"data.path={arguments.other_data.resolve()}", "--to", "data"]
    run_measured([*command, *other], work / "other.log")
    key = key_of(run, f"{arguments.calibration_tokens} {code_version('tinsmith.export.stage')}", HERE / "int4_ours.py")
    candidates = {
        name: cached(work / name, key, lambda out, name=name: ours(out, run, name, arguments.calibration_tokens))
        for name in RECIPES
    }
    key = key_of(run, "", HERE / "int4_peer.py", HERE / "int4_peer_requirements.txt")
    candidates |= {
        name: cached(work / name, key, lambda out, name=name: peers(out, run, name, arguments))
        for name in arguments.peers.split(",")
        if name
    }
    score(work, run, run.parent / "other" / "data" / "train.jsonl", candidates)
    for name, row in candidates.items():
        print(f"{model}, {line(name, row)}", file=sys.stderr)
    return candidates


def key_of(run: Path, code: str, *scripts: Path) -> str:
    """Digest of everything a candidate depends on: weights, conversations, settings, `code` and `scripts`."""
    data = [run / "data" / "train.jsonl", run / "data" / "val.jsonl"]
    return digest_of([*scripts, *data, *sorted((run / "merge" / "model").iterdir())], hashlib.sha256(code.encode()))


def digest_of(files: list[Path], digest: Any) -> str:
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def cached(out: Path, key: str, make: Callable[[Path], dict]) -> dict:
    """Row of a candidate, computed in `out` unless it is there with the same `key`."""
    path = out / "row.json"
    if path.exists() and (row := json.loads(path.read_text()))["key"] == key:
        return row
    row = make(fresh(out)) | {"key": key}
    path.write_text(json.dumps(row))
    return row


def line(name: str, row: dict) -> str:
    title = PEERS.get(name, f"tinsmith {name}")
    test, other = (
        ratio_of(row, "ppl_ratio", "ppl_ratio_low", "ppl_ratio_high"),
        ratio_of(row, "other_ratio", "other_low", "other_high"),
    )
    return (
        f"{title}: {row['weights_mb']:.1f} MB, perplexity ratio {test}, other data {other}, {row['seconds']:.0f} s, "
        f"{row['peak_gb']:.2f} GB"
    )


def ratio_of(row: dict, value: str, low: str, high: str) -> str:
    """A ratio with its interval; too few conversations give none."""
    interval = "" if row[low] is None else f" [{row[low]:.4f}, {row[high]:.4f}]"
    return f"{row[value]:.4f}{interval}"


def ours(out: Path, run: Path, recipe: str, calibration_tokens: int) -> dict:
    """Run one recipe of the export stage in its own process, gates included."""
    command = [sys.executable, str(HERE / "int4_ours.py"), recipe, str(calibration_tokens), str(run), str(out)]
    seconds, peak_bytes = run_measured(command, out / "log")
    measured = json.loads((out / "measured.json").read_text())
    return {
        "recipe": recipe,
        "weights_mb": measured["export.weights_bytes"] / 1e6,
        "seconds": seconds,
        "peak_gb": peak_bytes / 1e9,
        "val_ratio": measured[f"export.recipe.{recipe}.perplexity_ratio"],
        "package": str(out / "package"),
    }


def peers(out: Path, run: Path, peer: str, arguments: argparse.Namespace) -> dict:
    """Run another project's quantizer in its own environment."""
    from tinsmith.model.conversations import read_jsonl
    from tinsmith.model.tokens import load_tokenizer

    tokens = load_tokenizer(run / "merge" / "model").encode_all(read_jsonl(run / "data" / "train.jsonl"))
    (out / "calibration.json").write_text(json.dumps([list(t.ids) for t in tokens[:CALIBRATION_CONVERSATIONS]]))
    command = [
        str(arguments.peer_python),
        str(HERE / "int4_peer.py"),
        peer,
        str(run / "merge" / "model"),
        str(out / "calibration.json"),
        str(out),
    ]
    seconds, peak_bytes = run_measured(command, out / "log")
    result = json.loads((out / "result.json").read_text())
    return {
        "recipe": peer,
        "weights_mb": result["weights_bytes"] / 1e6,
        "seconds": seconds,
        "peak_gb": peak_bytes / 1e9,
        "values": str(out / "weights.safetensors"),
        "packages": result["packages"],
    }


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def score(work: Path, run: Path, other: Path, candidates: dict[str, dict]) -> None:
    """Add the perplexity ratios to every candidate that lacks them, in a process that frees its memory when it ends."""
    conversations = {"test": run / "data" / "test.jsonl", "other": other}
    code = hashlib.sha256(
        code_version("tinsmith.evaluate.nll").encode()
        + code_version("tinsmith.export.models").encode()
        + f"{SEED} {OTHER_CONVERSATIONS}".encode()
    )
    scored = digest_of([HERE / "int4_score.py", *conversations.values()], code)
    missing = {name: row for name, row in candidates.items() if row.get("scored") != scored}
    if not missing:
        return
    plan = {
        "run": str(run),
        "conversations": {name: str(path) for name, path in conversations.items()},
        "most": {"test": None, "other": OTHER_CONVERSATIONS},
        "seed": SEED,
        "candidates": missing,
    }
    (work / "plan.json").write_text(json.dumps(plan))
    run_measured(
        [sys.executable, str(HERE / "int4_score.py"), str(work / "plan.json"), str(work / "scores.json")],
        work / "score.log",
    )
    for name, scores in json.loads((work / "scores.json").read_text()).items():
        candidates[name] |= scores | {"scored": scored}
        (work / name / "row.json").write_text(json.dumps(candidates[name]))


if __name__ == "__main__":
    main()

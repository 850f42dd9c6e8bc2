"""Measure time, memory and size of an export at the scale of Gemma 3 1B, with random weights in its full shape.

Random weights say nothing about perplexity, but every matrix is calibrated and every gate must hold. The tokenizer is
that of Gemma 3 270M, which has the same vocabulary. The last line is one JSON object, also in
`benchmarks/results/int4_1b.json`.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from harness import HERE, data_path, environment, publish, run_measured
from int4 import PACKAGES, WORK, fresh

from tinsmith.core.config import ExportConfig

CONFIG = HERE / "gemma-3-1b.json"
SEED = 17


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_path())
    parser.add_argument("--recipe", default="mixed")
    parser.add_argument(
        "--calibration-tokens", type=int, default=ExportConfig().calibration_tokens, help="0: 4,096 for this size"
    )
    arguments = parser.parse_args()
    run = prepared(WORK / "gemma-3-1b", arguments)
    out = fresh(WORK / "gemma-3-1b" / "out")
    command = [
        sys.executable,
        str(HERE / "int4_ours.py"),
        arguments.recipe,
        str(arguments.calibration_tokens),
        str(run),
        str(out),
    ]
    seconds, peak_bytes = run_measured(command, WORK / "gemma-3-1b" / "export.log")
    graphs = [path.stat().st_size for path in (out / "package" / "onnx").iterdir()]
    package = [path.stat().st_size for path in (out / "package").rglob("*") if path.is_file()]
    record = json.loads((out / "export.json").read_text())
    summary = {
        "recipe": arguments.recipe,
        "calibration_tokens": record["calibration_tokens"],
        "package_mb": sum(package) / 1e6,
        "weights_mb": sum(graphs) / 1e6,
        "largest_file_mb": max(graphs) / 1e6,
        "seconds": seconds,
        "peak_gb": peak_bytes / 1e9,
    }
    publish("int4_1b", {"environment": environment(arguments.data, PACKAGES), **summary}, summary)


def prepared(work: Path, arguments: argparse.Namespace) -> Path:
    """A run folder with a random merged model."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    run = work / "run"
    work.mkdir(parents=True, exist_ok=True)
    config = work / "tinsmith.toml"
    config.write_text(
        f'name = "run"\nseed = {SEED}\n[base]\nmodel = "gemma-3-270m"\n[data]\npath = "{arguments.data.resolve()}"\n'
    )
    run_measured(
        [sys.executable, "-m", "tinsmith", "run", str(config), "--runs", str(work), "--to", "data"], work / "data.log"
    )
    model_dir = fresh(run / "merge" / "model")
    for path in (run / "base" / "model").iterdir():
        if path.suffix != ".safetensors":
            shutil.copyfile(path, model_dir / path.name)
    shutil.copyfile(CONFIG, model_dir / "config.json")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model_dir), dtype=torch.bfloat16)
    generator = torch.Generator().manual_seed(SEED)
    weights = {
        name: torch.empty(weight.shape, dtype=torch.bfloat16).normal_(
            0, 0.02 if weight.dim() == 2 else 0.1, generator=generator
        )
        for name, weight in model.named_parameters()
    }
    save_file(weights, model_dir / "model.safetensors", metadata={"format": "pt"})
    return run


if __name__ == "__main__":
    main()

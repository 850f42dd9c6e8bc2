"""Compare tinsmith's training with the stock path (TRL + PEFT + bitsandbytes NF4) on this machine.

Both start from the same adapter and take the same optimizer steps on the same conversations in the same order, with
the same loss mask. They alternate for several rounds. Ratios are taken within a round, and their median is reported.

The last line is one JSON object, `{model: {speed_ratio, memory_ratio, loss_ratio}}`, tinsmith over the stock path.
Everything measured is in `benchmarks/results/train.json`.
"""

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from harness import HERE, data_path, environment, publish, run_measured

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes")
WORK = HERE / ".work" / "train"
SEED = 17

OURS: dict[str, dict[str, Any]] = {
    "smollm2-135m-instruct": {"batch_size": 4, "gradient_checkpointing": "never"},
    "gemma-3-270m": {"batch_size": 4, "gradient_checkpointing": "always"},
}
"""Conversations in one forward pass, and whether layers are recomputed to save memory.

Gemma spends half of its time on its vocabulary, so checkpointing the layers costs little there.
"""


def main() -> None:
    arguments = parsed_arguments()
    report, ratios = {"environment": environment(arguments.data, PACKAGES), "models": {}}, {}
    for model in arguments.models.split(","):
        report["models"][model] = compare(model, arguments)
        ratios[model] = {name: report["models"][model][name] for name in ("speed_ratio", "memory_ratio", "loss_ratio")}
    publish("train", report, ratios)


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_path())
    parser.add_argument("--peer-python", type=Path, default=HERE / ".venv-trl" / "bin" / "python")
    parser.add_argument("--models", default=",".join(OURS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="the first is not timed")
    parser.add_argument("--effective-batch-size", type=int, default=8, help="conversations of an optimizer step")
    parser.add_argument(
        "--peer-batch-size", type=int, default=2, help="conversations in one of the stock path's passes"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument(
        "--without-checkpointing",
        action="store_true",
        help="turn off TRL's gradient checkpointing, which it does by default",
    )
    return parser.parse_args()


def compare(model: str, arguments: argparse.Namespace) -> dict:
    """Every round of both sides on one model, and the median ratios."""
    work = WORK / model
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    prepare(work, model, arguments)
    plan = write_plan(work, arguments)
    counts = [sum(len(plan["ids"][i]) for i in step) for step in plan["order"]]
    rounds = []
    for number in range(1, arguments.rounds + 1):
        ours, theirs = run_ours(work, counts), run_peer(work, arguments.peer_python, counts)
        rounds.append({"ours": ours, "stock": theirs})
        print(
            f"{model}, round {number}: {line(ours)} | stock {line(theirs)} | "
            f"{ours['tokens_per_second'] / theirs['tokens_per_second']:.2f}x",
            file=sys.stderr,
        )
    losses = held_out_losses(work)
    median = {
        name: statistics.median(one["ours"][name] / one["stock"][name] for one in rounds)
        for name in ("tokens_per_second", "peak_bytes")
    }
    print(
        f"{model}: held-out loss {losses['untrained']:.4f}, after {arguments.steps} steps {losses['ours']:.4f} | "
        f"stock {losses['stock']:.4f} nats per token",
        file=sys.stderr,
    )
    return {
        "speed_ratio": round(median["tokens_per_second"], 3),
        "memory_ratio": round(median["peak_bytes"], 3),
        "loss_ratio": round(losses["ours"] / losses["stock"], 5),
        "held_out_loss": losses,
        "rounds": rounds,
        "tokens_per_step": counts,
        "steps": arguments.steps,
        "learning_rate": arguments.learning_rate,
        "effective_batch_size": arguments.effective_batch_size,
        "settings": {
            "ours": OURS[model],
            "stock": {
                "batch_size": arguments.peer_batch_size,
                "gradient_checkpointing": not arguments.without_checkpointing,
            },
        },
    }


def line(result: dict) -> str:
    return f"{result['tokens_per_second']:.0f} tokens/s, {result['peak_bytes'] / 1e9:.2f} GB"


def prepare(work: Path, model: str, arguments: argparse.Namespace) -> None:
    """The base model, the conversations in whole steps, and tinsmith's settings."""
    config = work / "tinsmith.toml"
    config.write_text(
        f'name = "bench"\nseed = {SEED}\n[base]\nmodel = "{model}"\n[data]\npath = "{arguments.data.resolve()}"\n'
    )
    command = [sys.executable, "-m", "tinsmith", "run", str(config), "--runs", str(work), "--to", "data"]
    run_measured(command, work / "prepare.log")
    data = work / "data"
    data.mkdir()
    shutil.copy(work / "bench" / "data" / "val.jsonl", data)
    lines = (work / "bench" / "data" / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    whole = len(lines) // arguments.effective_batch_size * arguments.effective_batch_size
    (data / "train.jsonl").write_text("".join(lines[:whole]), encoding="utf-8")
    own = OURS.get(model, {"batch_size": 4})
    (work / "settings.json").write_text(
        json.dumps(
            {
                "seed": SEED,
                "train": {
                    **own,
                    "backend": "peft",
                    "steps": arguments.steps,
                    "grad_accum_steps": arguments.effective_batch_size // own["batch_size"],
                    "learning_rate": arguments.learning_rate,
                    "schedule": "constant",
                    "warmup_fraction": 0.0,
                },
            }
        )
    )


def write_plan(work: Path, arguments: argparse.Namespace) -> dict:
    """The conversations of every step as tinsmith will take them, and the adapter it starts from."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    from tinsmith.core.config import TrainConfig
    from tinsmith.core.device import choose_device
    from tinsmith.model.conversations import read_jsonl
    from tinsmith.model.tokens import load_tokenizer
    from tinsmith.train.batching import epoch_steps
    from tinsmith.train.qlora import TARGET_MODULES, load_qlora

    config, model_dir = TrainConfig(), work / "bench" / "base" / "model"
    train = load_tokenizer(model_dir).encode_all(read_jsonl(work / "data" / "train.jsonl"))
    size = arguments.effective_batch_size
    order = epoch_steps(len(train), size, SEED, 0)[: arguments.steps]
    if len(order) < arguments.steps:
        sys.exit(f"too few conversations for {arguments.steps} steps of {size}")
    model = load_qlora(model_dir, config, choose_device(), SEED).model
    initial = {name: tensor.float().contiguous() for name, tensor in get_peft_model_state_dict(model).items()}
    save_file(initial, work / "initial.safetensors")
    flat = [train[index] for step in order for index in step]
    plan = {
        "model_dir": str(model_dir.resolve()),
        "initial_adapter": str(work / "initial.safetensors"),
        "ids": [list(tokens.ids) for tokens in flat],
        "masks": [list(map(bool, tokens.mask)) for tokens in flat],
        "order": [list(range(start, start + size)) for start in range(0, len(flat), size)],
        "rank": config.lora_rank,
        "alpha": config.lora_alpha,
        "target_modules": list(TARGET_MODULES),
        "steps": arguments.steps,
        "learning_rate": arguments.learning_rate,
        "peer_batch_size": arguments.peer_batch_size,
        "effective_batch_size": size,
        "peer_checkpointing": not arguments.without_checkpointing,
    }
    (work / "plan.json").write_text(json.dumps(plan))
    return plan


def run_ours(work: Path, counts: list[int], name: str = "ours", untimed: int = 1) -> dict:
    """Train with the settings in `work/settings.json`, or `work/NAME.settings.json` if there is one."""
    out = work / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    own = work / f"{name}.settings.json"
    folders = [str(work / "bench" / "base"), str(work / "data"), str(out)]
    settings = str(own if own.exists() else work / "settings.json")
    _, peak_bytes = run_measured(
        [sys.executable, str(HERE / "train_ours.py"), settings, *folders], work / f"{name}.log"
    )
    log = [json.loads(text) for text in (out / "log.jsonl").read_text().splitlines()]
    steps = [entry for entry in log if "step" in entry]
    if [entry["tokens"] for entry in steps] != counts:
        sys.exit(f"tinsmith trained on other conversations than planned: {[entry['tokens'] for entry in steps]}")
    record = json.loads((out / "train.json").read_text())
    if record["hardware"]["gpu"]:
        peak_bytes = record["peak_memory_bytes"]
    losses = [entry["loss"] for entry in steps]
    return summary([entry["seconds"] for entry in steps], losses, counts, peak_bytes, untimed)


def run_peer(work: Path, python: Path, counts: list[int], untimed: int = 1) -> dict:
    out = work / "stock"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    command = [str(python), str(HERE / "train_peer.py"), str(work / "plan.json"), str(out)]
    run_measured(command, work / "stock.log")
    result = json.loads((out / "result.json").read_text())
    row = summary(result["seconds"], result["losses"], counts, result["peak_bytes"], untimed)
    return row | {"packages": result["packages"]}


def summary(seconds: list[float], losses: list[float], counts: list[int], peak_bytes: int, untimed: int) -> dict:
    return {
        "tokens_per_second": sum(counts[untimed:]) / sum(seconds[untimed:]),
        "peak_bytes": peak_bytes,
        "step_seconds": seconds,
        "losses": losses,
    }


def held_out_losses(work: Path) -> dict[str, float]:
    """Nats per supervised token of the validation split, by the same code for the adapters of both sides."""
    import torch
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    from tinsmith.core.config import TrainConfig
    from tinsmith.core.device import choose_device
    from tinsmith.model.conversations import read_jsonl
    from tinsmith.model.tokens import load_tokenizer
    from tinsmith.train.engine import PackedEngine
    from tinsmith.train.lora import lora_decoder
    from tinsmith.train.qlora import load_qlora

    device, model_dir = choose_device(), work / "bench" / "base" / "model"
    val = load_tokenizer(model_dir).encode_all(read_jsonl(work / "data" / "val.jsonl"))
    model = load_qlora(model_dir, TrainConfig(), device, SEED).model.to(device.device)
    adapters = {
        "untrained": work / "initial.safetensors",
        "ours": work / "ours" / "adapter" / "adapter_model.safetensors",
        "stock": work / "stock" / "adapter" / "adapter_model.safetensors",
    }
    losses = {}
    for name, path in adapters.items():
        set_peft_model_state_dict(model, load_file(path))
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(device.dtype)
        engine = PackedEngine(lora_decoder(model), 4, 10**9, device.device)
        with torch.no_grad():
            groups = engine.groups(val, range(len(val)))
            nll = sum(engine.loss_sum([val[index] for index in group]).item() for group in groups)
        losses[name] = nll / sum(tokens.supervised for tokens in val)
    return losses


if __name__ == "__main__":
    main()

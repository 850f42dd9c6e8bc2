"""Measure how the cost of training grows with conversations in a pass and with their length: table, JSON and plot.

Usage: python train_growth.py [--data PATH] [--model ALIAS]. Every point is the median of several forward and backward
passes. Tokens are counted over whole conversations, shared openings in each.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

from harness import HERE, data_path, environment, publish, run_measured

from train import PACKAGES, SEED, WORK

CONVERSATIONS = (1, 2, 4, 8, 16, 32)
LENGTHS = (512, 1024, 2048, 4096)
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_path())
    parser.add_argument("--model", default="smollm2-135m-instruct")
    arguments = parser.parse_args()

    from tinsmith.core.config import TrainConfig
    from tinsmith.core.device import choose_device
    from tinsmith.model.conversations import read_jsonl
    from tinsmith.model.tokens import load_tokenizer
    from tinsmith.train.lora import lora_decoder
    from tinsmith.train.qlora import load_qlora

    run = prepared_run(arguments)
    conversations = load_tokenizer(run / "base" / "model").encode_all(read_jsonl(run / "data" / "train.jsonl"))
    device = choose_device()
    model = load_qlora(run / "base" / "model", TrainConfig(), device, SEED).model
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(device.dtype)
    decoder = lora_decoder(model)
    passes = {
        "conversations": {count: conversations[:count] for count in CONVERSATIONS},
        "length": {length: [of_length(conversations, length)] for length in LENGTHS},
    }
    seconds = measured(decoder, passes, device.device)
    report = {"environment": environment(arguments.data, PACKAGES), "model": arguments.model, **table(passes, seconds)}
    publish("train_growth", report, {kind: report[kind] for kind in passes})
    plot(report, HERE / "results" / "train_growth.png")


def prepared_run(arguments: argparse.Namespace) -> Path:
    work = WORK / "growth"
    work.mkdir(parents=True, exist_ok=True)
    config = work / "tinsmith.toml"
    config.write_text(
        f'name = "{arguments.model}"\nseed = {SEED}\n[base]\nmodel = "{arguments.model}"\n'
        f'[data]\npath = "{arguments.data.resolve()}"\n'
    )
    command = [sys.executable, "-m", "tinsmith", "run", str(config), "--runs", str(work), "--to", "data"]
    run_measured(command, work / "prepare.log")
    return work / arguments.model


def of_length(conversations: list, length: int):
    """Several conversations joined to one of exactly `length` tokens."""
    from tinsmith.model.tokens import Tokens

    ids, mask = (), ()
    for tokens in conversations:
        if len(ids) >= length:
            break
        ids, mask = ids + tokens.ids, mask + tokens.mask
    return Tokens(f"{length} tokens", ids[:length], mask[:length])


def measured(decoder, passes: dict, device) -> dict:
    """Seconds of every repeat of every pass. Passes alternate, so that drift of the machine affects all alike."""
    from tinsmith.model.packed.loss import pack_loss_sum
    from tinsmith.model.packed.packing import make_pack

    seconds: dict = {kind: {size: [] for size in groups} for kind, groups in passes.items()}
    for repeat in range(REPEATS + 1):
        for kind, groups in passes.items():
            for size, group in groups.items():
                started = time.perf_counter()
                pack_loss_sum(decoder, make_pack(group, device)).backward()
                if device.type == "cuda":
                    import torch

                    torch.cuda.synchronize()
                if repeat:  # the first round warms up
                    seconds[kind][size].append(time.perf_counter() - started)
    return seconds


def table(passes: dict, seconds: dict) -> dict:
    from tinsmith.model.packed.packing import packed_rows

    return {
        kind: [
            {
                "size": size,
                "tokens": sum(len(tokens.ids) for tokens in group),
                "rows": packed_rows(group),
                "tokens_per_second": sum(len(tokens.ids) for tokens in group) / statistics.median(seconds[kind][size]),
                "seconds": seconds[kind][size],
            }
            for size, group in groups.items()
        ]
        for kind, groups in passes.items()
    }


def plot(report: dict, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    labels = {"conversations": "conversations in a pass", "length": "tokens of one conversation, alone in its pass"}
    for axes, (kind, label) in zip(figure.subplots(1, 2), labels.items(), strict=True):
        sizes = [point["size"] for point in report[kind]]
        speeds = [point["tokens_per_second"] for point in report[kind]]
        axes.plot(sizes, speeds, "o-", color="#1f5fa8")
        for size, speed in zip(sizes, speeds, strict=True):
            axes.annotate(f"{speed:.0f}", (size, speed), textcoords="offset points", xytext=(0, 7), ha="center")
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.set(xlabel=label, ylabel="tokens/s (whole conversations)")
        axes.set_ylim(bottom=0, top=1.15 * max(speeds))
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Training {report['model']}: forward and backward on {report['environment']['hardware']['cpu']}")
    figure.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    main()

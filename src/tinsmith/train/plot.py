"""Plots the loss curve as a self-explanatory picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinsmith.core.pictures import BLUE, ORANGE, new_picture
from tinsmith.core.run_dir import write_bytes


def plot_losses(log: Sequence[dict[str, Any]], best_epoch: int, title: str, path: Path) -> None:
    """Write a PNG of training loss per optimizer step and validation loss per epoch to `path`.

    Args:
        log: Lines of `log.jsonl`: steps have `step` and `loss`, epochs have `epoch` and `val_loss`.
        best_epoch: The epoch whose adapter is used; marked in the picture.
    """
    steps = [line["step"] for line in log if "step" in line]
    losses = [line["loss"] for line in log if "step" in line]
    epoch_end = {line["epoch"]: line["step"] for line in log if "step" in line} | {0: 0}
    val = [(epoch_end[line["epoch"]], line["val_loss"], line["epoch"]) for line in log if "val_loss" in line]
    window = max(1, len(steps) // 20)
    with new_picture(3.6, title) as picture:
        axes = picture.axes
        for end in sorted(epoch_end.values())[1:]:
            axes.axvline(end, color="0.88", zorder=0)
        axes.plot(steps, losses, color=BLUE, alpha=0.25, linewidth=1, label="training, each step")
        if window > 1:
            smoothed = _smoothed(losses, window)
            axes.plot(steps, smoothed, color=BLUE, linewidth=2, label=f"training, mean of {window} steps")
        axes.plot([x for x, _, _ in val], [y for _, y, _ in val], "o-", color=ORANGE, linewidth=1, label="validation")
        for x, y, epoch in val:
            is_kept = epoch == best_epoch
            text = f"{y:.2f}" + (" (kept)" if is_kept else "")
            axes.annotate(
                text,
                (x, y),
                textcoords="offset points",
                xytext=(0, 10),
                ha="center",
                color=ORANGE,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
            )
            if is_kept:
                axes.plot([x], [y], "o", markersize=13, markerfacecolor="none", markeredgecolor=ORANGE)
        axes.set(xlabel="optimizer step (grey lines end an epoch)", ylabel="loss (nats per token)")
        axes.margins(x=0.09, y=0.12)
        axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))
        axes.legend(frameon=False)
        write_bytes(path, picture.png())


def _smoothed(values: Sequence[float], window: int) -> list[float]:
    """Mean of each value and up to `window - 1` before it."""
    return [sum(part) / len(part) for i in range(len(values)) if (part := values[max(0, i + 1 - window) : i + 1])]

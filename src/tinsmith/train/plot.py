"""Plots the loss curve as a self-explanatory picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_BLUE, _ORANGE = "#1f5fa8", "#c8500a"


def plot_losses(log: Sequence[dict[str, Any]], best_epoch: int, title: str, path: Path) -> None:
    """Write a PNG of training loss per optimizer step and validation loss per epoch to `path`.

    Args:
        log: Lines of `log.jsonl`: steps have `step` and `loss`, epochs have `epoch` and `val_loss`.
        best_epoch: The epoch whose adapter is used; marked in the picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    steps = [line["step"] for line in log if "step" in line]
    losses = [line["loss"] for line in log if "step" in line]
    epoch_end = {line["epoch"]: line["step"] for line in log if "step" in line} | {0: 0}
    axes.plot(steps, losses, color=_BLUE, alpha=0.25, linewidth=1, label="training, each step")
    window = max(1, len(steps) // 20)
    if window > 1:
        axes.plot(steps, _smoothed(losses, window), color=_BLUE, linewidth=2, label=f"training, mean of {window} steps")
    val = [(epoch_end[line["epoch"]], line["val_loss"], line["epoch"]) for line in log if "val_loss" in line]
    axes.plot([x for x, _, _ in val], [y for _, y, _ in val], "o-", color=_ORANGE, linewidth=1, label="validation")
    for x, y, epoch in val:
        mark = " (kept)" if epoch == best_epoch else ""
        axes.annotate(f"{y:.2f}{mark}", (x, y), textcoords="offset points", xytext=(0, 9), ha="center", color=_ORANGE)
        if mark:
            axes.plot([x], [y], "o", markersize=13, markerfacecolor="none", markeredgecolor=_ORANGE)
    for end in sorted(epoch_end.values())[1:]:
        axes.axvline(end, color="0.88", zorder=0)
    axes.set(title=title, xlabel="optimizer step (grey lines end an epoch)", ylabel="loss (nats per supervised token)")
    axes.margins(x=0.04, y=0.12)
    axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    # Without a version and a time in the metadata, the same log always produces the same file.
    figure.savefig(path, metadata={"Software": None})


def _smoothed(values: Sequence[float], window: int) -> list[float]:
    """Mean of each value and up to `window - 1` before it."""
    return [sum(part) / len(part) for i in range(len(values)) if (part := values[max(0, i + 1 - window) : i + 1])]

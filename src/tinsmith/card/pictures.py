"""The card's pictures, drawn from the same numbers as its text. A picture without numbers is not drawn."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinsmith.card import browsers
from tinsmith.card.answers import SETTINGS, shows_passages
from tinsmith.card.evidence import required
from tinsmith.card.facts import Facts
from tinsmith.card.rounding import number_text
from tinsmith.core.measure import Measurement
from tinsmith.core.pictures import BLUE, GREY, ORANGE, new_picture

_PALE, _PALE_ORANGE = "#cfcac1", "#f0b48f"
_NAME_CHARACTERS = 22
_LABEL_WIDTH = 7
"""Percent of a bar that a number of two digits needs; with its sign it needs twice as much."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture to draw."""

    file: str
    text: str
    """The same in words, for people who do not see it."""
    png: Callable[[], bytes]
    """Draws it."""


@dataclass(frozen=True, slots=True)
class _Bar:
    """One bar of parts that add up to all questions of a kind."""

    name: str
    right: float = 0.0
    wrong: float = 0.0
    unanswered: float = 0.0
    not_right: float = 0.0
    """Wrong or not answered, where these were not told apart."""


def drawings(facts: Facts) -> dict[str, Drawing]:
    """Every picture that there are numbers for, by file name."""
    possible = (_answers(facts), _perplexities(facts), _speeds(facts), _sizes(facts))
    return {drawing.file: drawing for drawing in possible if drawing}


def loss_text(facts: Facts) -> str:
    """The loss curve of the train stage in words; empty if there is none."""
    if facts.evidence.sha256("train/loss.png") is None:
        return ""
    epochs = [line for line in facts.evidence.lines("train", "log.jsonl") if "val_loss" in line]
    losses = ", ".join(f"{line['val_loss']:.2f} after epoch {line['epoch']}" for line in epochs)
    text = "Training and validation loss by step" + (f"; validation loss {losses}" if losses else "")
    return facts.recorded_value("train", "log.jsonl", "epochs", text) if losses else text


def _answers(facts: Facts) -> Drawing | None:
    """Right, wrong and unanswered questions."""
    has_passages = shows_passages(facts)
    left_to_model = facts.raw("knowledge", SETTINGS, "fallback") == "model"
    bars, texts = [], []

    def share(id: str) -> float:
        return facts.evidence.measurements[id].value

    known = ("answers.known.right_shown", "answers.known.wrong_shown", "answers.known.silent")
    unanswered = "left to the model" if left_to_model else "not answered"
    if has_passages and all(map(facts.has, known)):
        bars.append(_Bar("Known questions", *map(share, known)))
        right, wrong, silent = map(facts.value, known)
        texts.append(f"known questions {right} right, {wrong} wrong, {silent} {unanswered}")
    for kind, name in (("near", "On its subject, but no text answers"), ("far", "Something else")):
        silent = f"answers.{kind}.silent"
        if has_passages and facts.has(silent):
            bars.append(_Bar(name, wrong=1 - share(silent), unanswered=share(silent)))
            others = ", the others wrong" if share(silent) < 1 else ""
            texts.append(f"{name[0].lower()}{name[1:]} {facts.value(silent)} {unanswered}{others}")
    memory = "evaluate.closed_book.right"
    if facts.has(memory):
        bars.append(_Bar("Known questions, model alone", right=share(memory), not_right=1 - share(memory)))
        texts.append(f"known questions to the model alone {facts.value(memory)} right, the others not")
    if not bars:
        return None
    text = "Questions by what came of them: " + "; ".join(texts)
    return Drawing("answers.png", text, lambda: _bars_png(bars, unanswered))


def _bars_png(bars: Sequence[_Bar], unanswered: str) -> bytes:
    with new_picture(1.1 + 0.62 * len(bars)) as picture:
        axes, rows = picture.axes, range(len(bars))
        start = [0.0] * len(bars)
        for label, colour, ink, widths in (
            ("right", BLUE, "white", [100 * bar.right for bar in bars]),
            ("wrong", ORANGE, "white", [100 * bar.wrong for bar in bars]),
            (unanswered, _PALE, "black", [100 * bar.unanswered for bar in bars]),
            ("not right", _PALE_ORANGE, "black", [100 * bar.not_right for bar in bars]),
        ):
            if not any(widths):
                continue
            axes.barh(rows, widths, left=start, color=colour, label=label, height=0.7)
            for row, width in enumerate(widths):
                if width >= _LABEL_WIDTH:
                    text = f"{width:.0f} %" if width >= 2 * _LABEL_WIDTH else f"{width:.0f}"
                    axes.text(start[row] + width / 2, row, text, color=ink, ha="center", va="center")
            start = [left + width for left, width in zip(start, widths, strict=True)]
        axes.set_yticks(rows, [textwrap.fill(bar.name, _NAME_CHARACTERS) for bar in bars])
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("of the questions asked (%)")
        picture.figure.legend(frameon=False, loc="outside upper center", ncols=2)
        return picture.png()


def _perplexities(facts: Facts) -> Drawing | None:
    """Perplexity of the test text, with intervals."""
    names = {"base": "Base", "tuned": "Fine-tuned", "int4": "INT4, in the browser"}
    ids = {name: f"evaluate.perplexity.test.{model}" for model, name in names.items()}
    measured = {name: id for name, id in ids.items() if facts.has(id)}
    if not measured:
        return None
    cells = "; ".join(f"{name} {facts.cell(id)}" for name, id in measured.items())
    found = {name: facts.evidence.measurements[id] for name, id in measured.items()}
    text = f"Perplexity of the test text, lower is better: {cells}"
    return Drawing("perplexity.png", text, lambda: _points_png(found, "perplexity (lower is better)"))


def _speeds(facts: Facts) -> Drawing | None:
    """Tokens per second by device, if there is more than one to compare."""
    measured = dict(browsers.speeds(facts))
    if len(measured) < 2:
        return None
    cells = "; ".join(f"{name} {facts.cell(id)}" for name, id in measured.items())
    found = {name: facts.evidence.measurements[id] for name, id in measured.items()}
    return Drawing("speed.png", f"Speed by device: {cells}", lambda: _points_png(found, "tokens per second"))


def _points_png(measured: dict[str, Measurement], label: str) -> bytes:
    """One bar for each number, with its interval, or its range, as a line."""
    with new_picture(0.9 + 0.55 * len(measured)) as picture:
        axes, rows = picture.axes, range(len(measured))
        values = [m.value for m in measured.values()]
        axes.barh(rows, values, color=BLUE, height=0.6)
        for row, m in enumerate(measured.values()):
            low, high = (m.spread.get(f"ci95_{end}", m.spread.get(limit)) for end, limit in _ENDS)
            if low is not None and high is not None:
                axes.plot([low, high], [row, row], color="black", linewidth=1.5, marker="|", markersize=9)
            number = number_text(m.value, m.unit, m.spread).removesuffix(f" {m.unit}")
            axes.text((high or m.value) + max(values) * 0.02, row, number, va="center")
        axes.set_yticks(rows, [textwrap.fill(name, _NAME_CHARACTERS) for name in measured])
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlim(left=0)
        axes.set_xlabel(label)
        return picture.png()


_ENDS = (("low", "min"), ("high", "max"))


def _sizes(facts: Facts) -> Drawing | None:
    """Size against quality of the INT4 recipes that were tried, if there is more than one to compare."""
    points, texts = [], []
    for number, recipe in enumerate(facts.raw("export", "export.json", "recipes") or []):
        name, made = (required(recipe, key, "export/export.json") for key in ("name", "made"))
        size, ratio = (f"export.recipe.{name}.{key}" for key in ("weights_bytes", "perplexity_ratio"))
        if facts.has(size) and facts.has(ratio):
            points.append((made, facts.evidence.measurements[size], facts.evidence.measurements[ratio]))
            shown = facts.recorded_value("export", "export.json", f"recipes.{number}.made", made)
            texts.append(f"{shown}: {facts.value(size)}, {facts.cell(ratio)} times the perplexity")
    if len(points) < 2:
        return None
    text = "Size and quality of the INT4 recipes tried, the last of which ships. " + "; ".join(texts)
    return Drawing("size.png", text, lambda: _sizes_png(points))


def _sizes_png(points: Sequence[tuple[str, Measurement, Measurement]]) -> bytes:
    with new_picture(3.2) as picture:
        axes = picture.axes
        middle = (min(size.value for _, size, _ in points) + max(size.value for _, size, _ in points)) / 2
        for made, size, ratio in points:
            is_shipped = (made, size, ratio) == points[-1]
            colour = ORANGE if is_shipped else GREY
            x = size.value / 1e6
            low, high = (100 * (ratio.spread.get(f"ci95_{end}", ratio.value) - 1) for end, _ in _ENDS)
            axes.plot([x, x], [low, high], color=colour, linewidth=1.5)
            axes.plot([x], [100 * (ratio.value - 1)], "o", color=colour, markersize=9)
            side, step = ("left", 12) if size.value <= middle else ("right", -12)
            axes.annotate(
                textwrap.fill(made.split(",")[0] + (" (ships)" if is_shipped else ""), _NAME_CHARACTERS),
                (x, 100 * (ratio.value - 1)),
                textcoords="offset points",
                xytext=(step, 0),
                ha=side,
                va="center",
                color=colour,
            )
        axes.margins(x=0.15, y=0.2)
        axes.set(xlabel="size of the matrices (MB)", ylabel="added perplexity (%)")
        return picture.png()

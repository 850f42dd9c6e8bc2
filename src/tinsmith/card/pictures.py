"""The card's pictures, drawn from the same numbers as its text. A picture without numbers is not drawn."""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from tinsmith.card import browsers
from tinsmith.card.answers import CURVE, SETTINGS, shows_passages
from tinsmith.card.evidence import required
from tinsmith.card.facts import Facts
from tinsmith.card.rounding import number_text
from tinsmith.core.measure import Measurement
from tinsmith.core.pictures import BLUE, GREY, ORANGE, new_picture

COPIED_PICTURES = {"loss.png": "train/loss.png", CURVE: f"knowledge/{CURVE}"}
"""File beside the card -> the run's file that it is a copy of."""
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


@dataclass(frozen=True, slots=True)
class _Point:
    """One number with the ends of its interval or range, which are equal if it has none."""

    name: str
    value: float
    low: float
    high: float
    text: str


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
    return Drawing("answers.png", text, lambda: _bars_png(tuple(bars), unanswered))


@lru_cache
def _bars_png(bars: tuple[_Bar, ...], unanswered: str) -> bytes:
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
                    label_at = (start[row] + width / 2, row)
                    axes.text(*label_at, text, color=ink, ha="center", va="center", clip_on=True).set_in_layout(False)
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
    points = _points(facts, measured)
    text = f"Perplexity of the test text, lower is better: {cells}"
    return Drawing("perplexity.png", text, lambda: _points_png(points, "perplexity (lower is better)"))


def _speeds(facts: Facts) -> Drawing | None:
    """Tokens per second by device, if there is more than one to compare."""
    measured = dict(browsers.speeds(facts))
    if len(measured) < 2:
        return None
    cells = "; ".join(f"{name} {facts.cell(id)}" for name, id in measured.items())
    points = _points(facts, measured)
    return Drawing("speed.png", f"Speed by device: {cells}", lambda: _points_png(points, "tokens per second"))


def _points(facts: Facts, ids: dict[str, str]) -> tuple[_Point, ...]:
    return tuple(_point(name, facts.evidence.measurements[id]) for name, id in ids.items())


def _point(name: str, m: Measurement) -> _Point:
    low, high = (m.spread.get(f"ci95_{end}", m.spread.get(limit, m.value)) for end, limit in _ENDS)
    return _Point(name, m.value, low, high, number_text(m.value, m.unit, m.spread).removesuffix(f" {m.unit}"))


_ENDS = (("low", "min"), ("high", "max"))


@lru_cache
def _points_png(points: tuple[_Point, ...], label: str) -> bytes:
    """One bar for each number, with its interval, or its range, as a line."""
    with new_picture(0.9 + 0.55 * len(points)) as picture:
        axes, rows = picture.axes, range(len(points))
        axes.barh(rows, [point.value for point in points], color=BLUE, height=0.6)
        gap = 0.02 * max(point.value for point in points)
        for row, point in enumerate(points):
            if point.low < point.high:
                axes.plot([point.low, point.high], [row, row], color="black", linewidth=1.5, marker="|", markersize=9)
            axes.text(point.high + gap, row, point.text, va="center")
        axes.set_yticks(rows, [textwrap.fill(point.name, _NAME_CHARACTERS) for point in points])
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlim(left=0)
        axes.set_xlabel(label)
        return picture.png()


def _sizes(facts: Facts) -> Drawing | None:
    """Size against quality of the INT4 recipes that were tried, if there is more than one to compare."""
    points, texts = [], []
    for number, recipe in enumerate(facts.raw("export", "export.json", "recipes") or []):
        name, made = (required(recipe, key, "export/export.json") for key in ("name", "made"))
        size, ratio = (f"export.recipe.{name}.{key}" for key in ("weights_bytes", "perplexity_ratio"))
        if facts.has(size) and facts.has(ratio):
            megabytes = facts.evidence.measurements[size].value / 1e6
            points.append((megabytes, _point(made.split(",")[0], facts.evidence.measurements[ratio])))
            shown = facts.recorded_value("export", "export.json", f"recipes.{number}.made", made)
            texts.append(f"{shown}: {facts.value(size)}, {facts.cell(ratio)} times the perplexity")
    if len(points) < 2:
        return None
    text = "Size and quality of the INT4 recipes tried, the last of which ships. " + "; ".join(texts)
    return Drawing("size.png", text, lambda: _sizes_png(tuple(points)))


@lru_cache
def _sizes_png(points: tuple[tuple[float, _Point], ...]) -> bytes:
    """A dot for each size in MB and ratio of perplexities, the last one marked as the one that ships."""
    sizes = [size for size, _ in points]
    middle = (min(sizes) + max(sizes)) / 2
    with new_picture(3.2) as picture:
        axes = picture.axes
        for number, (size, point) in enumerate(points, start=1):
            ships = number == len(points)
            colour = ORANGE if ships else GREY
            low, value, high = (100 * (ratio - 1) for ratio in (point.low, point.value, point.high))
            axes.plot([size, size], [low, high], color=colour, linewidth=1.5)
            axes.plot([size], [value], "o", color=colour, markersize=9)
            side, step = ("left", 12) if size <= middle else ("right", -12)
            axes.annotate(
                textwrap.fill(point.name + (" (ships)" if ships else ""), _NAME_CHARACTERS),
                (size, value),
                textcoords="offset points",
                xytext=(step, 0),
                ha=side,
                va="center",
                color=colour,
            )
        axes.margins(x=0.15, y=0.2)
        axes.set(xlabel="size of the matrices (MB)", ylabel="added perplexity (%)")
        return picture.png()

"""Risk and coverage: how many questions get an answer at each threshold, and how many of those answers are wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinsmith.core.intervals import clustered_wilson
from tinsmith.core.pictures import BLUE, ORANGE, new_picture
from tinsmith.core.run_dir import write_bytes
from tinsmith.model.answers.judge import passage_key
from tinsmith.model.answers.rates import Outcome

_PRESENTED = {"sure": "presented as the answer", "likely": "answered with those shown as the closest"}
_LEGEND = {"sure": "as the answer", "likely": "with the closest"}


@dataclass(frozen=True, slots=True)
class Point:
    """The page if it answered from this confidence on."""

    threshold: float
    """Lowest confidence that is answered."""
    coverage: float
    """Share of questions that are answered."""
    risk: float
    """Share of the answers that are wrong."""
    answered: int
    interval: dict[str, float] = field(hash=False)
    """95 % interval of `risk`; empty for fewer than 10 passages."""


def risk_coverage(outcomes: Sequence[Outcome]) -> list[Point]:
    """One point per distinct confidence, from the highest down. Questions of equal confidence are answered together.

    Source: El-Yaniv and Wiener, Journal of Machine Learning Research 11 (2010) 1605-1641.
    """
    return [
        _point([one for one in outcomes if one.confidence >= threshold], len(outcomes), threshold)
        for threshold in sorted({one.confidence for one in outcomes}, reverse=True)
    ]


def rung_points(outcomes: Sequence[Outcome]) -> dict[str, Point]:
    """Where the ladder stands: rung `sure` alone, and with rung `likely`. Points without answers are left out."""
    points = {}
    for name, rungs in (("sure", ("sure",)), ("likely", ("sure", "likely"))):
        answered = [one for one in outcomes if one.rung in rungs]
        if answered:
            points[name] = _point(answered, len(outcomes), min(one.confidence for one in answered))
    return points


def _point(answered: Sequence[Outcome], count: int, threshold: float) -> Point:
    wrong = [not one.is_first_right for one in answered]
    interval = clustered_wilson(wrong, [passage_key(one.question) for one in answered])
    return Point(threshold, len(answered) / count, sum(wrong) / len(wrong), len(answered), interval)


def curve_text(outcomes: Sequence[Outcome]) -> str:
    """The picture of `plot_curve` in words, for people who do not see it. Empty without outcomes."""
    points = risk_coverage(outcomes)
    if not points:
        return ""
    shown = sorted({_nearest(points, share) for share in (0.25, 0.5, 0.75, 1.0)}, key=lambda point: point.coverage)
    steps = [f"{point.coverage:.0%} answered, {point.risk:.0%} of them wrong" for point in shown]
    ladder = [
        f"{point.coverage:.0%} {_PRESENTED[name]}, {point.risk:.0%} of them wrong"
        for name, point in rung_points(outcomes).items()
    ]
    text = "The more questions are answered, the more answers are wrong: " + "; ".join(steps) + "."
    return text + (" At its thresholds: " + "; ".join(ladder) + "." if ladder else "")


def _nearest(points: Sequence[Point], coverage: float) -> Point:
    return min(points, key=lambda point: abs(point.coverage - coverage))


def plot_curve(outcomes: Sequence[Outcome], title: str, path: Path) -> None:
    """Write a PNG of risk over coverage, with its 95 % interval and the rungs of the ladder.

    Args:
        outcomes: Known questions; not empty.
        title: Of the picture.
        path: File to write.
    """
    points = risk_coverage(outcomes)
    coverage = [100 * point.coverage for point in points]
    banded = [point for point in points if point.interval]
    with new_picture(4.4, title) as picture:
        axes = picture.axes
        axes.step(coverage, [100 * point.risk for point in points], where="post", color=BLUE, label="wrong answers")
        axes.fill_between(
            [100 * point.coverage for point in banded],
            [100 * point.interval["ci95_low"] for point in banded],
            [100 * point.interval["ci95_high"] for point in banded],
            step="post",
            color=BLUE,
            alpha=0.15,
            linewidth=0,
            label="95 % interval",
        )
        for name, point in rung_points(outcomes).items():
            x, y = 100 * point.coverage, 100 * point.risk
            label = f"{x:.0f} % {_LEGEND[name]}, {y:.0f} % of them wrong"
            face = ORANGE if name == "sure" else "white"
            axes.plot([x], [y], "o", color=ORANGE, markerfacecolor=face, markersize=9, label=label)
        axes.set(xlabel="questions answered (%)", ylabel="answers that are wrong (%)")
        axes.set_xlim(0, 102)
        # The first few answers have wide intervals, which would leave little room for the rest.
        later = points[len(points) // 5 :]
        axes.set_ylim(0, 105 * max(0.1, *(point.interval.get("ci95_high", point.risk) for point in later)))
        picture.figure.legend(frameon=False, loc="outside lower left")
        write_bytes(path, picture.png())

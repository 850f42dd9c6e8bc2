"""What the pipeline lends to every stage."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tinsmith.core.measure import Recorder

Say = Callable[[str], None]
"""Shows one line to the person watching."""

Summary = tuple[str, ...]
"""What a stage returns: one to three short lines, such as `453 train, 25 val, 25 test conversations`."""


def say_nothing(line: str) -> None:
    """Drop the line."""


@dataclass(frozen=True, slots=True)
class StageContext:
    """The seed of a run, a voice, and a place for measurements. Stages do not print."""

    seed: int = 0
    say: Say = say_nothing
    recorder: Recorder = field(default_factory=Recorder)

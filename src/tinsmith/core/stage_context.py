"""What every stage gets from the pipeline, and what it returns."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tinsmith.core.measure import Recorder

Say = Callable[[str], None]
"""Shows the user one line of progress."""

Summary = tuple[str, ...]
"""What a stage returns: its result in one to three short lines, such as `403 train, 50 val, 50 test conversations`."""


def say_nothing(line: str) -> None:
    """Ignore the line."""


@dataclass(frozen=True, slots=True)
class StageContext:
    """The run's seed, a way to report progress, and a place for measurements. A stage prints nothing itself."""

    seed: int = 0
    say: Say = say_nothing
    recorder: Recorder = field(default_factory=Recorder)

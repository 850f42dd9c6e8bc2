"""Stages run without the pipeline."""

from collections.abc import Callable
from dataclasses import dataclass

from tinsmith.core.errors import GateError
from tinsmith.core.measure import Measurement
from tinsmith.core.stage_context import StageContext, Summary


@dataclass(frozen=True)
class StageRun:
    """What a stage said and measured."""

    summary: Summary
    measurements: tuple[Measurement, ...]
    said: tuple[str, ...]


def run_stage(stage: Callable[..., Summary], *arguments, seed: int = 0, **named) -> StageRun:
    """Call a stage's function with `arguments` and a context of its own.

    Raises:
        GateError: a gate failed; the error carries the `measurements` taken until then.
    """
    said: list[str] = []
    context = StageContext(seed, said.append)
    try:
        summary = stage(*arguments, context=context, **named)
    except GateError as error:
        error.measurements = context.recorder.measurements
        raise
    return StageRun(summary, tuple(context.recorder.measurements), tuple(said))

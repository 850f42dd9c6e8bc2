"""Definitions of the browser benchmark's numbers."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimedRun:
    """One greedy generation; all times in milliseconds on one clock."""

    request_ms: float
    """When the page sent the request to the worker."""
    token_ms: tuple[float, ...]
    """When the worker had each new token."""
    prompt_tokens: int


def first_token_seconds(run: TimedRun) -> float:
    """Seconds from the request to the first new token. Includes the message to the worker and the prompt's prefill."""
    return (run.token_ms[0] - run.request_ms) / 1000


def prefill_tokens_per_second(run: TimedRun) -> float:
    """Prompt tokens divided by the seconds until the first new token."""
    return run.prompt_tokens / first_token_seconds(run)


def decode_tokens_per_second(run: TimedRun) -> float:
    """Speed after the prompt: (n - 1) / (time of the last token - time of the first), for n new tokens.

    Do not compare it with tokens per second of a whole request, which depend on the length of the prompt.

    Raises:
        ValueError: there are fewer than two tokens, or all have the same time.
    """
    elapsed_ms = run.token_ms[-1] - run.token_ms[0]
    if elapsed_ms <= 0:
        raise ValueError(
            f"no decode speed from {len(run.token_ms)} tokens in {elapsed_ms} ms: need two tokens at different times"
        )
    return (len(run.token_ms) - 1) * 1000 / elapsed_ms


def median_and_range(runs: Sequence[TimedRun], metric: Callable[[TimedRun], float]) -> tuple[float, dict[str, float]]:
    """Median of `metric` over the runs, and its range as `min` and `max`, which is empty for a single run."""
    values = [metric(run) for run in runs]
    if len(values) == 1:
        return values[0], {}
    return statistics.median(values), {"min": min(values), "max": max(values)}

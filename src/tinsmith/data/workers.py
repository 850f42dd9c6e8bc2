"""Run a function over many inputs in several processes, which end when this one does."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from tinsmith.core.errors import DataError

Input = TypeVar("Input")
Output = TypeVar("Output")


def in_processes(
    function: Callable[[Input], Output], inputs: Sequence[Input], count: int
) -> Iterator[tuple[int, Output]]:
    """`(index, function(inputs[index]))` for each input, in the order in which they are finished.

    Args:
        function: A module's function, which a new process can import.
        inputs: Small objects: they are sent to the processes.
        count: Number of processes. One means this one.

    Raises:
        DataError: a process was killed.
    """
    if count <= 1:
        for index, input in enumerate(inputs):
            yield index, function(input)
        return
    with _pool(count) as pool:
        futures: dict[Future[Output], int] = {pool.submit(function, input): n for n, input in enumerate(inputs)}
        while futures:
            done, _ = wait(futures, return_when=FIRST_COMPLETED)
            for future in done:
                yield futures.pop(future), future.result()


@contextmanager
def in_background(
    function: Callable[[Input], Output], inputs: Sequence[Input], count: int
) -> Generator[Iterator[Output]]:
    """`function` of each input, in their order, from processes that start at once and end with the block.

    Arguments and errors are those of `in_processes`.
    """
    if count <= 1:
        yield map(function, inputs)
        return
    with _pool(count) as pool:
        futures = [pool.submit(function, input) for input in inputs]
        yield (future.result() for future in futures)


@contextmanager
def _pool(count: int) -> Generator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_prepare_process) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise DataError(
                "a process that reads the data was killed", "Most likely the memory is full: close other programs."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def process_count(inputs: int) -> int:
    """Number of processes for so many inputs: one for each processor that this process may use."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(processors, inputs))


def _prepare_process() -> None:
    # Ctrl+C reaches all processes of a terminal. Only the first says so; the others end with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)

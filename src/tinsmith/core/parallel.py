"""Several processes that train together, started with `accelerate launch -m tinsmith ...`.

The first process, the leader, does everything that a single process would do. The others, its followers, wait for
training to start, compute their share of every step, and stop when the leader tells them to. Messages are JSON and
gradients are plain tensors; nothing is pickled.
"""

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

_PATIENCE = timedelta(days=2)
"""How long followers wait while the leader runs its other stages."""


def process_count() -> int:
    """Number of processes that train together; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_index() -> int:
    """This process's number; 0 is the leader."""
    return int(os.environ.get("RANK", "0"))


def local_index() -> int:
    """This process's number on its machine, which is also the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_leader() -> bool:
    """Whether this is the process that writes and prints."""
    return process_index() == 0


def join() -> None:
    """Connect to the other processes. Does nothing for a single process or on a second call."""
    if process_count() > 1:
        from accelerate import PartialState

        PartialState(timeout=_PATIENCE)


@contextmanager
def leading() -> Generator[None]:
    """Wrap the leader's work, and stop the followers when it succeeds.

    If it fails, the followers may be in the middle of a step and cannot receive messages; the launcher ends them.
    """
    join()
    yield
    tell_followers({"do": "stop"})


def tell_followers(message: dict[str, Any]) -> None:
    """Send a JSON object to every follower. Does nothing for a single process."""
    if process_count() > 1:
        _share(json.dumps(message).encode())


def next_message() -> dict[str, Any]:
    """Wait for the leader's next message, as a follower."""
    return json.loads(_share(b""))


def _share(content: bytes) -> bytes:
    """Send the leader's `content` to all processes and return it. What followers pass is ignored."""
    import torch
    from accelerate import PartialState
    from torch import distributed

    state = PartialState(timeout=_PATIENCE)
    length = torch.tensor([len(content)], device=state.device)
    distributed.broadcast(length, src=0)
    shared = torch.zeros(int(length), dtype=torch.uint8, device=state.device)
    if is_leader():
        shared.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    distributed.broadcast(shared, src=0)
    return bytes(shared.cpu().tolist())


def sum_over_processes(tensor: Any) -> Any:
    """Sum `tensor` over all processes, in place. All get the same result."""
    if process_count() > 1:
        from torch import distributed

        distributed.all_reduce(tensor)
    return tensor


def sum_number(value: float) -> float:
    """Sum of `value` over all processes."""
    return _reduced(value, "SUM")


def smallest_number(value: float) -> float:
    """The smallest `value` of all processes."""
    return _reduced(value, "MIN")


def _reduced(value: float, operation: str) -> float:
    if process_count() == 1:
        return value
    import torch
    from accelerate import PartialState
    from torch import distributed

    tensor = torch.tensor([value], dtype=torch.float64, device=PartialState().device)
    distributed.all_reduce(tensor, getattr(distributed.ReduceOp, operation))
    return tensor.item()


def wait_for_all() -> None:
    """Block until every process has called this."""
    sum_number(0.0)


def my_share(items: list) -> list:
    """Every n-th of `items` for n processes. All processes must pass the same list."""
    return items[process_index() :: process_count()]

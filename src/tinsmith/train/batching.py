"""Assigns conversations to optimizer steps."""

import math
import random


def epoch_steps(conversations: int, effective_batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of the conversations of every optimizer step of one epoch, each conversation exactly once.

    The order is drawn from the seed. Steps have nearly equal sizes, so no update depends on a handful of conversations.
    Steps depend only on the effective batch size, not on how a step is split into forward passes.
    """
    order = list(range(conversations))
    random.Random(f"{seed}:{epoch}").shuffle(order)
    count = math.ceil(conversations / effective_batch_size)
    bounds = [conversations * index // count for index in range(count + 1)]
    return [order[bounds[index] : bounds[index + 1]] for index in range(count)]

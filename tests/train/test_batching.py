"""Steps hold every conversation once, depend on the effective batch only, and waste little on padding."""

import random

import torch

from tinsmith.tokens import Tokens
from tinsmith.train.batching import epoch_steps, forward_passes, padded

_RANDOM = random.Random(0)
LENGTHS = [_RANDOM.randint(20, 300) for _ in range(203)]


def test_every_conversation_once_in_steps_of_nearly_equal_size():
    steps = epoch_steps(LENGTHS, 16, seed=3, epoch=0)
    assert sorted(index for step in steps for index in step) == list(range(203))
    assert {len(step) for step in steps} == {15, 16}


def test_order_follows_seed_and_epoch():
    first = epoch_steps(LENGTHS, 16, seed=3, epoch=0)
    assert first == epoch_steps(LENGTHS, 16, seed=3, epoch=0)
    assert first != epoch_steps(LENGTHS, 16, seed=3, epoch=1)
    assert first != epoch_steps(LENGTHS, 16, seed=4, epoch=0)


def test_every_epoch_puts_other_conversations_together():
    def together(epoch):
        return {frozenset(step) for step in epoch_steps(LENGTHS, 16, seed=3, epoch=epoch)}

    assert not together(0) & together(1)


def padding_share(steps, batch_size):
    groups = [group for step in steps for group in forward_passes(step, LENGTHS, batch_size, 10**6)]
    return 1 - sum(LENGTHS) / sum(len(group) * max(LENGTHS[i] for i in group) for group in groups)


def test_sorting_saves_more_than_half_of_the_padding():
    shuffled = list(range(203))
    random.Random(1).shuffle(shuffled)
    naive = [shuffled[i : i + 16] for i in range(0, 203, 16)]
    assert padding_share(epoch_steps(LENGTHS, 16, 3, 0), 8) < 0.5 * padding_share(naive, 8)


def test_forward_passes_respect_both_limits():
    groups = forward_passes([0, 1, 2, 3, 4, 5], [10, 10, 10, 30, 90, 10], batch_size=2, max_tokens=50)
    assert groups == [[0, 1], [2], [3], [4], [5]]


def test_padding_is_on_the_right_and_unsupervised():
    ids, mask = padded(
        [Tokens("a", (5, 6, 7), (False, True, True)), Tokens("b", (8,), (True,))], 9, torch.device("cpu")
    )
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[False, True, True], [True, False, False]]

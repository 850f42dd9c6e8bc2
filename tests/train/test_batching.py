"""Steps hold every conversation once and depend on the effective batch only; padded batches keep to their limits."""

import torch

from tinsmith.model.tokens import Tokens
from tinsmith.train.batching import epoch_steps, padded, padded_groups


def conversation(length):
    return Tokens(str(length), tuple(range(length)), (True,) * length)


def test_every_conversation_once_in_steps_of_nearly_equal_size():
    steps = epoch_steps(203, 16, seed=3, epoch=0)
    assert sorted(index for step in steps for index in step) == list(range(203))
    assert {len(step) for step in steps} == {15, 16}


def test_order_follows_seed_and_epoch():
    first = epoch_steps(203, 16, seed=3, epoch=0)
    assert first == epoch_steps(203, 16, seed=3, epoch=0)
    assert first != epoch_steps(203, 16, seed=3, epoch=1)
    assert first != epoch_steps(203, 16, seed=4, epoch=0)


def test_every_epoch_puts_other_conversations_together():
    def together(epoch):
        return {frozenset(step) for step in epoch_steps(203, 16, seed=3, epoch=epoch)}

    assert not together(0) & together(1)


def test_padded_groups_go_by_length_and_respect_both_limits():
    conversations = [conversation(length) for length in (10, 30, 10, 90, 10, 10)]
    groups = padded_groups(conversations, [0, 1, 2, 3, 4, 5], batch_size=2, max_tokens=50)
    assert groups == [[0, 2], [4, 5], [1], [3]]


def test_padding_is_on_the_right_and_unsupervised():
    ids, mask = padded(
        [Tokens("a", (5, 6, 7), (False, True, True)), Tokens("b", (8,), (True,))], 9, torch.device("cpu")
    )
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[False, True, True], [True, False, False]]

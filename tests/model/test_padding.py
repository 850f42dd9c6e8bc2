"""Padded batches keep to their limits."""

import torch

from tinsmith.model.padding import padded, padded_groups
from tinsmith.model.tokens import Tokens


def conversation(length):
    return Tokens(str(length), tuple(range(length)), (True,) * length)


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

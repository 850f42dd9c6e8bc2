"""Conversations for export: training ones to calibrate on, validation ones to compare recipes on."""

import bisect
import math
import random
from collections.abc import Sequence
from pathlib import Path

from tinsmith.core.device import Device
from tinsmith.core.errors import DataError
from tinsmith.model.conversations import read_jsonl
from tinsmith.model.packed.packing import packed_rows
from tinsmith.model.tokens import ChatTokenizer, Tokens

_DEFAULT_TOKENS = 16384
_MAX_PARAMETERS_ON_CPU = 275_000_000
"""Largest model that a processor calibrates on all tokens: Gemma 3 270M takes 5 minutes and 5.6 GB on two cores."""


def read_conversations(tokenizer: ChatTokenizer, data_dir: Path, seed: int) -> tuple[list[Tokens], list[Tokens]]:
    """Training conversations in a seeded order, and validation conversations.

    Raises:
        DataError: a split is empty.
    """
    train, val = (tokenizer.encode_all(read_jsonl(data_dir / f"{split}.jsonl")) for split in ("train", "val"))
    for split, conversations in (("train", train), ("val", val)):
        if not conversations:
            raise DataError(f"no conversations in {split}.jsonl", "Check the data stage's report.")
    random.Random(seed).shuffle(train)
    return train, val


def default_calibration_tokens(parameters: int, device: Device) -> int:
    """Number of tokens to calibrate on. On a processor, every doubling of a large model's size halves it."""
    if device.device.type != "cpu":
        return _DEFAULT_TOKENS
    doublings = math.ceil(math.log2(max(1.0, parameters / _MAX_PARAMETERS_ON_CPU)))
    return max(1, _DEFAULT_TOKENS >> doublings)


def calibration_conversations(train: Sequence[Tokens], max_rows: int) -> Sequence[Tokens]:
    """The first training conversations whose pack has at most about `max_rows` rows; at least one."""
    counts = range(1, len(train) + 1)
    fitting = bisect.bisect_right(counts, max_rows, key=lambda count: packed_rows(train[:count]))
    return train[: max(1, fitting)]

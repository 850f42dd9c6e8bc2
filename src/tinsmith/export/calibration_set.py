"""Conversations for export: training ones to calibrate on, validation ones to compare recipes on."""

import bisect
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from tinsmith.core.device import Device
from tinsmith.core.errors import DataError
from tinsmith.model.conversations import Conversations, read_jsonl
from tinsmith.model.packed.packing import packed_rows
from tinsmith.model.token_file import TokenFile
from tinsmith.model.tokens import ChatTokenizer, Tokens

_DEFAULT_TOKENS = 16384
_FIRST_READ = 64
"""Conversations that are tokenized before their rows are counted; then twice as many."""
_MAX_PARAMETERS_ON_CPU = 275_000_000
"""Largest model that a processor calibrates on all tokens: Gemma 3 270M takes 5 minutes and 5.6 GB on two cores."""


@dataclass(frozen=True, slots=True)
class Encoded(Sequence[Tokens]):
    """Conversations in an order of their own, each tokenized when it is asked for: calibration needs the first few."""

    tokenizer: ChatTokenizer
    conversations: Conversations
    order: Sequence[int]

    def __len__(self) -> int:
        return len(self.order)

    @overload
    def __getitem__(self, index: int) -> Tokens: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tokens]: ...
    def __getitem__(self, index: int | slice) -> Tokens | list[Tokens]:
        if isinstance(index, slice):
            return [self[position] for position in range(len(self))[index]]
        return self.tokenizer.encode(self.conversations[self.order[index]])


def read_conversations(
    tokenizer: ChatTokenizer, data_dir: Path, work_dir: Path, seed: int
) -> tuple[Sequence[Tokens], Sequence[Tokens]]:
    """Training conversations in a seeded order, and validation conversations, whose tokens are kept in `work_dir`.

    Raises:
        DataError: a split is empty.
    """
    train, val = (read_jsonl(data_dir / f"{split}.jsonl") for split in ("train", "val"))
    for split, conversations in (("train", train), ("val", val)):
        if not conversations:
            raise DataError(f"no conversations in {split}.jsonl", "Check the data stage's report.")
    order = list(range(len(train)))
    random.Random(seed).shuffle(order)
    return Encoded(tokenizer, train, order), TokenFile(work_dir, map(tokenizer.encode, val))


def default_calibration_tokens(parameters: int, device: Device) -> int:
    """Number of tokens to calibrate on. On a processor, every doubling of a large model's size halves it."""
    if device.device.type != "cpu":
        return _DEFAULT_TOKENS
    doublings = math.ceil(math.log2(max(1.0, parameters / _MAX_PARAMETERS_ON_CPU)))
    return max(1, _DEFAULT_TOKENS >> doublings)


def calibration_conversations(train: Sequence[Tokens], max_rows: int) -> Sequence[Tokens]:
    """The first training conversations whose pack has at most about `max_rows` rows; at least one."""
    first: list[Tokens] = []
    while len(first) < len(train) and packed_rows(first) <= max_rows:
        first += train[len(first) : 2 * len(first) + _FIRST_READ]
    counts = range(1, len(first) + 1)
    fitting = bisect.bisect_right(counts, max_rows, key=lambda count: packed_rows(first[:count]))
    return first[: max(1, fitting)]

"""Passes on a GPU follow its memory, and on a processor they stay what they are."""

import pytest
import torch

from tinsmith.model.packed.packing import make_pack
from tinsmith.model.packed.passes import Passes, passes_on
from tinsmith.model.tokens import Tokens

ON_CPU = Passes(conversations=4, rows=4096)
CONVERSATIONS = [Tokens(str(n), tuple(range(n, n + 300)), (False,) * 299 + (True,)) for n in range(9)]


@pytest.mark.parametrize(
    ("memory", "rows", "passes"),
    [(80e9, 16384, 1), (8e6, 2000, 2), (0, 256, 9)],  # a quarter of the memory, at 1,000 bytes for a row
)
def test_a_gpu_takes_as_many_rows_as_fit(memory, rows, passes, monkeypatch):
    monkeypatch.setattr("tinsmith.model.memory.device_memory_bytes", lambda device: int(memory))
    of_gpu = passes_on(torch.device("cuda"), ON_CPU, row_bytes=1000)
    assert of_gpu.rows == rows and len(of_gpu.groups(CONVERSATIONS)) == passes
    assert passes_on(torch.device("cpu"), ON_CPU, row_bytes=1000) is ON_CPU


def test_packs_are_filled_on_a_gpu_only(monkeypatch):
    monkeypatch.setattr("tinsmith.model.memory.device_memory_bytes", lambda device: int(80e9))
    pack = make_pack(CONVERSATIONS[:1], torch.device("cpu"))
    filled = passes_on(torch.device("cuda"), ON_CPU, row_bytes=1000).filled(pack)
    assert (pack.rows, filled.rows) == (300, 512) and filled.ids[:300].equal(pack.ids)
    assert ON_CPU.filled(pack) is pack

"""The device and number format come with a reason, and a memory peak counts only what it should."""

import gc
import os
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest
import torch

from tinsmith.core import device


@pytest.fixture
def cpu_only(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("flags", "dtype", "reason"),
    [
        ({"avx2", "avx512_bf16"}, torch.bfloat16, "has avx512_bf16"),
        ({"amx_bf16", "avx512_bf16"}, torch.bfloat16, "has amx_bf16"),
        ({"asimd", "bf16"}, torch.bfloat16, "has bf16"),
        ({"avx2", "avx512f"}, torch.float32, "no bfloat16 instructions"),
    ],
)
def test_cpu_features_decide(cpu_only, monkeypatch, flags, dtype, reason):
    monkeypatch.setattr(device, "_cpu_flags", lambda: frozenset(flags))
    choice = device.choose_device()
    assert (choice.device.type, choice.dtype) == ("cpu", dtype) and reason in choice.reason


_GROWTH = """
import resource, torch
from tinsmith.core.device import choose_device
dtype = choose_device().dtype
weight = torch.zeros(512, 512, dtype=dtype)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
torch.zeros(1, 512, dtype=dtype) @ weight
before = peak()
for rows in range(2, 602):
    torch.zeros(rows, 512, dtype=dtype) @ weight
print(peak() - before)
"""


def test_kernels_for_new_shapes_do_not_accumulate():
    caches = device._KERNEL_CACHES
    mine = {name: value for name, value in os.environ.items() if name not in caches}
    bounded, unbounded = (
        int(subprocess.run([sys.executable, "-c", _GROWTH], capture_output=True, check=True, env=environment).stdout)
        for environment in (mine, mine | dict.fromkeys(caches, "1024"))
    )
    # If the matrix library compiles no kernels, neither grows.
    assert bounded < 0.75 * unbounded or unbounded < 20_000_000, (bounded, unbounded)


@pytest.mark.parametrize(("ratio", "dtype"), [(3.0, torch.bfloat16), (0.2, torch.float32)])
def test_trial_decides_where_features_cannot_be_read(cpu_only, monkeypatch, ratio, dtype):
    monkeypatch.setattr(device, "_cpu_flags", frozenset)
    monkeypatch.setattr(device, "_bf16_speedup", lambda: ratio)
    choice = device.choose_device()
    assert choice.dtype == dtype and f"took {1 / ratio:.2f}x the time" in choice.reason


def test_trial_measures_a_ratio_of_times():
    assert 0.001 < device._bf16_speedup() < 1000


@pytest.mark.parametrize(
    ("major", "integrated", "dtype"), [(7, 0, torch.float32), (9, 0, torch.bfloat16), (12, 1, torch.bfloat16)]
)
def test_cuda_capability_decides(monkeypatch, major, integrated, dtype):
    class Properties:
        minor, name, total_memory, is_integrated = 1, "Spark", 128 * 10**9, integrated

    Properties.major = major
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties)
    choice = device.choose_device()
    assert choice.device.type == "cuda" and choice.dtype == dtype
    assert f"capability {major}.1" in choice.reason
    assert ("memory shared with the CPU" in choice.reason) == bool(integrated)


@pytest.mark.parametrize(("integrated", "free_bytes"), [(0, 6e9), (1, 91e9)])
def test_memory_shared_with_the_cpu_counts_cached_files_as_free(monkeypatch, integrated, free_bytes):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(is_integrated=integrated))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (5e9, 128e9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 3e9)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 2e9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=90e9))
    assert device.free_memory_bytes(torch.device("cuda")) == free_bytes


def test_hardware_names_the_machine_in_usable_units():
    hardware = device.hardware()
    assert hardware["cpu"] and hardware["cores"] >= 1 and 2**28 < hardware["memory_bytes"] < 2**50
    assert set(hardware) == {"cpu", "cores", "memory_bytes", "gpu"}


def test_peak_counts_freed_memory_but_nothing_from_before():
    cpu = torch.device("cpu")
    earlier = torch.ones(100_000_000, dtype=torch.uint8)
    before = device.PeakMemory(cpu).read_bytes()
    del earlier
    gc.collect()
    peak = device.PeakMemory(cpu)
    started = peak.read_bytes()
    assert peak.method == "peak resident set size"
    assert started < before - 50_000_000
    block = torch.ones(200_000_000, dtype=torch.uint8)
    del block
    gc.collect()
    assert peak.read_bytes() > started + 150_000_000

"""The hardware: which device and number format to compute with, how much memory it has, and how much is used."""

import os
import platform
import time
from pathlib import Path
from typing import Any, NamedTuple

from tinsmith.core.parallel import local_index

_CPU_BF16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")
"""Names in /proc/cpuinfo of instructions that multiply bfloat16: two of x86, then Arm's."""

_COMPILED_KERNELS = 192
"""Size of the cache for the matrix kernels that oneDNN compiles for each new shape, at 0.4 MB each.

A training pass uses about 100. Almost every pack has a new length, so the default of 1,024 would fill up with kernels
that are never used again.
"""

_KERNEL_CACHES = ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")
"""Cache sizes of PyTorch and oneDNN, read at the first product. A kernel is freed when both caches have dropped it."""

_PROBE_SIZE = 512
"""Side of the matrices in the speed trial that runs if the CPU's features cannot be read."""


class Device(NamedTuple):
    """A device to compute on, the number format to use there, and why."""

    device: Any
    """A `torch.device`."""
    dtype: Any
    """`torch.bfloat16` or `torch.float32`."""
    reason: str
    """Printed and recorded, such as `no CUDA device; bfloat16 because the CPU has amx_bf16`."""


def choose_device() -> Device:
    """Prefer this process's CUDA device to the CPU, and bfloat16 to float32 if the device computes it natively.

    float16 is never used: it needs loss scaling, and its range is too small for some Gemma activations.
    """
    import torch

    if torch.cuda.is_available():
        return _cuda_device(local_index())
    for name in _KERNEL_CACHES:
        os.environ.setdefault(name, str(_COMPILED_KERNELS))
    flag = next((name for name in _CPU_BF16_FLAGS if name in _cpu_flags()), None)
    if flag:
        return Device(torch.device("cpu"), torch.bfloat16, f"no CUDA device; bfloat16 because the CPU has {flag}")
    if _cpu_flags():
        return Device(
            torch.device("cpu"), torch.float32, "no CUDA device; float32 because the CPU has no bfloat16 instructions"
        )
    ratio = _bf16_speedup()
    dtype = torch.bfloat16 if ratio > 1.2 else torch.float32
    name = str(dtype).removeprefix("torch.")
    return Device(
        torch.device("cpu"),
        dtype,
        f"no CUDA device; {name} because a bfloat16 product took {1 / ratio:.2f}x the time of a float32 one in a trial",
    )


def _cuda_device(index: int) -> Device:
    import torch

    properties = torch.cuda.get_device_properties(index)
    capability = f"{properties.major}.{properties.minor}"
    memory = "memory shared with the CPU" if properties.is_integrated else f"{properties.total_memory / 1e9:.0f} GB"
    name = f"CUDA device {properties.name} ({memory}, compute capability {capability})"
    if properties.major >= 8:
        return Device(torch.device("cuda", index), torch.bfloat16, f"{name}; bfloat16 because it is native there")
    return Device(torch.device("cuda", index), torch.float32, f"{name}; float32 because bfloat16 needs capability 8.0")


def _cpu_flags() -> frozenset[str]:
    """Feature names of the first CPU; empty if the system does not list them."""
    for line in _cpuinfo():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []


def _bf16_speedup() -> float:
    """How many times as fast a bfloat16 matrix product is as a float32 one on this machine; best of 5 runs each."""
    import torch

    def best_seconds(dtype: Any) -> float:
        left = torch.ones(_PROBE_SIZE, _PROBE_SIZE, dtype=dtype)
        durations = []
        for _ in range(6):
            started = time.perf_counter()
            left @ left
            durations.append(time.perf_counter() - started)
        return min(durations[1:])

    return best_seconds(torch.float32) / best_seconds(torch.bfloat16)


def hardware() -> dict[str, Any]:
    """`{cpu, cores, memory_bytes, gpu}`: usable cores, memory the process may use, GPU name or None."""
    return {
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "memory_bytes": memory_limit_bytes(),
        "gpu": gpu_name(),
    }


def cpu_name() -> str:
    """The CPU's model name as the operating system reports it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def os_name() -> str:
    """Readable name and version of the operating system, such as `Debian GNU/Linux 12 (bookworm)`."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def gpu_name() -> str | None:
    """Name of the first CUDA device, or None without one."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def usable_cores() -> int:
    """Logical cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_limit_bytes() -> int:
    """Physical memory in bytes, or the container's limit if that is lower."""
    import psutil

    total = psutil.virtual_memory().total
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return min(total, int(text)) if text.isdigit() else total


def device_memory_bytes(device: Any) -> int:
    """Total memory of a `torch.device`: the GPU's own, or as much of the computer's as the process may use.

    Total, not free, memory lets a resumed run make the same choices as before.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return memory_limit_bytes()


def used_memory_bytes(device: Any) -> int:
    """Memory this process uses now on a `torch.device`: allocated on a GPU, resident elsewhere."""
    if device.type == "cuda":
        import torch

        return torch.cuda.memory_allocated(device)
    import psutil

    return psutil.Process().memory_info().rss


def free_memory_bytes(device: Any) -> int:
    """Memory that this process can still allocate on a `torch.device`."""
    import psutil

    if device.type == "cuda":
        import torch

        free = torch.cuda.mem_get_info(device)[0]
        if torch.cuda.get_device_properties(device).is_integrated:
            # Of memory shared with the CPU, CUDA counts what the system caches of files as used.
            free = max(free, psutil.virtual_memory().available)
        # Blocks that the caching allocator keeps but does not use are free to this process.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(psutil.virtual_memory().available, memory_limit_bytes() - used_memory_bytes(device))


def return_freed_memory() -> None:
    """Return freed memory, which glibc keeps by default, to the system. Call `gc.collect()` first to free cycles."""
    import ctypes

    if platform.system() == "Linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


class PeakMemory:
    """Highest memory use since this object was created: CUDA allocations on a GPU, resident memory elsewhere.

    On Linux a process can reset its own peak, so memory that an earlier stage used is not counted. On other systems
    the peak is the highest value seen by `read_bytes`, which can miss short peaks.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self._highest = 0
        self._is_exact = False
        if device.type == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats(device)
            self._is_exact = True
        elif Path("/proc/self/clear_refs").exists():
            try:
                Path("/proc/self/clear_refs").write_text("5")
                self._is_exact = True
            except OSError:  # a hardened kernel refuses; samples still give a lower bound
                self._is_exact = False

    @property
    def method(self) -> str:
        """How the peak is measured, for a measurement's `method`."""
        if self._device.type == "cuda":
            return "torch.cuda.max_memory_allocated"
        return "peak resident set size" if self._is_exact else "highest sampled resident set size"

    def read_bytes(self) -> int:
        """Peak so far, in bytes."""
        if self._device.type == "cuda":
            import torch

            return torch.cuda.max_memory_allocated(self._device)
        import psutil

        now = psutil.Process().memory_info().rss
        self._highest = max(self._highest, now, high_water_bytes() if self._is_exact else 0)
        return self._highest


def high_water_bytes(process_id: int | str = "self") -> int:
    """Peak resident memory of a process on Linux; 0 if the process has ended."""
    try:
        text = Path(f"/proc/{process_id}/status").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0

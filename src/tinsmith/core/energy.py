"""Energy that a computation used, from the counters of processors and GPUs; or why it cannot be measured.

A counter counts everything on its chip, so other programs that run at the same time are included, and a machine's other
parts (power supply, disks, fans) are not.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tinsmith.core.parallel import process_count

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows the counters of Intel's and AMD's processors (RAPL)."""
_COUNTED = ("package", "dram")
"""Starts of the names of zones that do not overlap: `core` and `uncore` are part of a package, `psys` is all of it."""
_NVML = "libnvidia-ml.so.1"


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter of joules that only rises, until it starts again at 0."""

    name: str
    read: Callable[[], float]
    """Joules since some moment in the past.

    Raises:
        OSError: the counter cannot be read.
    """
    range_joules: float | None = None
    """Where it starts again at 0; None if it never does."""


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy by counter, or why it is unknown."""

    joules: dict[str, float] = field(default_factory=dict)
    """By name of the counter; empty if unknown."""
    not_measured: str = ""

    def plus(self, more: "Energy") -> "Energy":
        """The energy of two parts of a computation; unknown if one part's is, or if their counters differ."""
        reason = self.not_measured or more.not_measured
        if not reason and set(self.joules) != set(more.joules):
            reason = "it was continued on a machine with other energy counters"
        if reason:
            return Energy({}, reason)
        return Energy({name: joules + more.joules[name] for name, joules in self.joules.items()})


class EnergyMeter:
    """Energy since this object was created. To be read at least every five minutes: counters start again at 0."""

    def __init__(self, device: Any, powercap: Path = POWERCAP, nvml: str = _NVML) -> None:
        """Start to measure.

        Args:
            device: The `torch.device` that computes.
            powercap: The folder of processor counters.
            nvml: The library that reads NVIDIA's counters.
        """
        self._reason = ""
        self._counters: list[Counter] = []
        self._last: dict[str, float] = {}
        self._joules: dict[str, float] = {}
        try:
            if process_count() > 1:
                raise OSError(f"{process_count()} processes computed together, and their counters overlap")
            self._counters = _counters(device, powercap, nvml)
            self._last = {counter.name: counter.read() for counter in self._counters}
            self._joules = dict.fromkeys(self._last, 0.0)
        except OSError as error:
            self._give_up(error)

    def read(self) -> Energy:
        """The energy so far."""
        try:
            for counter in self._counters:
                now = counter.read()
                used = now - self._last[counter.name]
                if used < 0 and counter.range_joules is not None:
                    used += counter.range_joules
                self._joules[counter.name] += used
                self._last[counter.name] = now
        except OSError as error:
            self._give_up(error)
        return Energy(dict(self._joules), self._reason)

    def _give_up(self, error: OSError) -> None:
        self._reason = str(error)
        self._counters, self._joules = [], {}


def _counters(device: Any, powercap: Path, nvml: str) -> list[Counter]:
    """The GPU's counter if it computes, and the processors', which are left out on a GPU if they cannot be read."""
    if device.type != "cuda":
        return processor_counters(powercap)
    gpu = gpu_counter(device, nvml)
    try:
        return [gpu, *processor_counters(powercap)]
    except OSError:
        return [gpu]


def processor_counters(powercap: Path) -> list[Counter]:
    """One counter for each processor package, and one for its memory if it is counted apart.

    Raises:
        OSError: there are none, or they cannot be read.
    """
    zones = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if _zone_name(zone).startswith(_COUNTED)]
    if not zones:
        raise OSError("this system shows no energy counters of its processor")
    counters = []
    for zone in zones:
        package = zone.name.split(":")[1]
        name = f"processor {package}" if _zone_name(zone).startswith("package") else f"memory of processor {package}"
        read = partial(_joules, zone, "energy_uj")
        counters.append(Counter(name, read, _joules(zone, "max_energy_range_uj")))
    return counters


def _zone_name(zone: Path) -> str:
    try:
        return (zone / "name").read_text().strip()
    except OSError:
        return ""


def _joules(zone: Path, file: str) -> float:
    try:
        return int((zone / file).read_text()) / 1e6
    except PermissionError as error:
        raise OSError("only the system's administrator may read the processor's energy counters") from error
    except ValueError as error:
        raise OSError(f"the processor's energy counter {zone.name}/{file} shows no number") from error


def gpu_counter(device: Any, nvml: str) -> Counter:
    """The counter of a CUDA device.

    Raises:
        OSError: there is no NVIDIA driver, it is older than the counters (2018), or this GPU has none.
    """
    import torch

    try:
        library = ctypes.CDLL(nvml)
        start, find = library.nvmlInit_v2, library.nvmlDeviceGetHandleByUUID
        count = library.nvmlDeviceGetTotalEnergyConsumption
    except (OSError, AttributeError) as error:
        raise OSError("NVIDIA's management library is missing, or too old to count energy") from error
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    handle = ctypes.c_void_p()
    if start() or find(uuid.encode(), ctypes.byref(handle)):
        raise OSError("NVIDIA's driver does not show the GPU that computes")

    def read() -> float:
        millijoules = ctypes.c_ulonglong()
        if count(handle, ctypes.byref(millijoules)):
            raise OSError("this GPU has no energy counter")
        return millijoules.value / 1e3

    return Counter("GPU", read)

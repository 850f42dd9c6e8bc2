"""Energy by counter: sums, restarts, and a reason where there is nothing to read."""

import subprocess
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from tinsmith.core import energy
from tinsmith.core.energy import Energy, EnergyMeter

CPU, CUDA = SimpleNamespace(type="cpu"), SimpleNamespace(type="cuda")

NVML = """
#include <string.h>
static unsigned long long millijoules = 5000;
static int device;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
  if (strcmp(uuid, "GPU-0a1b-2c3d")) return 6;
  *handle = &device;
  return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *energy) {
  if (handle != &device) return 2;
  *energy = millijoules;
  millijoules += 1500;
  return COUNTED ? 0 : 3;
}
"""
"""A library with NVML's functions: each reading is 1.5 J after the one before."""


def set_zone(folder: Path, zone: str, name: str, microjoules: int | str, most: int = 262_143_328_850) -> None:
    (folder / zone).mkdir(parents=True, exist_ok=True)
    for file, text in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", most)):
        (folder / zone / file).write_text(f"{text}\n")


@pytest.fixture
def powercap(tmp_path) -> Path:
    """Two processors; one counts its memory apart, and its cores, which its package contains."""
    folder = tmp_path / "powercap"
    set_zone(folder, "intel-rapl:0", "package-0", 1_000_000)
    set_zone(folder, "intel-rapl:0:0", "core", 900_000)
    set_zone(folder, "intel-rapl:0:1", "dram", 50_000_000)
    set_zone(folder, "intel-rapl:1", "package-1", 7_000_000)
    set_zone(folder, "intel-rapl:2", "psys", 0)
    return folder


def test_packages_and_memory_are_counted_once(powercap):
    meter = EnergyMeter(CPU, powercap)
    assert meter.read() == Energy({"processor 0": 0.0, "memory of processor 0": 0.0, "processor 1": 0.0})
    set_zone(powercap, "intel-rapl:0", "package-0", 3_500_000)
    set_zone(powercap, "intel-rapl:0:0", "core", 99_000_000)
    set_zone(powercap, "intel-rapl:0:1", "dram", 50_250_000)
    assert meter.read().joules == {"processor 0": 2.5, "memory of processor 0": 0.25, "processor 1": 0.0}
    set_zone(powercap, "intel-rapl:1", "package-1", 8_000_000)
    assert meter.read().joules == {"processor 0": 2.5, "memory of processor 0": 0.25, "processor 1": 1.0}


def test_a_counter_that_starts_again_goes_on(powercap):
    set_zone(powercap, "intel-rapl:0", "package-0", 9_000_000, most=10_000_000)
    meter = EnergyMeter(CPU, powercap)
    set_zone(powercap, "intel-rapl:0", "package-0", 500_000, most=10_000_000)
    assert meter.read().joules["processor 0"] == pytest.approx(1.5)


def test_without_counters_there_is_a_reason_and_no_number(tmp_path):
    meter = EnergyMeter(CPU, tmp_path / "none")
    assert meter.read() == Energy({}, "this system shows no energy counters of its processor")


def test_counters_that_only_the_administrator_may_read(powercap, monkeypatch):
    read_text = Path.read_text

    def refuse(path, *args, **options):
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert EnergyMeter(CPU, powercap).read().not_measured.startswith("only the system's administrator may read")


def test_a_counter_that_breaks_on_the_way_leaves_no_part_of_a_sum(powercap):
    meter = EnergyMeter(CPU, powercap)
    set_zone(powercap, "intel-rapl:1", "package-1", "oops")
    broken = meter.read()
    assert broken == Energy({}, "the processor's energy counter intel-rapl:1/energy_uj shows no number")
    set_zone(powercap, "intel-rapl:1", "package-1", 8_000_000)
    assert meter.read() == broken


def test_several_processes_are_not_summed(powercap, monkeypatch):
    monkeypatch.setattr(energy, "process_count", lambda: 2)
    assert EnergyMeter(CPU, powercap).read().not_measured.startswith("2 processes")


def test_parts_add_up_only_if_all_were_measured_alike():
    one = Energy({"processor 0": 1.5})
    assert one.plus(Energy({"processor 0": 2.0})) == Energy({"processor 0": 3.5})
    assert one.plus(Energy({}, "no counters")) == Energy({}, "no counters")
    assert Energy({}, "no counters").plus(one) == Energy({}, "no counters")
    assert one.plus(Energy({"processor 0": 2.0, "GPU": 9.0})).not_measured.startswith("it was continued on")
    assert Energy(**asdict(one)) == one


@pytest.fixture
def build_nvml(tmp_path, monkeypatch):
    """A function that compiles the library, and a GPU for it."""
    import torch

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="0a1b-2c3d"))

    def build(text: str = NVML, counted: int = 1) -> str:
        source, library = tmp_path / "nvml.c", tmp_path / "libnvml.so"
        source.write_text(text)
        subprocess.run(["cc", "-shared", "-fPIC", f"-DCOUNTED={counted}", "-o", library, source], check=True)
        return str(library)

    return build


def test_a_gpus_counter_is_read_through_nvidias_library(powercap, build_nvml):
    meter = EnergyMeter(CUDA, powercap, build_nvml())
    assert (meter.read().joules["GPU"], meter.read().joules["GPU"]) == (1.5, 3.0)
    assert set(meter.read().joules) == {"processor 0", "memory of processor 0", "processor 1", "GPU"}


def test_a_gpu_counts_alone_where_the_processor_does_not(tmp_path, build_nvml):
    assert EnergyMeter(CUDA, tmp_path / "none", build_nvml()).read() == Energy({"GPU": 1.5})


@pytest.mark.parametrize(
    ("text", "counted", "reason"),
    [
        (NVML, 0, "this GPU has no energy counter"),
        (NVML.replace("0a1b", "other"), 1, "NVIDIA's driver does not show the GPU that computes"),
        (NVML.replace("GetTotalEnergy", "Other"), 1, "NVIDIA's management library is missing, or too old"),
    ],
)
def test_a_gpu_that_does_not_count_leaves_the_reason(powercap, build_nvml, text, counted, reason):
    energy = EnergyMeter(CUDA, powercap, build_nvml(text, counted)).read()
    assert energy.joules == {} and energy.not_measured.startswith(reason)


def test_without_nvidias_library_a_gpu_is_not_measured(powercap):
    reason = EnergyMeter(CUDA, powercap, "libno-such.so").read().not_measured
    assert reason.startswith("NVIDIA's management library is missing")

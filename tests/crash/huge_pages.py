"""Memory in huge pages, so that a fork copies a 512th of the page table."""

import ctypes
import re
from pathlib import Path

_HUGE = 1 << 21
_COLLAPSE = 25
_WRITABLE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 +(?:\[heap\])?")


def use_huge_pages() -> None:
    """Move the process's own memory into huge pages, as far as the kernel does so (Linux 6.1 and newer)."""
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for line in Path("/proc/self/maps").read_text().splitlines():
        if place := _WRITABLE.fullmatch(line):
            start, end = (int(address, 16) for address in place.groups())
            for address in range(-(-start // _HUGE) * _HUGE, end - _HUGE + 1, _HUGE):
                advise(address, _HUGE, _COLLAPSE)  # a place that does not fit keeps its small pages

"""Memory of a sandbox between calls: what to keep because it is costly to get, what to give back when nobody calls.

Kept while calls come: freed heap blocks (bodies cross as arrays of 32-byte values, 32 MiB for each MiB; faulting
those in anew doubled the cost of a large body) and the first pages of the guest's memory (decision 0006).

Given back when idle: the guest's pages. Between two stores the engine's pool holds the pristine image of a memory;
dropping its pages lets the kernel restore exactly that from the sealed image file, or zeros where there is none, so
nobody can tell but by the time the next call takes.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Final

import msgspec

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_MADV_DONTNEED: Final = 4
_KEEP_BYTES: Final = 64 << 20
_POOL_MIN_BYTES: Final = 1 << 30  # a pool reserves gigabytes; nothing else in this process does

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Region(msgspec.Struct, frozen=True):
    """A range of addresses."""

    start: int
    size_bytes: int


def keep_large_blocks() -> None:
    """Raise glibc's mmap and trim thresholds (mallopt(3)); without glibc nothing changes."""
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)


def reserved_regions() -> frozenset[Region]:
    """Large reservations of this process (proc_pid_maps(5)): what a pooling engine made, seen as a difference."""
    found: set[Region] = set()
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, _, end = line.split()[0].partition("-")
        size = int(end, 16) - int(start, 16)
        if size >= _POOL_MIN_BYTES and line.split()[1].startswith("---"):
            found.add(Region(int(start, 16), size))
    return frozenset(found)


def give_back(regions: frozenset[Region]) -> None:
    """Drop the pages of the engine's pool. Only while no store is alive."""
    for region in regions:
        _libc.madvise(ctypes.c_void_p(region.start), ctypes.c_size_t(region.size_bytes), _MADV_DONTNEED)

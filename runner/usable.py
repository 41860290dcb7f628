"""How many cores and how much memory this process may really use: what the machine has, and the container's limits.

A pod with a quota of two on a node of sixty-four sees sixty-four in its affinity mask, and all of the node's memory;
whatever is sized by them would be sized thirty times too large. Source: cgroup v2, `cpu.max` and `memory.max`.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

IDLE_SHARE: Final = 1 / 8
"""Of the memory there is may stay with idle sandboxes, where nobody says how much."""

_CPU_MAX: Final = Path("/sys/fs/cgroup/cpu.max")
_MEMORY_MAX: Final = Path("/sys/fs/cgroup/memory.max")


def usable_cores(cpu_max: Path = _CPU_MAX) -> int:
    """Whole cores, at least one; a quota of one and a half counts as two."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, _, period = cpu_max.read_text().strip().partition(" ")
        if quota != "max":
            cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no cgroup v2, or not ours to read: the mask has to do
        return max(1, cores)
    return max(1, cores)


def usable_memory_bytes(memory_max: Path = _MEMORY_MAX) -> int:
    """Bytes of memory: the container's limit where there is one, else the machine's."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = memory_max.read_text().strip()
        return min(machine, int(limit)) if limit != "max" else machine
    except (OSError, ValueError):  # no cgroup v2, or not ours to read
        return machine

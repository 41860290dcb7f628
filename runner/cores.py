"""How many cores this process may really use: the affinity mask, and the container's quota.

A pod with a quota of two on a node of sixty-four sees sixty-four in its affinity mask; whatever is sized by cores would
be sized thirty times too large. Source: cgroup v2, `cpu.max`.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

_CPU_MAX: Final = Path("/sys/fs/cgroup/cpu.max")


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

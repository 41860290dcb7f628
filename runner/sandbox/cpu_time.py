"""Processor time of a sandbox, read from outside: what is charged must not depend on what the sandbox says.

Linux gives every process a clock of what all its threads have used (clock_getcpuclockid(3)). Its id is made of the
process id alone and anybody may read it, so it costs one system call, 0.3 µs, and needs no descriptor. Read by another
process it is exact when the process sleeps; while it runs, it lacks what was used since the last tick or switch.
"""

from __future__ import annotations

import time
from typing import Final

_SCHEDULED: Final = 2  # CPUCLOCK_SCHED: what the scheduler counted, in nanoseconds, not in ticks


def process_cpu_us(pid: int) -> int | None:
    """Microseconds all threads of `pid` have used since it was forked; `None` when it has ended."""
    try:
        return time.clock_gettime_ns((~pid << 3) | _SCHEDULED) // 1000
    except OSError:
        return None

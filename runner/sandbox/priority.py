"""The scheduling class of a sandbox process: a guest of a flooding tenant computes when nobody else of us wants to.

In the idle class a process gives way the moment another one wakes, and the kernel takes a core that runs only such
processes for a free one. A small share of the time stays with it, so it is slowed and never starved. Its deadline and
its interruption do not depend on it: the ticker's thread stays in the usual class.

Source: sched_setscheduler(2): lowering needs no privilege for a process of our own user; raising it again does.
"""

from __future__ import annotations

import os


def set_yielding(pid: int, yields: bool) -> bool:
    """Put the main thread of `pid` into the idle class, or back into the usual one; whether the kernel agreed.

    A process that is gone counts as done: whoever uses it next finds out.
    """
    try:
        os.sched_setscheduler(pid, os.SCHED_IDLE if yields else os.SCHED_OTHER, os.sched_param(0))
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True

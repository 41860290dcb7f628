"""Kills the very sandbox that runs one call, from outside, while others run beside it.

A guest that loops is recognised by its processor time, so at most one call may loop while its process is looked for:
calls that end at their deadline loop as well and wait meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from runner.sandbox.cpu_time import process_cpu_us
from tests.system.runners import sandboxes_of

LOOK_S: Final = 0.08
LOOKS: Final = 7  # in a row
BUSY_US: Final = 50_000  # during these; a core shared with ten others gives as much


class Loops:
    """Lets calls that loop run side by side, or one of them alone."""

    def __init__(self) -> None:
        self._free = asyncio.Condition()
        self._beside = 0
        self._alone = False

    @contextlib.asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """One that ends by itself."""
        async with self._free:
            await self._free.wait_for(lambda: not self._alone)
            self._beside += 1
        try:
            yield
        finally:
            async with self._free:
                self._beside -= 1
                self._free.notify_all()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """One that is looked for."""
        async with self._free:
            await self._free.wait_for(lambda: not self._alone)
            self._alone = True
            await self._free.wait_for(lambda: not self._beside)
        try:
            yield
        finally:
            async with self._free:
                self._alone = False
                self._free.notify_all()


async def kill_the_looping(pid: int) -> int:
    """Find the sandbox of runner `pid` that computes without a pause and kill it; its process id.

    An honest call under load may be seen running twice, but not every time for half a second.
    """
    looks: deque[dict[int, int]] = deque(maxlen=LOOKS)
    while True:
        looks.append({one: process_cpu_us(one) or 0 for one in sandboxes_of(pid) if _runs(one)})
        always = set.intersection(*(set(look) for look in looks))
        found = [one for one in always if looks[-1][one] - looks[0][one] >= BUSY_US]
        if len(looks) == LOOKS and len(found) == 1:
            os.kill(found[0], signal.SIGKILL)
            return found[0]
        await asyncio.sleep(LOOK_S)


def _runs(pid: int) -> bool:
    """Whether it computes, or would if it had a core."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "R"
    except OSError:
        return False

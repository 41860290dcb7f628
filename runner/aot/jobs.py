"""The compiler role's queue: how many preparations run at once, how many may wait, and when to come back.

A preparation costs seconds of a core and hundreds of megabytes, and who publishes decides how many are asked for. So
the number under way is fixed, the queue behind it is short, and whoever finds it full is told at once, with a time
taken from how long preparations have been taking.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from runner.aot.artefacts import ARTEFACT_MAX_BYTES
from runner.usable import usable_cores
from shared.errors import Overloaded
from shared.limits import (
    COMPILE_CPU_MAX_S,
    COMPILE_MEMORY_MAX_BYTES,
    COMPILE_RETRY_MAX_S,
    COMPILES_WAITING_MAX,
    PREPARE_MAX_S,
)

USUAL_S: Final = 10.0  # what a preparation is taken to cost before one has been seen
_WEIGHT: Final = 0.2  # of the newest one in the running average


class CompileLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What compiling may cost. The defaults are the platform's; tests try each limit with small ones.

    Attributes:
        at_once: preparations at the same time.
        waiting_max: preparations waiting for their turn.
        wall_s: of one preparation, from its turn.
        cpu_s: processor time of one compilation.
        memory_bytes: resident memory of one compilation.
        code_bytes: native code it may write.
    """

    at_once: int = 1
    waiting_max: int = COMPILES_WAITING_MAX
    wall_s: float = PREPARE_MAX_S
    cpu_s: int = COMPILE_CPU_MAX_S
    memory_bytes: int = COMPILE_MEMORY_MAX_BYTES
    code_bytes: int = ARTEFACT_MAX_BYTES


def usual_limits() -> CompileLimits:
    """The limits of a compiler on this machine: one core stays free for requests."""
    return CompileLimits(at_once=max(1, usable_cores() - 1))


class Jobs:
    """Hands out turns in the order they were asked for.

    Args:
        at_once, waiting_max: as in `CompileLimits`.
        clock: monotonic seconds.
    """

    def __init__(self, at_once: int, waiting_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._at_once = at_once
        self._waiting_max = waiting_max
        self._clock = clock
        self._average_s = USUAL_S
        self.running = 0
        self.waiting = 0

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it for the length of the block.

        Raises:
            Overloaded: as many are waiting as may; `retry_after_s` says when the queue should have moved.
        """
        if self._slots.locked() and self.waiting >= self._waiting_max:
            raise Overloaded(
                f"{self.running} preparations are under way and {self.waiting} are waiting",
                retry_after_s=self.retry_after_s(),
            )
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        started = self._clock()
        try:
            yield
        finally:
            self.running -= 1
            self._average_s += _WEIGHT * (self._clock() - started - self._average_s)
            self._slots.release()

    def retry_after_s(self) -> int:
        """Whole seconds until somebody who comes then probably finds a place in the queue."""
        expected_s = self._average_s * (self.waiting + 1) / self._at_once
        return min(COMPILE_RETRY_MAX_S, max(1, math.ceil(expected_s)))

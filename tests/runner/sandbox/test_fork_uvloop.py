"""A fork that is given up while it connects leaves nothing behind, on the event loop that runners use."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import uvloop

from runner.sandbox.pool import PoolOptions
from tests.runner.sandbox.driving import running_pool, until

FDS = Path("/proc/self/fd")
TRIES = 10


async def descriptors_left() -> int:
    """How many more descriptors are open after forks that were cancelled at once."""
    async with running_pool(PoolOptions(sandbox_max=4, spares=0)) as pool:
        await until(lambda: not pool._ending)
        before = len(list(FDS.iterdir()))
        for _ in range(TRIES):
            known = set(pool._all)
            fork = asyncio.create_task(pool._fork())
            await until(lambda known=known: bool(pool._all - known))  # type: ignore[misc]  # bound to this turn
            fork.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await fork
        await until(lambda: not pool._ending and not pool._connecting)
        return len(list(FDS.iterdir())) - before


def test_a_fork_that_is_cancelled_while_it_connects_is_closed_like_any_other() -> None:
    assert uvloop.run(descriptors_left()) <= 0

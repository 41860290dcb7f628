"""Waiting for something that sends no event: give way until it is so, fail when it never is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LIMIT_S = 20.0


async def until(happened: Callable[[], object]) -> None:
    """Return when `happened()` is true."""
    async with asyncio.timeout(LIMIT_S):
        while not happened():  # noqa: ASYNC110  # what is watched has no event to wait for
            await asyncio.sleep(0)


async def settled() -> None:
    """Return when no task but the caller's is left: background work is over."""
    await until(lambda: len(asyncio.all_tasks()) <= 1)

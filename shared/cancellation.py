"""Awaits something that may drop a cancellation, and does not.

Before Python 3.12 `asyncio.wait_for`, which drivers use inside, forgets a cancellation that arrives in the moment in
which what it waits for is done (CPython issue 81839). A task that was asked to end would then run for ever, and
whoever waits for its end with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def heeding(awaited: Awaitable[T]) -> T:
    """The result of `awaited`. Raises `CancelledError` also when `awaited` dropped it."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    found = await awaited
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return found

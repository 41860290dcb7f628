"""A caller that leaves: nobody waits for the answer, so the guest ends at once and its slot is somebody else's.

The server tells an application that the connection closed, but does not end it. Here the message ends the call, by
cancelling its task: the queue is left, the sandbox killed, what was used is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any


class CallerGoneError(Exception):
    """The caller closed the connection; there is nobody to answer."""


@contextlib.contextmanager
def while_present(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> Iterator[None]:
    """Run the block as long as the caller is there. To be entered after the request's body was read.

    Raises:
        CallerGoneError: the caller left first; the block was cancelled.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a call runs in a task")
    cancelling, left = task.cancelling(), False

    def leave(watch: asyncio.Task[None]) -> None:
        nonlocal left
        if not watch.cancelled() and watch.exception() is None:
            left = True
            task.cancel()

    watch = asyncio.create_task(_gone(receive), name="caller")
    watch.add_done_callback(leave)
    try:
        yield
    except asyncio.CancelledError:
        if left and task.uncancel() <= cancelling:
            raise CallerGoneError from None
        raise
    finally:
        watch.remove_done_callback(leave)
        watch.cancel()


async def _gone(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue

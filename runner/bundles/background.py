"""Work that outlives the call that caused it, such as writing a cache file after the answer; owned by the lifespan."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Self

import structlog

WAITING_MAX: Final = 64  # tasks at once; each may hold one artefact in memory
CLOSE_MAX_S: Final = 5.0  # what is still running at the end gets this long, then it is cancelled

_log = structlog.get_logger()


class Background:
    """Use as `async with Background() as background`: leaving the block ends everything that was started."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=CLOSE_MAX_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> bool:
        """Run `work` behind the caller's back. `False`: too much is under way, it was not started."""
        if len(self._tasks) >= WAITING_MAX:
            work.close()
            return False
        task = asyncio.create_task(work, name=name, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background_work_failed", work=task.get_name(), exc_info=error)

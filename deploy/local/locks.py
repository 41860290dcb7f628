"""One at a time: advisory file locks (flock(2)) that the kernel gives back when their holder dies."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

RETRY_S: Final = 0.05  # what is guarded takes seconds; nobody notices this


class Lock:
    """An exclusive lock on a file. Taken with `take`, given back with `release` or by the end of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Whether the lock is now ours; never waits."""
        # Not inherited (PEP 446): a child that outlives us must not keep the lock.
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def write(self, text: str) -> None:
        """Leave `text` in the file for those who find it taken."""
        assert self._descriptor is not None, "only the holder writes"
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)

    def release(self) -> None:
        """Give the lock back; nothing happens when it is not ours."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextlib.asynccontextmanager
async def exclusive(path: Path) -> AsyncIterator[None]:
    """Hold the lock of `path`; others wait without blocking their event loop."""
    lock = Lock(path)
    # flock has no way to be awaited, and a thread that waits for it could not be cancelled.
    while not lock.take():  # noqa: ASYNC110
        await asyncio.sleep(RETRY_S)
    try:
        yield
    finally:
        lock.release()

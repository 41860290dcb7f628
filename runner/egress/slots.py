"""How many fetches of a tenant are under way in all worker processes of a runner, and a place for one more.

A place is a byte of a file in memory, locked by the process that uses it (`fcntl`, POSIX record locks): which tenant's
it is follows from its offset, so nothing is written and nothing has to be kept in order. The kernel gives a place back
when its process ends, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from typing import Final

from shared.limits import EGRESS_BUSY_MAX_MS, EGRESS_CONCURRENT_MAX_COUNT

_STRIDE: Final = 16  # bytes of one tenant, of which the first few are its places
_KEY_BYTES: Final = 7  # 56 bits and a stride of 4 fit an offset of 63 bits
_ASK_AGAIN_S: Final = 0.02  # a place that another process gave back says nothing

assert EGRESS_CONCURRENT_MAX_COUNT <= _STRIDE


class BusyError(Exception):
    """Every place of this tenant stayed taken."""


def create_page() -> int:
    """A descriptor of the file, to be inherited by the workers."""
    return os.memfd_create("egress-slots", os.MFD_CLOEXEC)


class Slots:
    """One process's view of the places.

    Args:
        descriptor: from `create_page`, for this object alone: closing any other descriptor of the same file in this
            process would give all of its places back.
        max_count: places of one tenant.
    """

    def __init__(self, descriptor: int, max_count: int = EGRESS_CONCURRENT_MAX_COUNT) -> None:
        self._descriptor = descriptor
        self._max_count = max_count
        self._taken: set[int] = set()
        self._waiting: defaultdict[str, deque[asyncio.Future[None]]] = defaultdict(deque)

    @contextlib.asynccontextmanager
    async def one(self, tenant: str) -> AsyncIterator[None]:
        """A place for the time of the block, after a short wait when there is none. Raises `BusyError`."""
        first = _first(tenant)
        place = self._take(first)
        if place is None:
            place = await self._wait(tenant, first)
        try:
            yield
        finally:
            self._give_back(tenant, place)

    async def _wait(self, tenant: str, first: int) -> int:
        loop = asyncio.get_running_loop()
        until = loop.time() + EGRESS_BUSY_MAX_MS / 1000
        while loop.time() < until:
            freed = loop.create_future()
            self._waiting[tenant].append(freed)
            try:
                await asyncio.wait({freed}, timeout=_ASK_AGAIN_S)
            finally:
                self._forget(tenant, freed)
            place = self._take(first)
            if place is not None:
                return place
        raise BusyError

    def _take(self, first: int) -> int | None:
        for place in range(first, first + self._max_count):
            if place in self._taken:
                continue
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            except (BlockingIOError, PermissionError):  # another process has it
                continue
            self._taken.add(place)
            return place
        return None

    def _give_back(self, tenant: str, place: int) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, place)
        self._taken.discard(place)
        for freed in self._waiting.get(tenant, ()):
            if not freed.done():
                freed.set_result(None)
                break

    def _forget(self, tenant: str, freed: asyncio.Future[None]) -> None:
        waiting = self._waiting[tenant]
        waiting.remove(freed)
        if not waiting:
            del self._waiting[tenant]


def _first(tenant: str) -> int:
    digest = hashlib.blake2b(tenant.encode(), digest_size=_KEY_BYTES).digest()
    return int.from_bytes(digest) * _STRIDE

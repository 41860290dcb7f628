"""What was asked of the database a moment ago, remembered: asked once for any number of callers, dropped when it changes.

A look-up belongs to the memory and not to the caller that began it, so that one who goes away takes nothing from the
others. A change that is announced while a look-up runs makes its answer good for those who wait, but not for later.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from shared.errors import AccessPolicyUnavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Entry(Generic[V]):
    """What was found, and when. `fresh` ends with its time or with a gap in the announcements."""

    __slots__ = ("at_s", "found", "fresh")

    def __init__(self, found: V, at_s: float) -> None:
        self.found = found
        self.at_s = at_s
        self.fresh = True


class Remembered(Generic[K, V]):
    """Answers of one kind of question. An answer is negative when it is false.

    Args:
        load: asks the database.
        lifetime_s: how long an answer is good, in seconds.
        negative_s: how long a negative one is.
        max_count: answers kept; who was asked about longest ago goes first.
        stale_s: how old a positive answer may be, in seconds, when the database cannot be asked; 0: never stale.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        load: Callable[[K], Awaitable[V]],
        *,
        lifetime_s: float,
        negative_s: float,
        max_count: int,
        stale_s: float = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._lifetime_s = lifetime_s
        self._negative_s = negative_s
        self._max_count = max_count
        self._stale_s = stale_s
        self._clock = clock
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._flights: dict[K, asyncio.Task[V]] = {}
        self._tasks: set[asyncio.Task[V]] = set()

    async def get(self, key: K) -> V:
        """The answer. Raises what `load` raises; `AccessPolicyUnavailable` only when nothing young enough is known."""
        entry = self._entries.get(key)
        return entry.found if entry is not None and self._is_fresh(entry) else await self._ask(key)

    def forget(self, concerned: Callable[[K], bool]) -> None:
        """Drop the answers of some questions; look-ups under way are not kept either."""
        for key in [key for key in self._entries if concerned(key)]:
            del self._entries[key]
        for key in [key for key in self._flights if concerned(key)]:
            del self._flights[key]

    def doubt_all(self) -> None:
        """Nothing may be served any more, except as stale while the database cannot be asked."""
        for entry in self._entries.values():
            entry.fresh = False
        self._flights.clear()

    async def close(self) -> None:
        """End the look-ups that are still under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _landed(self, flight: asyncio.Task[V]) -> None:
        # The callers may all have gone; what the task raised is then nobody's, and not a warning either.
        self._tasks.discard(flight)
        if not flight.cancelled():
            flight.exception()

    def _is_fresh(self, entry: _Entry[V]) -> bool:
        lifetime_s = self._lifetime_s if entry.found else self._negative_s
        return entry.fresh and self._clock() - entry.at_s < lifetime_s

    async def _ask(self, key: K) -> V:
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._fly(key), name="look-up")
            self._flights[key] = flight
            self._tasks.add(flight)
            flight.add_done_callback(self._landed)
        try:
            return await asyncio.shield(flight)
        except AccessPolicyUnavailable:
            entry = self._entries.get(key)
            if entry is None or not entry.found or self._clock() - entry.at_s > self._stale_s:
                raise
            return entry.found

    async def _fly(self, key: K) -> V:
        began_s = self._clock()
        me = asyncio.current_task()
        try:
            found = await self._load(key)
            if self._flights.get(key) is me:
                self._keep(key, _Entry(found, began_s))
            return found
        finally:
            if self._flights.get(key) is me:
                del self._flights[key]

    def _keep(self, key: K, entry: _Entry[V]) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_count:
            self._entries.popitem(last=False)

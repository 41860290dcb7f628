"""Single flight: callers that want the same thing at the same time share one piece of work.

The work belongs to nobody's request. It runs in a task of its own, in an empty context (no caller's ids in its log
lines), under its own deadline; a caller that gives up leaves the others waiting and the work running, because a cold
load that dies with its first impatient caller would never get warm. `aclose` ends what is still under way.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final, Generic, TypeVar

from shared.errors import Overloaded

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

FLIGHTS_MAX: Final = 256  # different things under way at once in one process; each may hold a download in memory


class SingleFlight(Generic[Key, Value]):
    """At most one task for each key.

    Args:
        name: what the tasks are called, for logs and debuggers.
        max_flights: different keys under way at once; one more is refused.
    """

    def __init__(self, name: str, max_flights: int = FLIGHTS_MAX) -> None:
        self._name = name
        self._max_flights = max_flights
        self._flights: dict[Key, asyncio.Task[Value]] = {}

    def __len__(self) -> int:
        """How many flights are under way."""
        return len(self._flights)

    async def run(self, key: Key, work: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """The result of `work` for `key`, begun by whoever came first.

        Cancelling the caller does not cancel the work.

        Raises:
            Overloaded: too many other keys are under way.
            Exception: whatever the work raised, for every caller.
        """
        task = self._flights.get(key)
        if task is None:
            if len(self._flights) >= self._max_flights:
                raise Overloaded(f"{self._max_flights} different loads are under way", retry_after_s=1)
            task = asyncio.create_task(work(), name=f"{self._name} {key}", context=contextvars.Context())
            self._flights[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(task)

    def _landed(self, key: Key, task: asyncio.Task[Value]) -> None:
        del self._flights[key]
        if not task.cancelled():
            task.exception()  # seen: callers that are still there raise it, and nobody else has to

    async def aclose(self) -> None:
        """Cancel what is under way and wait for its end."""
        tasks = list(self._flights.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

"""The clocks of a guest, rounded down to a millisecond.

Fine clocks are what timing attacks on a shared processor are made of. A guest can still count loops between two edges
of a coarse clock, so this raises the price and is no wall; the wall is that nothing worth timing shares its process
(decisions 0005, 0009).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

RESOLUTION_NS: Final = 1_000_000
_SECOND_NS: Final = 1_000_000_000


class GuestClock:
    """What one guest at a time sees of time.

    The monotonic clock starts near zero with each store, as wasmtime's own does, because instants that a guest waits
    for (`subscribe-instant`) are compared with that one. Call `begin` before the store's WASI is made: ours then runs
    a few microseconds ahead, and nobody wakes up before the instant it asked for.

    Args:
        monotonic_ns, wall_ns: nanoseconds; the second since the epoch.
    """

    def __init__(
        self, monotonic_ns: Callable[[], int] = time.monotonic_ns, wall_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._monotonic_ns, self._wall_ns = monotonic_ns, wall_ns
        self._base_ns = 0

    def begin(self) -> None:
        """A new store: its monotonic clock starts now."""
        self._base_ns = self._monotonic_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds since `begin`, whole milliseconds."""
        return _rounded(self._monotonic_ns() - self._base_ns)

    def wall(self) -> tuple[int, int]:
        """Seconds since 1970 and nanoseconds, whole milliseconds."""
        return divmod(_rounded(self._wall_ns()), _SECOND_NS)


def _rounded(time_ns: int) -> int:
    return max(0, time_ns - time_ns % RESOLUTION_NS)

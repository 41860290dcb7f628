"""How often guests may change schedules: a loop in a guest must not fill the audit log, which nobody can empty."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from shared.errors import RateLimited
from shared.limits import SCHEDULE_GUEST_CHANGES_MAX

WINDOW_S: Final = 3_600.0


class Pace:
    """Counts the changes of each install in one gateway, hour by hour.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began_s = clock()
        self._changes: Counter[str] = Counter()

    def take(self, install_id: str) -> None:
        """Count one more change. Raises `RateLimited` when the hour's are used up."""
        now_s = self._clock()
        if now_s - self._began_s >= WINDOW_S:
            self._began_s = now_s
            self._changes.clear()
        if self._changes[install_id] >= SCHEDULE_GUEST_CHANGES_MAX:
            raise RateLimited(
                f"an extension may change its schedules {SCHEDULE_GUEST_CHANGES_MAX} times in an hour",
                retry_after_s=int(self._began_s + WINDOW_S - now_s) + 1,
            )
        self._changes[install_id] += 1

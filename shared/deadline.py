"""A deadline: the one clock every await of a request shares.

Monotonic, so that a wall clock that jumps (fault F25) neither ends nor extends a call. What crosses a process
is the *remaining* time in milliseconds, never a timestamp.
"""

from __future__ import annotations

import time
from typing import NamedTuple


class Deadline(NamedTuple):
    """A point on this process's monotonic clock, in seconds."""

    at_s: float

    @classmethod
    def after_ms(cls, budget_ms: float) -> Deadline:
        """The deadline `budget_ms` milliseconds from now."""
        return cls(time.monotonic() + budget_ms / 1000)

    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at_s - time.monotonic())

    def remaining_ms(self) -> int:
        """Whole milliseconds left, never negative; rounded down so that the shorter side wins."""
        return int(self.remaining_s() * 1000)

    def passed(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self.at_s

    def sooner(self, budget_ms: float) -> Deadline:
        """This deadline, or the one `budget_ms` from now when that comes first."""
        return min(self, Deadline.after_ms(budget_ms))

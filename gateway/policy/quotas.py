"""How much an install may use in an hour: calls, processor time, bytes to the internet. Pure.

What was used comes with the install when it is looked up, so asking costs a call nothing; it is some seconds old, and
what starts meanwhile goes beyond the quota by that much.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from shared.errors import QuotaExceeded

HOUR_S: Final = 3_600
MB: Final = 1 << 20


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What an install used in the hour that runs."""

    invocations: int = 0
    cpu_ms: float = 0.0
    egress_bytes: int = 0


class Quotas(msgspec.Struct, frozen=True, kw_only=True):
    """What one install may use in one hour.

    Attributes:
        calls: that were made.
        cpu_s: seconds of one core.
        egress_mb: MiB that its guests sent and received.
    """

    calls: int
    cpu_s: int
    egress_mb: int

    def check(self, used: Used, clock: Callable[[], float] = time.time) -> None:
        """Raise `QuotaExceeded`, which says of what and until when, once something is used up.

        Args:
            used: in the hour that runs.
            clock: seconds since the epoch.
        """
        for kind, unit, limit, so_far in (
            ("calls", "calls", self.calls, used.invocations),
            ("cpu", "seconds of processor time", self.cpu_s, used.cpu_ms / 1000),
            ("egress", "MiB to and from the internet", self.egress_mb, used.egress_bytes / MB),
        ):
            if so_far >= limit:
                now_s = int(clock())
                ends_s = now_s - now_s % HOUR_S + HOUR_S
                raise QuotaExceeded(
                    f"this install used the {limit} {unit} it may use in an hour; the next hour begins at "
                    f"{datetime.fromtimestamp(ends_s, UTC):%H:%M} UTC",
                    retry_after_s=ends_s - now_s,
                    limited_by={"scope": "install", "kind": kind, "limit": limit, "used": round(so_far, 3)},
                )

"""A tenant that floods the runner yields to those that do not.

Slots alone cannot keep a neighbour fast: short calls fill the gaps between slots, and each costs the worker's event loop
about as much as the sandbox. So while somebody calm is active (nothing of theirs waits), a tenant with a crowd of waiting
calls has them started no faster than its part of the cores allows, one core less than there are, and its guests run in
the kernel's idle class, which gives way at once to anything else of this runner. Alone, or among others that flood as
well, nobody is held back and the turns of the queue decide.

Source: decision 0008 (measured), sched(7) for SCHED_IDLE.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from runner.sandbox.shares import Shares

CROWD: Final = 4  # waiting calls in one worker; a tenant that keeps within its part of the slots has fewer
WORKER_US: Final = 300  # of the worker itself for one call: reading, checking, answering (measured)
CATCH_UP_S: Final = 0.005  # that a start may be late, and the next ones make up for; a timer is late by less
PACED_MAX: Final = 1_024  # tenants remembered; those whose time has come are forgotten first


class Pacing:
    """When a flooding tenant may start its next call in this worker.

    Args:
        shares: who is active, in all workers.
        share: cores that a flooding tenant may use in this worker while others are calm.
        clock: monotonic seconds.
    """

    def __init__(self, shares: Shares, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._shares = shares
        self._share = share
        self._clock = clock
        self._until_s: dict[str, float] = {}

    def yields(self, tenant: str, waiting: int) -> bool:
        """Whether `tenant`, of which `waiting` calls wait here, floods while somebody else is calm."""
        return waiting >= CROWD and self._shares.others_calm(tenant)

    def ended(self, tenant: str, cpu_us: int, waiting: int) -> None:
        """A call ended that used `cpu_us`; `waiting` more of the tenant wait."""
        if not self.yields(tenant, waiting):
            self._until_s.pop(tenant, None)
            return
        earliest_s = self._clock() - CATCH_UP_S
        if len(self._until_s) >= PACED_MAX:
            self._until_s = {other: until_s for other, until_s in self._until_s.items() if until_s > earliest_s}
        before_s = max(self._until_s.get(tenant, earliest_s), earliest_s)
        self._until_s[tenant] = before_s + (cpu_us + WORKER_US) / 1e6 / self._share

    def may_start(self, tenant: str) -> bool:
        """Whether a call of `tenant` may start now."""
        until_s = self._until_s.get(tenant)
        return until_s is None or until_s <= self._clock()

    def soonest_s(self, held_back: Iterable[str]) -> float:
        """Seconds until the first of the tenants that may not start may; 0 when the time of one has come since."""
        return max(0.0, min(self._until_s.get(tenant, 0.0) for tenant in held_back) - self._clock())

"""The breaker: how fast one install may lose sandboxes.

A guest that dies costs more than itself: its process is killed, another one forked, and on two cores nineteen deaths a
second raise everybody else's p99 from 0.9 to 6.7 ms. So each install has a bucket of deaths, filled again slowly. An
install whose bucket is empty rests: its calls are refused before anything is loaded, queued or forked, with the time
after which one is let through. Other installs of the same tenant are not touched. Nobody has to reset anything.

Every end that costs a process counts, since the process is what others pay for: killed by the watchdog, by the system
call filter, at the deadline from outside, for a broken protocol, by itself, and given up after a fault that leaves it in
doubt. What an operator stops and what a caller leaves does not count: the extension did nothing.

Calls under way when the bucket empties still run, so it may go below zero; that debt is bounded and is paid off first.

Decision 0012. The buckets stand on one memory page that all workers of a runner share, like the tenants' shares: a flood that is
spread over connections meets one bucket. Writers do not lock; a lost update is a death that nobody counts.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import struct
import time
from collections.abc import Callable
from typing import Final

from runner.sandbox import frames
from runner.sandbox.pool import RECYCLE_KINDS
from runner.sandbox.process import Died, Outcome
from shared.errors import ExtensionSuspended
from shared.limits import (
    SANDBOX_DEATH_REFILL_S,
    SANDBOX_DEATHS_BURST_MAX_COUNT,
    SANDBOX_DEATHS_DEBT_MAX_COUNT,
    SANDBOX_VIOLATION_REPEAT_S,
)

_SLOT: Final = struct.Struct("<Qddd")  # key, deaths still allowed, when that was written, when it last broke a rule
SLOTS: Final = 4096  # installs that lose sandboxes within minutes of each other on one node
PROBES: Final = 8
PAGE_BYTES: Final = SLOTS * _SLOT.size


def create_page() -> int:
    """A descriptor of an empty page, to be inherited by the workers."""
    descriptor = os.memfd_create("install-deaths", 0)
    os.ftruncate(descriptor, PAGE_BYTES)
    return descriptor


def cause_of_death(outcome: Outcome) -> str | None:
    """Why a process cannot be used again, in one word of a small set; `None` when it can."""
    result = outcome.result
    if isinstance(result, frames.Failed):
        return None if result.kind in RECYCLE_KINDS else "fault"
    if not isinstance(result, Died):
        return None
    if result.broke_a_rule:
        return "violation"
    if result.timed_out:
        return "deadline"
    return "memory" if result.too_large else "abort"


class Breaker:
    """One process's view of the page.

    Args:
        descriptor: from `create_page`; without one the page is this process's own.
        clock: monotonic seconds, the same in all processes.
    """

    def __init__(self, descriptor: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._page = mmap.mmap(-1 if descriptor is None else descriptor, PAGE_BYTES)
        self._clock = clock

    def check(self, tenant: str, install: str) -> None:
        """Let a call through, or not.

        Raises:
            ExtensionSuspended: the install has lost too many sandboxes; says when one call is let through.
        """
        _, allowed, _ = self._find(_key(tenant, install))
        if allowed >= 1:
            return
        wait_s = math.ceil((1 - allowed) * SANDBOX_DEATH_REFILL_S)
        raise ExtensionSuspended(
            f"this extension's process had to be replaced too often: {SANDBOX_DEATHS_BURST_MAX_COUNT} times at once and "
            f"once in {SANDBOX_DEATH_REFILL_S} s are allowed; one call is let through in {wait_s} s",
            retry_after_s=wait_s,
        )

    def died(self, tenant: str, install: str) -> None:
        """Count one sandbox that the install has cost."""
        key = _key(tenant, install)
        at, allowed, violated_s = self._find(key)
        left = max(allowed - 1, -float(SANDBOX_DEATHS_DEBT_MAX_COUNT))
        _SLOT.pack_into(self._page, at, key, left, self._clock(), violated_s)

    def violated(self, tenant: str, install: str) -> bool:
        """Note that the install broke a rule of the sandbox; whether it did so lately before. Call it after `died`."""
        key, now = _key(tenant, install), self._clock()
        at, allowed, violated_s = self._find(key)
        _SLOT.pack_into(self._page, at, key, allowed, now, now)
        return violated_s > 0 and now - violated_s <= SANDBOX_VIOLATION_REPEAT_S

    def _find(self, key: int) -> tuple[int, float, float]:
        """The install's slot, or the stalest of those it may take; deaths allowed now; when it last broke a rule."""
        now = self._clock()
        stalest, stalest_s = 0, math.inf
        for probe in range(PROBES):
            at = (key + probe) % SLOTS * _SLOT.size
            found, left, written_s, violated_s = _SLOT.unpack_from(self._page, at)
            if found == key:
                filled = left + max(0.0, now - written_s) / SANDBOX_DEATH_REFILL_S
                return at, min(filled, float(SANDBOX_DEATHS_BURST_MAX_COUNT)), violated_s
            if written_s < stalest_s:
                stalest, stalest_s = at, written_s
        return stalest, float(SANDBOX_DEATHS_BURST_MAX_COUNT), 0.0


def _key(tenant: str, install: str) -> int:
    digest = hashlib.blake2b(f"{tenant}\0{install}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) or 1

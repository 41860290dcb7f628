"""What each tenant has used lately, on one memory page that all worker processes of a runner share.

A tenant's calls arrive at any worker, so fairness inside one worker is not enough. Each slot holds a tenant's hash, its
processor time in microseconds, halved every two seconds, and when that was written (the monotonic clock is the same in
all processes). The head remembers the last two tenants that computed, which answers "is anybody else here?", and the
last two of which nothing waited, which answers "is anybody here who asks for no more than there is?".

Writers do not lock: a lost update is a few microseconds that somebody is not charged for. Slots are few and reused,
oldest first, so the cost does not grow with the number of tenants.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import time
from collections.abc import Callable
from typing import Final

_SLOT: Final = struct.Struct("<Qdd")  # key, microseconds, when
_LAST: Final = struct.Struct("<QdQd")  # the last tenant and when, the one before it and when
_ACTIVE_AT: Final = 0  # of those that computed
_CALM_AT: Final = _LAST.size  # of those that computed and have nothing waiting
_SLOTS_AT: Final = 2 * _LAST.size
SLOTS: Final = 4096  # tenants active within seconds of each other on one node
PROBES: Final = 8
HALF_LIFE_S: Final = 2.0  # long enough to tell a heavy tenant, short enough to forgive it
ACTIVE_S: Final = 1.0  # who computed within this is active
PAGE_BYTES: Final = _SLOTS_AT + SLOTS * _SLOT.size


def create_page() -> int:
    """A descriptor of an empty page, to be inherited by the workers."""
    descriptor = os.memfd_create("tenant-shares", 0)
    os.ftruncate(descriptor, PAGE_BYTES)
    return descriptor


class Shares:
    """One process's view of the page.

    Args:
        descriptor: from `create_page`; without one the page is this process's own.
        clock: monotonic seconds.
    """

    def __init__(self, descriptor: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._page = mmap.mmap(-1 if descriptor is None else descriptor, PAGE_BYTES)
        self._clock = clock
        self._keys: dict[str, int] = {}

    def charge(self, tenant: str, cpu_us: int, *, calm: bool = True) -> None:
        """Add processor time to a tenant's account.

        Args:
            tenant: who computed.
            cpu_us: microseconds.
            calm: whether nothing of it waits.
        """
        now, key = self._clock(), self._key(tenant)
        at, used_us = self._find(key, now)
        _SLOT.pack_into(self._page, at, key, used_us + cpu_us, now)
        self._note(_ACTIVE_AT, key, now)
        if calm:
            self._note(_CALM_AT, key, now)

    def _note(self, at: int, key: int, now: float) -> None:
        last, last_s, _, _ = _LAST.unpack_from(self._page, at)
        if last == key:
            struct.pack_into("<d", self._page, at + 8, now)
        else:
            _LAST.pack_into(self._page, at, key, now, last, last_s)

    def used_us(self, tenant: str) -> float:
        """Microseconds a tenant has used lately, old ones counting less."""
        return self._find(self._key(tenant), self._clock())[1]

    def others_active(self, tenant: str) -> bool:
        """Whether anybody else computed within the last second, in any worker."""
        return self._others(_ACTIVE_AT, tenant)

    def others_calm(self, tenant: str) -> bool:
        """Whether anybody else of whom nothing waits computed within the last second, in any worker."""
        return self._others(_CALM_AT, tenant)

    def _others(self, at: int, tenant: str) -> bool:
        key, since = self._key(tenant), self._clock() - ACTIVE_S
        last, last_s, before, before_s = _LAST.unpack_from(self._page, at)
        return (last not in (key, 0) and last_s > since) or (before not in (key, 0) and before_s > since)

    def _key(self, tenant: str) -> int:
        key = self._keys.get(tenant)
        if key is None:
            if len(self._keys) >= SLOTS:
                self._keys.clear()
            digest = hashlib.blake2b(tenant.encode(), digest_size=8).digest()
            key = self._keys[tenant] = int.from_bytes(digest) or 1
        return key

    def _find(self, key: int, now: float) -> tuple[int, float]:
        """The tenant's slot, or the stalest of those it may take, and what it has used."""
        stalest, stalest_s = 0, float("inf")
        for probe in range(PROBES):
            at = _SLOTS_AT + (key + probe) % SLOTS * _SLOT.size
            found, used_us, when_s = _SLOT.unpack_from(self._page, at)
            if found == key:
                return at, float(used_us * 0.5 ** (max(0.0, now - when_s) / HALF_LIFE_S))
            if when_s < stalest_s:
                stalest, stalest_s = at, when_s
        return stalest, 0.0

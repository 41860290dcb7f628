"""Failures remembered for a few seconds, so that asking again for what is missing costs nobody anything (threat T60)."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from shared.errors import PlatformError
from shared.limits import NEGATIVE_CACHE_S

Key = TypeVar("Key", bound=Hashable)

ENTRIES_MAX: Final = 4_096  # an attacker's random digests push out each other, nothing else


class NegativeCache(Generic[Key]):
    """Key → the error it ended with.

    Args:
        ttl_s: seconds an error is remembered.
        clock: monotonic seconds.
    """

    def __init__(self, ttl_s: float = NEGATIVE_CACHE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._errors: OrderedDict[Key, tuple[float, PlatformError]] = OrderedDict()

    def check(self, key: Key) -> None:
        """Raise the remembered error of `key`, if there is one."""
        found = self._errors.get(key)
        if found is None:
            return
        until, error = found
        if self._clock() >= until:
            del self._errors[key]
            return
        raise type(error)(error.detail, retry_after_s=error.retry_after_s, **error.extra)

    def remember(self, key: Key, error: PlatformError, ttl_s: float | None = None) -> None:
        """Answer `key` with `error` from now on, for `ttl_s` seconds when the usual time does not fit."""
        self._errors[key] = (self._clock() + (self._ttl_s if ttl_s is None else ttl_s), error)
        self._errors.move_to_end(key)
        while len(self._errors) > ENTRIES_MAX:
            self._errors.popitem(last=False)

    def forget(self, key: Key) -> None:
        """Drop what is remembered about `key`."""
        self._errors.pop(key, None)

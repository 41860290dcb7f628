"""The host application's keys as they are known at the moment: fixed, or fetched from where it publishes them.

Fetched keys are looked at again every few minutes, and at once when a token names a key that is not known, but not
more often than every few seconds, so that invented key ids cost nobody anything. When they cannot be fetched the last
good ones serve for a day; without any, or after that, no session can be judged and calls are refused as not decidable
(503), never let through.

Source: RFC 7517 §5 (members of a set that are not understood are ignored), RFC 8725 §3.10.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import structlog

from gateway.identity.keys import HostKey, usable_keys
from shared.call_limits import JWKS_ASK_AGAIN_S, JWKS_REFRESH_S, JWKS_STALE_MAX_S
from shared.errors import AccessPolicyUnavailable
from shared.keys import PublicKey

Fetch = Callable[[], Awaitable[bytes]]
"""The published JWK set. Raises `OSError` when it cannot be had in time."""

_RETRY_AFTER_S: Final = 5

_log = structlog.get_logger(__name__)


class HostKeys(Protocol):
    """Where session tokens' keys come from."""

    def known(self) -> tuple[HostKey, ...]:
        """The keys that count now."""
        ...

    async def look_for(self, kid: str) -> None:
        """Make sure that the key is known if there is one. Raises `AccessPolicyUnavailable` when nobody can tell."""
        ...


class FixedKeys:
    """Keys of the settings.

    Args:
        keys: at least one.
    """

    def __init__(self, keys: tuple[HostKey, ...]) -> None:
        self._keys = keys

    def known(self) -> tuple[HostKey, ...]:
        """The keys that count now."""
        return self._keys

    async def look_for(self, kid: str) -> None:
        """Nothing to look for: these are all."""


class PublishedKeys:
    """Keys that are fetched.

    Args:
        fetch: gets them.
        own: the gateway's keys, which must never count as the host application's.
        clock: monotonic seconds.
    """

    def __init__(self, fetch: Fetch, own: Sequence[PublicKey], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._own = own
        self._clock = clock
        self._keys: tuple[HostKey, ...] = ()
        self._fetched_s: float | None = None
        self._asked_s: float | None = None
        self._asking = asyncio.Lock()

    def known(self) -> tuple[HostKey, ...]:
        """The keys that count now; none when the last good ones are too old."""
        if self._fetched_s is None or self._clock() - self._fetched_s > JWKS_STALE_MAX_S:
            return ()
        return self._keys

    async def look_for(self, kid: str) -> None:
        """Fetch the keys anew when none, or not this one, is known and nobody asked a moment ago.

        Raises:
            AccessPolicyUnavailable: no key is known at all.
        """
        if not self._has(kid) and self._may_ask():
            async with self._asking:
                if not self._has(kid) and self._may_ask():
                    await self.refresh()
        if not self.known():
            raise AccessPolicyUnavailable(
                "the keys of the host application cannot be fetched", retry_after_s=_RETRY_AFTER_S
            )

    async def refresh(self) -> None:
        """Fetch the keys now; keeps those that are known when that fails or what comes is not usable."""
        self._asked_s = self._clock()
        try:
            keys, refused = usable_keys((await self._fetch()).decode())
        except (OSError, ValueError) as error:
            _log.error("host_keys_not_fetched", error=str(error), known=len(self.known()))
            return
        ours = [key for key in keys if any(key.kid == own.key_id or key.is_same(own) for own in self._own)]
        if ours:
            _log.error("host_keys_hold_our_own", kid=ours[0].kid)
        usable = tuple(key for key in keys if key not in ours)
        if not usable:
            _log.error("host_keys_not_usable", refused=refused)
            return
        if {key.kid for key in usable} != {key.kid for key in self._keys}:
            _log.info("host_keys_changed", kids=sorted(key.kid for key in usable), refused=refused)
        self._keys, self._fetched_s = usable, self._clock()

    async def refresh_for_ever(self) -> None:
        """Look again every few minutes, sooner after a failure."""
        while True:
            async with self._asking:
                await self.refresh()
            failed = self._fetched_s is None or self._fetched_s < (self._asked_s or 0)
            await asyncio.sleep(JWKS_ASK_AGAIN_S if failed else JWKS_REFRESH_S)

    def _has(self, kid: str) -> bool:
        known = self.known()
        return bool(known) and (not kid or any(key.kid in ("", kid) for key in known))

    def _may_ask(self) -> bool:
        return self._asked_s is None or self._clock() - self._asked_s >= JWKS_ASK_AGAIN_S


@asynccontextmanager
async def open_published_keys(fetch: Fetch, own: Sequence[PublicKey]) -> AsyncIterator[PublishedKeys]:
    """Fetched keys, kept fresh as long as the block lasts. They need not be there yet."""
    keys = PublishedKeys(fetch, own)
    refreshing = asyncio.create_task(keys.refresh_for_ever(), name="host keys")
    try:
        yield keys
    finally:
        refreshing.cancel()
        await asyncio.gather(refreshing, return_exceptions=True)

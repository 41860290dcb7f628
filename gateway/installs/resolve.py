"""Which install `/api/ext/{reference}` means, for one tenant: cached for seconds, asked once, dropped when it changes.

A reference is an install id, a registry id, `publisher.name` or a bare name (both readings are tried). What another
tenant has installed is exactly as absent as what nobody has. One look-up runs for any number of callers; it belongs
to the resolver, so that a caller that goes away takes nothing from the others. A change that is announced while a
look-up runs makes its answer good for those who wait, but not for the cache.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import structlog

from gateway.installs.resolved import ResolvedInstall, resolved
from gateway.store import notices
from gateway.store import resolve as statements
from shared import ids
from shared.errors import AccessPolicyUnavailable, AmbiguousExtension, NotInstalled
from shared.limits import (
    INSTALL_CACHE_MAX_COUNT,
    INSTALL_CACHE_S,
    INSTALL_NEGATIVE_CACHE_S,
    INSTALL_STALE_MAX_S,
)

if TYPE_CHECKING:
    from gateway.settings import GatewaySettings
    from gateway.store.pool import Database

Found = tuple[ResolvedInstall, ...]
Load = Callable[[str, str], Awaitable[Found]]
"""Tenant and reference → the installs it can mean, at most two."""

_log = structlog.get_logger(__name__)

_NAME: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_NAME_MAX_CHARS: Final = 301  # publisher 100, a dot, name 200


class _Entry:
    """What was found, and when. `fresh` ends with its time or with a gap in the announcements."""

    __slots__ = ("at_s", "found", "fresh")

    def __init__(self, found: Found, at_s: float) -> None:
        self.found = found
        self.at_s = at_s
        self.fresh = True


class InstallResolver:
    """Answers references of one process.

    Args:
        load: asks the database.
        stale_s: how old an answer may be, in seconds, when the database cannot be asked; 0: never stale.
        clock: monotonic seconds.
    """

    def __init__(self, load: Load, *, stale_s: float = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._stale_s = stale_s
        self._clock = clock
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._flights: dict[tuple[str, str], asyncio.Task[Found]] = {}
        self._tasks: set[asyncio.Task[Found]] = set()

    async def resolve(self, tenant_id: str, reference: str) -> ResolvedInstall:
        """The install of `tenant_id` that `reference` means.

        Raises:
            NotInstalled: there is none; the same words whether another tenant has it or nobody.
            AmbiguousExtension: two installs of this tenant fit.
            AccessPolicyUnavailable: the database cannot be asked, and nothing young enough is known.
        """
        if not _possible(reference):
            raise _not_installed()
        key = (tenant_id, reference)
        entry = self._entries.get(key)
        found = entry.found if entry is not None and self._is_fresh(entry) else await self._ask(key)
        if len(found) > 1:
            raise AmbiguousExtension("the name fits more than one install; use the install id or publisher.name")
        for install in found:
            return install
        raise _not_installed()

    def forget(self, tenant_id: str) -> None:
        """Drop what is known of a tenant's installs; look-ups under way are not kept either."""
        for key in [key for key in self._entries if key[0] == tenant_id]:
            del self._entries[key]
        for key in [key for key in self._flights if key[0] == tenant_id]:
            del self._flights[key]

    def doubt_all(self) -> None:
        """Nothing cached may be served any more, except as stale while the database cannot be asked."""
        for entry in self._entries.values():
            entry.fresh = False
        self._flights.clear()

    async def follow(self, changes: AsyncIterator[notices.InstallChanged | notices.MayHaveMissed]) -> None:
        """Act on announcements, for ever."""
        async for change in changes:
            if isinstance(change, notices.InstallChanged):
                self.forget(change.tenant_id)
            else:
                self.doubt_all()

    async def close(self) -> None:
        """End the look-ups that are still under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _landed(self, flight: asyncio.Task[Found]) -> None:
        # The callers may all have gone; what the task raised is then nobody's, and not a warning either.
        self._tasks.discard(flight)
        if not flight.cancelled():
            flight.exception()

    def _is_fresh(self, entry: _Entry) -> bool:
        lifetime_s = INSTALL_CACHE_S if entry.found else INSTALL_NEGATIVE_CACHE_S
        return entry.fresh and self._clock() - entry.at_s < lifetime_s

    async def _ask(self, key: tuple[str, str]) -> Found:
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._fly(key), name="install look-up")
            self._flights[key] = flight
            self._tasks.add(flight)
            flight.add_done_callback(self._landed)
        try:
            return await asyncio.shield(flight)
        except AccessPolicyUnavailable:
            entry = self._entries.get(key)
            if entry is None or not entry.found or self._clock() - entry.at_s > self._stale_s:
                raise
            return entry.found

    async def _fly(self, key: tuple[str, str]) -> Found:
        began_s = self._clock()
        me = asyncio.current_task()
        try:
            found = await self._load(*key)
            if self._flights.get(key) is me:
                self._keep(key, _Entry(found, began_s))
            return found
        finally:
            if self._flights.get(key) is me:
                del self._flights[key]

    def _keep(self, key: tuple[str, str], entry: _Entry) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > INSTALL_CACHE_MAX_COUNT:
            self._entries.popitem(last=False)


@asynccontextmanager
async def open_resolver(store: Database, settings: GatewaySettings) -> AsyncIterator[InstallResolver]:
    """The resolver of one process, and beside it the listener that keeps its cache honest."""
    stale_s = INSTALL_STALE_MAX_S if settings.audit_mode == "best-effort" else 0
    resolver = InstallResolver(loader(store, debug=settings.debug_enabled), stale_s=stale_s)
    changes = notices.changes(settings.database_direct_url)
    listener = asyncio.create_task(resolver.follow(changes), name="install listener")
    listener.add_done_callback(_ended)
    try:
        yield resolver
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        await resolver.close()


def loader(store: Database, *, debug: bool = False) -> Load:
    """Asks the database, in the tenant's own transaction.

    Args:
        debug: whether every install is debugged, whatever its own switch says.
    """

    async def load(tenant_id: str, reference: str) -> Found:
        async with store.tenant(tenant_id) as tx:
            find = statements.by_id if ids.is_uuid(reference) else statements.by_name
            rows = await find(tx, tenant_id, reference)
        return tuple(resolved(tenant_id, row, debug=debug) for row in rows)

    return load


def _ended(listener: asyncio.Task[None]) -> None:
    # Entries still end with their time; but changes then act within seconds instead of at once, which must be seen.
    if not listener.cancelled() and (error := listener.exception()) is not None:
        _log.error("install_listener_ended", error=repr(error))


def _possible(reference: str) -> bool:
    return ids.is_uuid(reference) or (len(reference) <= _NAME_MAX_CHARS and bool(_NAME.fullmatch(reference)))


def _not_installed() -> NotInstalled:
    return NotInstalled("no such extension is installed for this tenant")

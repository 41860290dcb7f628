"""Which install `/api/ext/{reference}` means, for one tenant: cached for seconds, asked once, dropped when it changes.

A reference is an install id, a registry id, `publisher.name` or a bare name (both readings are tried). What another
tenant has installed is exactly as absent as what nobody has.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from gateway.installs.resolved import ResolvedInstall, resolved
from gateway.remembered import Remembered
from gateway.store import resolve as statements
from shared import ids
from shared.errors import AmbiguousExtension, NotInstalled
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

_NAME: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_NAME_MAX_CHARS: Final = 301  # publisher 100, a dot, name 200


class InstallResolver:
    """Answers references of one process.

    Args:
        load: asks the database.
        stale_s: how old an answer may be, in seconds, when the database cannot be asked; 0: never stale.
        clock: monotonic seconds.
    """

    def __init__(self, load: Load, *, stale_s: float = 0, clock: Callable[[], float] = time.monotonic) -> None:
        async def found(key: tuple[str, str]) -> Found:
            return await load(*key)

        self._remembered = Remembered(
            found,
            lifetime_s=INSTALL_CACHE_S,
            negative_s=INSTALL_NEGATIVE_CACHE_S,
            max_count=INSTALL_CACHE_MAX_COUNT,
            stale_s=stale_s,
            clock=clock,
        )

    async def resolve(self, tenant_id: str, reference: str) -> ResolvedInstall:
        """The install of `tenant_id` that `reference` means.

        Raises:
            NotInstalled: there is none; the same words whether another tenant has it or nobody.
            AmbiguousExtension: two installs of this tenant fit.
            AccessPolicyUnavailable: the database cannot be asked, and nothing young enough is known.
        """
        if not _possible(reference):
            raise _not_installed()
        found = await self._remembered.get((tenant_id, reference))
        if len(found) > 1:
            raise AmbiguousExtension("the name fits more than one install; use the install id or publisher.name")
        for install in found:
            return install
        raise _not_installed()

    def forget(self, tenant_id: str) -> None:
        """Drop what is known of a tenant's installs; look-ups under way are not kept either."""
        self._remembered.forget(lambda key: key[0] == tenant_id)

    def doubt_all(self) -> None:
        """Nothing cached may be served any more, except as stale while the database cannot be asked."""
        self._remembered.doubt_all()

    async def close(self) -> None:
        """End the look-ups that are still under way."""
        await self._remembered.close()


@asynccontextmanager
async def open_resolver(store: Database, settings: GatewaySettings) -> AsyncIterator[InstallResolver]:
    """The resolver of one process; `gateway.hearing` keeps what it remembers honest."""
    stale_s = INSTALL_STALE_MAX_S if settings.audit_mode == "best-effort" else 0
    resolver = InstallResolver(loader(store, debug=settings.debug_enabled), stale_s=stale_s)
    try:
        yield resolver
    finally:
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


def _possible(reference: str) -> bool:
    return ids.is_uuid(reference) or (len(reference) <= _NAME_MAX_CHARS and bool(_NAME.fullmatch(reference)))


def _not_installed() -> NotInstalled:
    return NotInstalled("no such extension is installed for this tenant")

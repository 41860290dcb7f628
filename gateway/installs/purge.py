"""The end of an install: everything it kept is removed, at once when asked for, or when its time is over.

Records go in batches, each a short transaction; the rest and the install itself in a last one. A gateway that dies in
between leaves an install that nobody can bring back and that upkeep finishes, wherever it stopped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from gateway.store import audit_log, purging
from gateway.store.audit_log import Change
from gateway.store.platform import purges
from gateway.store.pool import Database
from shared.errors import Conflict, PlatformError
from shared.limits import INSTALL_PURGES_MAX_COUNT, STORAGE_SWEEP_MAX_COUNT

_log = structlog.get_logger(__name__)

_TRIES: Final = 3  # a writer that is late is so once: no other may begin


async def purge(store: Database, did: Change) -> bool:
    """Remove an install that is uninstalled and past its time; whether there was one.

    Args:
        did: the row of the audit log, which names tenant and install.

    Raises:
        Conflict: somebody wrote for it all the while.
    """
    for _ in range(_TRIES):
        with contextlib.suppress(purging.Refused):
            return await _purge(store, did)
    raise Conflict("something was still being written for this install; upkeep will remove it, or ask again")


async def _purge(store: Database, did: Change) -> bool:
    tenant_id, install_id = did.tenant_id, did.subject_id
    some = 1
    while some:
        async with store.tenant(tenant_id) as tx:
            if not await purging.hold(tx, install_id):
                return False
            some = await purging.remove_some(tx, install_id, STORAGE_SWEEP_MAX_COUNT)
    async with store.tenant(tenant_id) as tx:
        if not await purging.hold(tx, install_id):
            return False
        await purging.remove_all(tx, install_id)
        await audit_log.record(tx, did)
    return True


def purge_expired(store: Database) -> Callable[[], Awaitable[None]]:
    """What upkeep does: purge every install whose time is over, whoever's it is."""

    async def purge_installs() -> None:
        after, purged = None, 0
        while found := await _over(store, after):
            for one in found:
                purged += await _one(store, one)
            after = found[-1].install_id
        if purged:
            _log.info("installs_purged", count=purged)

    return purge_installs


async def _over(store: Database, after: str | None) -> list[purges.Over]:
    async with store.platform() as tx:
        return await purges.over(tx, after, INSTALL_PURGES_MAX_COUNT)


async def _one(store: Database, one: purges.Over) -> bool:
    """One that fails must not keep the others: it is logged, and tried again at the next turn."""
    try:
        return await purge(store, expired(one.tenant_id, one.install_id))
    except PlatformError as error:
        _log.warning("install_purge_failed", tenant_id=one.tenant_id, install_id=one.install_id, code=error.code)
        return False


def expired(tenant_id: str, install_id: str) -> Change:
    """The row of the audit log for an install whose time was over."""
    return Change(
        tenant_id=tenant_id,
        actor="platform",
        actor_kind="platform",
        action="install.purged",
        subject_kind="install",
        subject_id=install_id,
        detail={"expired": True},
    )

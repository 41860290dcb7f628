"""The switch of one install: whether its calls are recorded for the debug stream, where the platform does not say so
for all of them.
"""

from __future__ import annotations

import msgspec

from gateway.identity.actor import Actor
from gateway.store import audit_log, installs, notices
from gateway.store.installs import Install
from gateway.store.pool import Database, Tx
from shared.errors import NotInstalled


class Switch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`GET|PUT /api/installs/{id}/debug`."""

    enabled: bool


async def read(store: Database, actor: Actor, install_id: str) -> Switch:
    """How it stands. Raises `NotInstalled`."""
    async with store.tenant(actor.tenant_id) as tx:
        install = await _present(tx, install_id, lock=False)
        return Switch(enabled=await installs.debug_enabled(tx, install.id))


async def turn(store: Database, actor: Actor, install_id: str, wanted: Switch) -> Switch:
    """Turn it; every gateway acts on it at once. Raises `NotInstalled`."""
    async with store.tenant(actor.tenant_id) as tx:
        install = await _present(tx, install_id, lock=True)
        if await installs.debug_enabled(tx, install.id) != wanted.enabled:
            await installs.set_debug_enabled(tx, install.id, enabled=wanted.enabled)
            await audit_log.record(tx, actor.did("install.debug", "install", install.id, enabled=wanted.enabled))
            change = notices.InstallChanged(
                tenant_id=install.tenant_id, registry_id=install.registry_id, install_id=install.id
            )
            await notices.announce(tx, change)
    return wanted


async def _present(tx: Tx, install_id: str, *, lock: bool) -> Install:
    install = await installs.by_id(tx, install_id, lock=lock)
    if install is None or install.status == "uninstalled":
        raise NotInstalled("no such extension is installed for this tenant")
    return install

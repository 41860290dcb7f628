"""What an install is granted, changed while it runs; and what happened to it so far."""

from __future__ import annotations

from gateway.identity.actor import Actor
from gateway.installs.changes import announce, changing, found, present
from gateway.installs.grants import GrantRequest, decide
from gateway.installs.views import manifest_of
from gateway.store import audit_log, install_history, installs, upgrades
from gateway.store.install_history import Entry
from gateway.store.installs import Install
from gateway.store.pool import Database


class Granting:
    """The grants and the history of every tenant's installs, one tenant at a time.

    Args:
        store: where they are.
    """

    def __init__(self, store: Database) -> None:
        self._store = store

    async def put(self, actor: Actor, install_id: str, request: GrantRequest) -> Install:
        """Replace the grants, within what the installed version asks for. Running calls end with their host tokens.

        Raises:
            NotInstalled: there is no such install.
            InvalidRequest: something is granted or withheld that is not there to be; says what is.
        """
        async with changing(self._store, actor, install_id) as (tx, install):
            manifest = manifest_of(install.manifest)
            granted = decide(manifest, request)
            await installs.put_grants(tx, install.id, granted)
            asks = [ask.name for ask in manifest.permissions.secrets]
            await upgrades.bind_secrets(tx, install.id, asked=asks, free=[])
            changed = await found(tx, install.id)
            await install_history.add(tx, install=changed, action="grants", actor=actor.name)
            change = actor.did(
                "install.granted",
                "install",
                install.id,
                granted_caps=changed.granted_caps,
                granted_egress=changed.granted_egress,
                granted_secrets=changed.granted_secrets,
            )
            await audit_log.record(tx, change)
            await announce(tx, changed)
            return changed

    async def history(self, actor: Actor, install_id: str, before: int | None, limit: int) -> list[Entry]:
        """What happened to an install, newest first, strictly before the entry `before`. Raises `NotInstalled`."""
        async with self._store.tenant(actor.tenant_id) as tx:
            present(await installs.by_id(tx, install_id))
            return await install_history.page(tx, install_id, before, limit)

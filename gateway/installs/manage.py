"""Installing, enabling, disabling, uninstalling, purging, configuring: one transaction each.

In that transaction: the row and its generation, the history, the audit row, the notice to other gateways, and last
the state feed, from which runners learn. When nobody uses a bundle any more its UI is retired, which is a question
about all tenants and therefore asked after the commit, by the platform's login.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import msgspec

from gateway.identity.actor import Actor
from gateway.installs.changes import (
    announce,
    changing,
    found,
    installable,
    not_installed,
    present,
    retire_ui,
    ui_subject,
)
from gateway.installs.config import Values, checked
from gateway.installs.export import Exports
from gateway.installs.granting import Granting
from gateway.installs.grants import GrantRequest, decide
from gateway.installs.purge import expired, purge
from gateway.installs.upgrade import Upgrades
from gateway.installs.views import manifest_of
from gateway.registry.signatures import Signatures
from gateway.store import audit_log, events, feed, install_history, installs, purging, registry, schedules, upgrades
from gateway.store.installs import Config, Install, Status
from gateway.store.pool import Database, Tx
from gateway.store.registry import Version
from shared import ids
from shared.errors import AmbiguousExtension, Conflict, NotFound
from shared.limits import UNINSTALLED_KEPT_DAYS


class InstallRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /api/installs`.

    Attributes:
        extension: registry id, `publisher.name` or bare name.
        version: the newest that can be installed, when left out.
        grants: nothing beyond the shown defaults, when left out.
        config: settings, checked against the manifest's schema.
    """

    extension: str
    version: str | None = None
    grants: GrantRequest = GrantRequest()
    config: Values = {}


class ConfigRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`PUT /api/installs/{id}/config`: replaces all settings."""

    config: Values


class Installs:
    """The installs of every tenant, one tenant at a time.

    Args:
        store: where they are.
        signatures: what counts as vouched for; asked again at every install.

    Attributes:
        upgrades: which version an install has.
        granting: what it may do, and what happened to it.
        exports: everything it keeps, written out.
    """

    def __init__(self, store: Database, signatures: Signatures) -> None:
        self._store = store
        self._signatures = signatures
        self.upgrades = Upgrades(store, signatures)
        self.granting = Granting(store)
        self.exports = Exports(store)

    async def install(self, actor: Actor, request: InstallRequest) -> Install:
        """Install an extension, or bring back what was uninstalled: its id and data live on.

        Raises:
            NotFound, AmbiguousExtension: what is to be installed is not clear.
            Conflict: the version cannot be installed, or the extension is installed already.
            Revoked, SignatureRefused: nobody vouches for it any more.
            InvalidRequest: grants or settings are not valid; says what would be.
        """
        version = await self._version(actor, request)
        digest = ids.ContentHash(version.content_hash)
        await self._signatures.verify(version.signature, digest)
        assert version.manifest is not None  # the database holds a ready version to it
        manifest = manifest_of(version.manifest)
        granted = decide(manifest, request.grants)
        config = checked(manifest, request.config)
        await self._finish_purge(actor, version.registry_id)
        async with self._store.tenant(actor.tenant_id) as tx:
            install_id = await installs.put(
                tx,
                new_id=str(uuid.uuid4()),
                tenant_id=actor.tenant_id,
                registry_id=version.registry_id,
                version_id=version.id,
                granted=granted,
                actor=actor.name,
            )
            if install_id is None:
                raise await _installed_already(tx, version)
            install = await found(tx, install_id)
            await installs.put_config(tx, install=install, config=msgspec.json.encode(config), actor=actor.name)
            asks = [ask.name for ask in manifest.permissions.secrets]
            await upgrades.bind_secrets(tx, install.id, asked=asks, free=[])
            await install_history.add(tx, install=install, action="install", actor=actor.name)
            change = actor.did(
                "install.created",
                "install",
                install.id,
                version_id=version.id,
                granted_caps=install.granted_caps,
                granted_egress=install.granted_egress,
                granted_secrets=install.granted_secrets,
            )
            await audit_log.record(tx, change)
            await announce(tx, install)
            await feed.append(tx, "enabled_install", install.id)
            await feed.append(tx, "ui_live", ui_subject(install))
            return await found(tx, install_id)

    async def set_enabled(self, actor: Actor, install_id: str, *, enabled: bool) -> Install:
        """Enable or disable; nothing changes when it is so already. Raises `NotInstalled`."""
        wanted: Status = "enabled" if enabled else "disabled"
        async with changing(self._store, actor, install_id) as (tx, install):
            if install.status == wanted:
                return install
            await installs.set_status(tx, install.id, wanted)
            await schedules.rest(tx, install.id)
            await audit_log.record(tx, actor.did(f"install.{wanted}", "install", install.id))
            await announce(tx, install)
            changed = await found(tx, install.id)
            await feed.append(tx, "enabled_install" if enabled else "disabled_install", install.id)
            if enabled:
                await feed.append(tx, "ui_live", ui_subject(install))
        if not enabled:
            await retire_ui(self._store, install)
        return changed

    async def uninstall(self, actor: Actor, install_id: str) -> Install:
        """Uninstall; data are kept for `UNINSTALLED_KEPT_DAYS`, so that a mistake can be undone by installing again.

        Raises:
            NotInstalled: there is none, or it is uninstalled already.
        """
        async with changing(self._store, actor, install_id) as (tx, install):
            changed = await _uninstall(tx, actor, install)
        await retire_ui(self._store, install)
        return changed

    async def purge(self, actor: Actor, install_id: str) -> Install:
        """Uninstall, unless that was done before, and remove everything the install kept, at once and for good.

        Raises:
            NotInstalled: there is none.
            Conflict: it is uninstalled, and something was still being written; upkeep removes it.
        """
        async with self._store.tenant(actor.tenant_id) as tx:
            install = await installs.by_id(tx, install_id, lock=True)
            if install is None:
                raise not_installed()
            await audit_log.record(tx, actor.did("install.purge_asked", "install", install.id))
            if install.status != "uninstalled":
                await _uninstall(tx, actor, install)
            await purging.give_up(tx, install.id)
            changed = await found(tx, install.id)
        if install.status != "uninstalled":
            await retire_ui(self._store, install)
        await purge(self._store, actor.did("install.purged", "install", install.id))
        return changed

    async def get(self, actor: Actor, install_id: str) -> Install:
        """One install of the tenant. Raises `NotInstalled`."""
        async with self._store.tenant(actor.tenant_id) as tx:
            install = await installs.by_id(tx, install_id)
        return present(install)

    async def page(self, actor: Actor, after: str | None, limit: int) -> list[Install]:
        """The tenant's installs in the order of their ids, strictly after `after`."""
        async with self._store.tenant(actor.tenant_id) as tx:
            return await installs.page(tx, after, limit)

    async def config(self, actor: Actor, install_id: str) -> Config:
        """The settings of an install. Raises `NotInstalled`."""
        async with self._store.tenant(actor.tenant_id) as tx:
            present(await installs.by_id(tx, install_id))
            return await installs.config(tx, install_id) or Config(config=b"{}", version=0)

    async def put_config(self, actor: Actor, install_id: str, request: ConfigRequest) -> Config:
        """Replace the settings of an install.

        Raises:
            NotInstalled: there is no such install.
            InvalidRequest: the manifest's schema does not allow them.
        """
        async with changing(self._store, actor, install_id) as (tx, install):
            values = msgspec.json.encode(checked(manifest_of(install.manifest), request.config))
            version = await installs.put_config(tx, install=install, config=values, actor=actor.name)
            change = actor.did(
                "install.configured", "install", install.id, keys=sorted(request.config), version=version
            )
            await audit_log.record(tx, change)
            await announce(tx, install)
        return Config(config=values, version=version)

    async def _version(self, actor: Actor, request: InstallRequest) -> Version:
        async with self._store.tenant(actor.tenant_id) as tx:
            registry_id = await _extension(tx, request.extension)
            return await installable(tx, registry_id, request.version)

    async def _finish_purge(self, actor: Actor, registry_id: str) -> None:
        """An install that nobody can bring back any more makes room for a new one."""
        async with self._store.tenant(actor.tenant_id) as tx:
            install = await installs.by_extension(tx, registry_id)
            over = install is not None and await purging.hold(tx, install.id)
        if install is not None and over:
            await purge(self._store, expired(actor.tenant_id, install.id))


async def _uninstall(tx: Tx, actor: Actor, install: Install) -> Install:
    purge_after = datetime.now(UTC) + timedelta(days=UNINSTALLED_KEPT_DAYS)
    await installs.set_status(tx, install.id, "uninstalled", purge_after)
    await schedules.rest(tx, install.id)
    await events.forget_install(tx, install.id)
    await upgrades.forget(tx, install.id)
    await install_history.add(tx, install=install, action="uninstall", actor=actor.name)
    await audit_log.record(tx, actor.did("install.uninstalled", "install", install.id))
    await announce(tx, install)
    changed = await found(tx, install.id)
    await feed.append(tx, "disabled_install", install.id)
    return changed


async def _extension(tx: Tx, reference: str) -> str:
    if ids.is_uuid(reference):
        return reference
    found = await registry.extensions_named(tx, reference)
    if len(found) > 1:
        raise AmbiguousExtension("several extensions have this name; use publisher.name or the id")
    if not found:
        raise NotFound("no such extension; `GET /api/registry/extensions` lists what can be installed")
    return found[0]


async def _installed_already(tx: Tx, version: Version) -> Conflict:
    there = await installs.by_extension(tx, version.registry_id)
    assert there is not None
    return Conflict(
        f"{version.publisher}.{version.name} is installed already, version {there.version}",
        install_id=there.id,
        version=there.version,
    )

"""Another version for an install: upgrade, consent, decline, rollback. One transaction each.

A version that asks for more than was granted waits for consent while the old one serves; every other one is installed
at once. A call finishes on the version it began with, since it carries all of it along; its host token ends only when
somebody lost a right. What is replaced is remembered whole, so that going back is one step. Decision 0022.
"""

from __future__ import annotations

import msgspec

from gateway.identity.actor import Actor
from gateway.installs.changes import announce, changing, found, installable, present, retire_ui, ui_subject, usable
from gateway.installs.config import Values, checked
from gateway.installs.grants import GrantRequest, decide
from gateway.installs.views import granted_of, manifest_of, pending_of
from gateway.registry.signatures import Signatures
from gateway.store import audit_log, feed, install_history, installs, registry, upgrades
from gateway.store.install_history import Replaced
from gateway.store.installs import Granted, Install
from gateway.store.pool import Database, Tx
from gateway.store.registry import Version
from shared import ids
from shared.capabilities import DEFAULTS
from shared.errors import Conflict, InvalidRequest, NotFound, Revoked
from shared.manifest import Manifest
from shared.permission_diff import Held, PermissionDiff, needs_consent, permission_diff


class UpgradeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /api/installs/{id}/upgrade`.

    Attributes:
        version: the newest that can be installed, when left out.
        grants: the consent; left out, what is granted already stays so, as far as it is asked for.
        config: settings that come with the version; left out, those the install has.
    """

    version: str | None = None
    grants: GrantRequest | None = None
    config: Values | None = None


class ConsentRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /api/installs/{id}/consent`.

    Attributes:
        grants: what of that which the waiting version asks for is granted.
        version: the version the administrator was shown; another one that waits by now is refused.
    """

    grants: GrantRequest
    version: str | None = None


class RollbackRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /api/installs/{id}/rollback`; `version` is the one that ran before, when left out."""

    version: str | None = None


class _Change(msgspec.Struct, frozen=True, kw_only=True):
    """A version to be installed, with everything that comes with it."""

    action: install_history.Action
    version: Version
    granted: Granted
    config: Values
    free_secrets: list[str] = []


class Upgrades:
    """Changes of version, of every tenant's installs, one tenant at a time.

    Args:
        store: where they are.
        signatures: what counts as vouched for; asked again before a version is installed.
    """

    def __init__(self, store: Database, signatures: Signatures) -> None:
        self._store = store
        self._signatures = signatures

    async def diff(self, actor: Actor, install_id: str, version: str | None) -> PermissionDiff:
        """What changes from the installed version to another one. Raises as `upgrade`."""
        async with self._store.tenant(actor.tenant_id) as tx:
            install = present(await installs.by_id(tx, install_id))
            target = await installable(tx, install.registry_id, version)
        return permission_diff(manifest_of(install.manifest), _manifest(target))

    async def upgrade(self, actor: Actor, install_id: str, request: UpgradeRequest) -> Install:
        """Install another version, or have it wait for consent: then the install that is answered still has the old one.

        Raises:
            NotInstalled, NotFound: there is no such install or version.
            Conflict: the version is installed already, or not ready.
            Revoked, SignatureRefused: nobody vouches for it any more.
            InvalidRequest: grants it does not ask for, or settings its schema does not allow; says which.
        """
        async with self._store.tenant(actor.tenant_id) as tx:
            install = present(await installs.by_id(tx, install_id))
            version = await installable(tx, install.registry_id, request.version)
        _other(install, version)
        await self._vouched(version)
        async with changing(self._store, actor, install_id) as (tx, install):
            version = await _still(tx, version)
            _other(install, version)
            target = _manifest(version)
            granted = decide(target, request.grants) if request.grants else _carried(target, granted_of(install))
            config = await _config(tx, install, version, request.config)
            if request.grants is None and _must_ask(install, target):
                return await _ask(tx, actor, install, version, request.config)
            change = _Change(action="upgrade", version=version, granted=granted, config=config)
            changed = await _apply(tx, actor, install, change)
        await self._retire(install)
        return changed

    async def consent(self, actor: Actor, install_id: str, request: ConsentRequest) -> Install:
        """Install the version that waits, with these grants.

        Raises:
            NotInstalled: there is no such install.
            Conflict: no version waits, it is another one than was shown, or it was revoked.
            SignatureRefused, InvalidRequest: as `upgrade`.
        """
        async with self._store.tenant(actor.tenant_id) as tx:
            version = await _waiting(tx, present(await installs.by_id(tx, install_id)), request.version)
        await self._vouched(version)
        async with changing(self._store, actor, install_id) as (tx, install):
            now = await _waiting(tx, install, request.version)
            if now.id != version.id:
                raise Conflict("another version waits by now; read what it asks for and decide again")
            pending = pending_of(install)
            assert pending is not None
            given = msgspec.json.decode(pending.config, type=Values | None)
            change = _Change(
                action="upgrade",
                version=now,
                granted=decide(_manifest(now), request.grants),
                config=await _config(tx, install, now, given),
            )
            changed = await _apply(tx, actor, install, change)
        await self._retire(install)
        return changed

    async def decline(self, actor: Actor, install_id: str) -> Install:
        """Forget the version that waits. Raises `NotInstalled`, or `Conflict` when none does."""
        async with changing(self._store, actor, install_id) as (tx, install):
            pending = pending_of(install)
            if not await upgrades.forget(tx, install.id):
                raise Conflict("no version of this extension waits for consent")
            if pending is not None:
                await install_history.add(
                    tx, install=install, action="consent_declined", actor=actor.name, version_id=pending.version_id
                )
            shown = None if pending is None else pending.version
            await audit_log.record(tx, actor.did("install.upgrade_declined", "install", install.id, version=shown))
            return await found(tx, install.id)

    async def rollback(self, actor: Actor, install_id: str, request: RollbackRequest) -> Install:
        """Go back to a version that ran here, with the grants it had then.

        The settings stay as they are where that version allows them; else they are those it had then.

        Raises:
            NotInstalled: there is no such install.
            NotFound: no such version ran here since the extension was installed.
            Conflict: none ran before, or it is installed.
            Revoked, SignatureRefused: nobody vouches for it any more.
            InvalidRequest: it allows neither today's settings nor is known which it had.
        """
        async with self._store.tenant(actor.tenant_id) as tx:
            install = present(await installs.by_id(tx, install_id))
            version, _ = await _former(tx, install, request.version)
        await self._vouched(version)
        async with changing(self._store, actor, install_id) as (tx, install):
            now, then = await _former(tx, install, request.version)
            if now.id != version.id:  # it would not have been vouched for
                raise Conflict("the install was changed in the meantime; read its history and decide again")
            change = _Change(
                action="rollback",
                version=now,
                granted=then.granted,
                config=await _config_then(tx, install, now, then),
                free_secrets=list(then.free_secrets),
            )
            changed = await _apply(tx, actor, install, change)
        await self._retire(install)
        return changed

    async def _vouched(self, version: Version) -> None:
        await self._signatures.verify(version.signature, ids.ContentHash(version.content_hash))

    async def _retire(self, before: Install) -> None:
        if before.status == "enabled":
            await retire_ui(self._store, before)


# ---- which version ------------------------------------------------------------------------------------------


def _manifest(version: Version) -> Manifest:
    assert version.manifest is not None  # the database holds a ready version to it
    return manifest_of(version.manifest)


def _other(install: Install, version: Version) -> None:
    if version.id == install.version_id:
        raise Conflict(f"version {version.version} is installed already", version=version.version)


async def _still(tx: Tx, version: Version) -> Version:
    """The version as it is now, in the transaction that installs it."""
    now = await registry.version_by_id(tx, version.id)
    if now is None:
        raise NotFound("this version cannot be installed any more")
    return usable(now)


async def _waiting(tx: Tx, install: Install, shown: str | None) -> Version:
    pending = pending_of(install)
    version = None if pending is None else await registry.version_by_id(tx, pending.version_id)
    if version is None or version.state != "ready" or version.revoked_at is not None:
        raise Conflict("no version of this extension waits for consent, or it was revoked")
    if shown not in (None, version.version):
        raise Conflict(f"version {version.version} waits by now; read what it asks for and decide again")
    return version


async def _former(tx: Tx, install: Install, name: str | None) -> tuple[Version, Replaced]:
    """The version to go back to, and what the install was with it."""
    if name is None:
        version_id = await install_history.before(tx, install.id, install.version_id)
        if version_id is None:
            raise Conflict("no other version ran here before; `GET …/history` tells what did")
        version = await registry.version_by_id(tx, version_id)
    else:
        version = await registry.version_by_name(tx, install.registry_id, name)
    then = None if version is None else await install_history.left(tx, install.id, version.id)
    if version is None or then is None:
        raise NotFound("no such version ran here; `GET …/history` tells which did, an upgrade installs others")
    _other(install, version)
    if version.revoked_at is not None:
        raise Revoked(f"version {version.version} was revoked; name an earlier one, or upgrade")
    return usable(version), then


# ---- grants and settings ------------------------------------------------------------------------------------


def _carried(target: Manifest, granted: Granted) -> Granted:
    """What stays granted: all that the target asks for still, and the defaults that were not withheld."""
    hosts = {ask.host for ask in target.egress_entries()}
    secrets = {ask.name for ask in target.permissions.secrets}
    wanted = {*target.wanted_capabilities(), *DEFAULTS}
    return Granted(
        capabilities=sorted(wanted.intersection(granted.capabilities)),
        egress=sorted(hosts.intersection(granted.egress)),
        secrets=sorted(secrets.intersection(granted.secrets)),
    )


def _must_ask(install: Install, target: Manifest) -> bool:
    held = Held(capabilities=install.granted_caps, egress=install.granted_egress, secrets=install.granted_secrets)
    return needs_consent(permission_diff(manifest_of(install.manifest), target), held)


def _loses(before: Granted, after: Granted) -> bool:
    return bool(
        {*before.capabilities} - {*after.capabilities}
        or {*before.egress} - {*after.egress}
        or {*before.secrets} - {*after.secrets}
    )


async def _present_config(tx: Tx, install: Install) -> Values:
    stored = await installs.config(tx, install.id)
    return {} if stored is None else msgspec.json.decode(stored.config, type=Values)


async def _config(tx: Tx, install: Install, version: Version, given: Values | None) -> Values:
    """The complete settings under a version: those given with it, or those the install has."""
    if given is not None:
        return checked(_manifest(version), given)
    try:
        return checked(_manifest(version), await _present_config(tx, install))
    except InvalidRequest as error:
        raise InvalidRequest(
            f"version {version.version} does not allow the settings of this install: {error.detail}; "
            "send settings it allows as `config`",
            **error.extra,
        ) from error


async def _config_then(tx: Tx, install: Install, version: Version, then: Replaced) -> Values:
    try:
        return await _config(tx, install, version, None)
    except InvalidRequest:
        return checked(_manifest(version), msgspec.json.decode(then.config, type=Values))


# ---- changing -----------------------------------------------------------------------------------------------


async def _ask(tx: Tx, actor: Actor, install: Install, version: Version, config: Values | None) -> Install:
    """Have the version wait for consent."""
    text = None if config is None else msgspec.json.encode(config)
    await upgrades.ask(tx, install=install, version_id=version.id, config=text, actor=actor.name)
    await install_history.add(tx, install=install, action="consent_asked", actor=actor.name, version_id=version.id)
    await audit_log.record(
        tx,
        actor.did("install.upgrade_requested", "install", install.id, version_id=version.id, version=version.version),
    )
    return await found(tx, install.id)


async def _apply(tx: Tx, actor: Actor, install: Install, change: _Change) -> Install:
    """Install a version in place of the one that is there."""
    before = granted_of(install)
    present_config = await _present_config(tx, install)
    replaced = Replaced(
        version_id=install.version_id,
        capabilities=before.capabilities,
        egress=before.egress,
        secrets=before.secrets,
        free_secrets=await upgrades.free_secrets(tx, install.id),
        config=msgspec.Raw(msgspec.json.encode(present_config)),
    )
    ends_calls = _loses(before, change.granted)
    await upgrades.put_version(tx, install.id, change.version.id, change.granted, ends_calls=ends_calls)
    asks = [ask.name for ask in _manifest(change.version).permissions.secrets]
    await upgrades.bind_secrets(tx, install.id, asked=asks, free=change.free_secrets)
    if change.config != present_config:
        config = msgspec.json.encode(change.config)
        await installs.write_config(tx, install=install, config=config, actor=actor.name)
    await upgrades.forget(tx, install.id)
    changed = await found(tx, install.id)
    await install_history.add(tx, install=changed, action=change.action, actor=actor.name, replaced=replaced)
    await audit_log.record(
        tx,
        actor.did(
            "install.upgraded" if change.action == "upgrade" else "install.rolled_back",
            "install",
            install.id,
            from_version_id=install.version_id,
            version_id=changed.version_id,
            version=changed.version,
            granted_caps=changed.granted_caps,
            granted_egress=changed.granted_egress,
            granted_secrets=changed.granted_secrets,
        ),
    )
    await announce(tx, changed)
    if changed.status == "enabled":
        await feed.append(tx, "ui_live", ui_subject(changed))
    return changed

"""What an install was denied, as its administrator sees it: where it wanted to go, how often, and what would allow that.

    grants      the manifest asks for it: granting the entry allows it
    manifest    the manifest does not ask for it: the author has to, in a new version
    operator    it is granted and outside of `EXT_EGRESS_ALLOWLIST`, which the operator of the platform decides
    granted     it was granted since

What no entry would allow (an address that is not public, a method, a header) says so by having none.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec

from gateway.audit.denials import Denials
from gateway.identity.actor import Actor
from gateway.installs.views import manifest_of
from gateway.store import audit_log, denied_targets, installs
from gateway.store.denied_targets import Counted
from gateway.store.installs import Install
from gateway.store.pool import Database, Tx
from shared.egress import Entry, EntryError, Reason, parse_entry
from shared.egress_url import Target, parse_url
from shared.errors import NotInstalled

Where = Literal["grants", "manifest", "operator", "granted"]


class WouldAllow(msgspec.Struct, frozen=True, kw_only=True):
    """The entry that would allow a target, and in whose list it is missing."""

    entry: str
    where: Where


class DeniedView(msgspec.Struct, frozen=True, kw_only=True):
    """One target and one reason.

    Attributes:
        target: the origin, as a browser would write it.
        verdict: `observed` when it was let pass the last time, by `EXT_EGRESS_MODE=observe`.
        would_allow: none when no entry would.
    """

    target: str
    host: str
    port: int
    reason: str
    verdict: Literal["denied", "observed"]
    count: int
    first_seen: datetime
    last_seen: datetime
    would_allow: WouldAllow | None


class DeniedTargets(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, the latest first."""

    items: list[DeniedView]


class InstallDenied:
    """Denied targets of every tenant's installs, one tenant at a time.

    Args:
        store: where they are.
        denials: what of them waits to be written.
    """

    def __init__(self, store: Database, denials: Denials) -> None:
        self._store, self._denials = store, denials

    async def listed(self, actor: Actor, install_id: str) -> DeniedTargets:
        """What this install was denied. Raises `NotInstalled`."""
        async with self._store.tenant(actor.tenant_id) as tx:
            install = await _present(tx, install_id)
            found = await denied_targets.of_install(tx, install.id)
        granted = _entries(install.granted_egress)
        wanted = _entries(ask.host for ask in manifest_of(install.manifest).egress_entries())
        return DeniedTargets(items=[_view(one, granted, wanted) for one in found])

    async def clear(self, actor: Actor, install_id: str) -> DeniedTargets:
        """Forget what this install was denied so far. Raises `NotInstalled`."""
        async with self._store.tenant(actor.tenant_id) as tx:
            install = await _present(tx, install_id)
            self._denials.forget(actor.tenant_id, install.id)
            count = await denied_targets.clear(tx, install.id)
            await audit_log.record(tx, actor.did("install.denied_cleared", "install", install.id, count=count))
        return DeniedTargets(items=[])


async def _present(tx: Tx, install_id: str) -> Install:
    install = await installs.by_id(tx, install_id)
    if install is None or install.status == "uninstalled":
        raise NotInstalled("no such extension is installed for this tenant")
    return install


def _entries(texts: Iterable[str]) -> tuple[Entry, ...]:
    """What the texts write; one that is none here (an address that is local mode's own) covers nothing."""
    found: list[Entry] = []
    for text in texts:
        try:
            found.append(parse_entry(text))
        except EntryError:
            continue
    return tuple(found)


def _view(one: Counted, granted: tuple[Entry, ...], wanted: tuple[Entry, ...]) -> DeniedView:
    target = parse_url(one.target)  # it was checked before it was written
    return DeniedView(
        target=one.target,
        host=str(target.host),
        port=target.port,
        reason=one.reason,
        verdict="observed" if one.observed else "denied",
        count=one.times,
        first_seen=one.first_at,
        last_seen=one.last_at,
        would_allow=_would_allow(one, target, granted, wanted) if one.grantable else None,
    )


def _would_allow(one: Counted, target: Target, granted: tuple[Entry, ...], wanted: tuple[Entry, ...]) -> WouldAllow:
    entry = str(Entry(target.scheme, target.host, target.port))
    where: Where = "manifest"
    if one.reason == Reason.OUTSIDE_FENCE:
        where = "operator"
    elif any(known.matches(target) for known in granted):
        where = "granted"
    else:
        asked = next((known for known in wanted if known.matches(target)), None)
        if asked is not None:
            where, entry = "grants", str(asked)  # what can be granted is what the manifest writes
    return WouldAllow(entry=entry, where=where)

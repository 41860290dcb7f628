"""The end of a version: deprecated by its author, who may take that back; revoked by author or operator, for good.

A revocation is one transaction of the platform's login: the version, the audit rows, the notice to every gateway that
may have cached an install of it, and the entries of the state feed by which runners end its calls and pages. Nothing
that is ready again ever follows it.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from gateway.identity.actor import Actor
from gateway.registry.operator import for_owner
from gateway.store import audit_log, registry
from gateway.store.platform import revocations
from gateway.store.pool import Database, Tx
from gateway.store.registry import Version
from shared.errors import Conflict, Forbidden, NotFound
from shared.registry_limits import DEPRECATION_MAX_CHARS, REASON_MAX_CHARS

Text: Final = r"^(?=[\s\S]*\S)[^\x00-\x08\x0b-\x1f\x7f]+\Z"
"""Something to read, on one line or several."""


class Deprecation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /api/registry/versions/{id}/deprecate`: what to do instead."""

    message: Annotated[str, Meta(max_length=DEPRECATION_MAX_CHARS, pattern=Text)]


class Because(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why something was revoked, suspended, approved or restored; kept for ever."""

    reason: Annotated[str, Meta(max_length=REASON_MAX_CHARS, pattern=Text)]


async def deprecate(store: Database, actor: Actor, version_id: str, message: str | None) -> Version:
    """Deprecate one's own version with a message, or with `None` take that back.

    Raises:
        NotFound: no such version, as far as this account knows.
        Forbidden: it is another account's.
    """
    async with store.tenant(actor.tenant_id) as tx:
        await _own(tx, actor, version_id)
        if await registry.deprecate(tx, version_id, message):
            action = "version.deprecated" if message is not None else "version.undeprecated"
            await audit_log.record(tx, actor.did(action, "version", version_id, message=message))
        return await _seen(tx, version_id)


async def revoke(store: Database, actor: Actor, version_id: str, reason: str, *, operator: bool) -> None:
    """Revoke a version; nothing changes when it is revoked already.

    Args:
        operator: whether the actor may revoke anybody's.

    Raises:
        NotFound: no such version, as far as this actor may know.
        Forbidden: it is another account's.
        Conflict: it is not ready, so nobody runs it.
    """
    if not operator:
        async with store.tenant(actor.tenant_id) as tx:
            await _own(tx, actor, version_id)
    async with store.platform() as tx:
        version = await revocations.find(tx, version_id)
        if version is None:
            raise NotFound("no such version")
        if version.revoked_at is not None:
            return
        if version.state != "ready":
            raise Conflict(f"the version is {version.state}; only a ready one can be revoked")
        change = actor.did(
            "version.revoked",
            "version",
            version_id,
            named=f"{version.publisher}.{version.name}@{version.version}",
            content_hash=version.content_hash,
            reason=reason,
        )
        await audit_log.record(tx, change)
        if version.owner_account != actor.tenant_id:
            await audit_log.record(tx, for_owner(change, version.owner_account))
        await revocations.revoke_version(tx, version_id, reason)  # the feed's entries come last


async def _seen(tx: Tx, version_id: str) -> Version:
    version = await registry.version_by_id(tx, version_id)
    if version is None:
        raise NotFound("no such version")
    return version


async def _own(tx: Tx, actor: Actor, version_id: str) -> Version:
    version = await _seen(tx, version_id)
    if version.owner_account != actor.tenant_id:
        raise Forbidden("only the account that owns an extension may change its versions")
    return version

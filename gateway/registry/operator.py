"""What the platform's operator does to publishers and keys: approve, suspend, restore, revoke. One transaction each.

An act is in the audit log of the operator's account with the name of who did it, and in that of the account it is
about, which learns what was done and why, and not by whom.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from gateway.identity.actor import Actor
from gateway.store import audit_log
from gateway.store.audit_log import Change
from gateway.store.platform import abuse, brakes, publishers, revocations
from gateway.store.platform.publishers import PublisherRow
from gateway.store.platform.revocations import RevokedKey
from gateway.store.pool import Database, Tx
from shared.brakes import Brake
from shared.errors import InvalidRequest, NotFound
from shared.trust import TrustBundle

OPERATOR = "operator"  # how the account something is about reads who did it
AUTOMATIC = "platform:abuse"  # who pulls a brake when nobody does

Act = Literal["approve", "suspend", "restore"]


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """One signing key: of the trust bundle in force, or revoked here, or both.

    Attributes:
        publishers: whose bundles it may sign; none: everybody's.
        revoked: nothing it signed is accepted, whenever it was signed.
    """

    key_id: str
    trusted: bool
    publishers: list[str] | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked: bool = False
    revoked_at: datetime | None = None
    reason: str = ""
    by: str = ""


async def act_on_publisher(store: Database, actor: Actor, name: str, act: Act, reason: str) -> PublisherRow:
    """Approve, suspend or restore a publisher; nothing changes when it is so already. Raises `NotFound`."""
    async with store.platform() as tx:
        row = await publishers.locked(tx, name)
        if row is None:
            raise NotFound("no such publisher; `GET /api/admin/publishers` lists all")
        if _is_so(row, act):
            return row
        change = actor.did(f"publisher.{_DONE[act]}", "publisher", name, reason=reason)
        await audit_log.record(tx, change)
        if row.owner_account != actor.tenant_id:
            await audit_log.record(tx, for_owner(change, row.owner_account))
        match act:
            case "approve":
                await publishers.approve(tx, name)
            case "suspend":
                await suspend(tx, name, reason=reason, by=actor.name)
            case "restore":
                await _restore(tx, name, by=actor.name)
        changed = await publishers.locked(tx, name)
    assert changed is not None
    return changed


async def suspend(tx: Tx, name: str, *, reason: str, by: str) -> str:
    """Suspend a publisher and stop what it published; the id of its brake. The feed's entries come last."""
    await publishers.suspend(tx, name, reason)
    row, _ = await brakes.pull(tx, Brake("publisher", name), reason=f"the publisher is suspended: {reason}", by=by)
    return row.id


async def revoke_key(store: Database, actor: Actor, key_id: str, reason: str) -> RevokedKey:
    """Revoke a signing key everywhere, whether or not a trust bundle here knows it. Raises `InvalidRequest`."""
    if len(key_id) != 16 or not all(char in "0123456789abcdef" for char in key_id):
        raise InvalidRequest("a key id is the first 16 hex digits of the SHA-256 of the raw key")
    async with store.platform() as tx:
        present = [key for key in await revocations.revoked_keys(tx) if key.key_id == key_id]
        if present:
            return present[0]
        await audit_log.record(tx, actor.did("key.revoked", "key", key_id, reason=reason))
        found, _ = await revocations.revoke_key(tx, key_id, reason=reason, by=actor.name)
    return found


async def keys(store: Database, trust: TrustBundle) -> list[KeyView]:
    """Every key that is trusted or was revoked here, by id."""
    async with store.platform() as tx:
        revoked = {key.key_id: key for key in await revocations.revoked_keys(tx)}
    found: list[KeyView] = []
    for key_id in sorted({*trust.keys, *revoked}):
        key, ended = trust.keys.get(key_id), revoked.get(key_id)
        found.append(
            KeyView(
                key_id=key_id,
                trusted=key is not None,
                publishers=None if key is None or key.publishers is None else sorted(key.publishers),
                not_before=None if key is None else key.not_before,
                not_after=None if key is None else key.not_after,
                revoked=ended is not None or trust.is_revoked(key_id),
                revoked_at=ended.revoked_at if ended else (key.revoked_at if key else None),
                reason=ended.reason if ended else "",
                by=ended.revoked_by if ended else "",
            )
        )
    return found


def for_owner(change: Change, account: str) -> Change:
    """An operator's act as the account it is about reads it."""
    return msgspec.structs.replace(change, tenant_id=account, actor=OPERATOR, actor_kind=OPERATOR)


_DONE: dict[Act, str] = {"approve": "approved", "suspend": "suspended", "restore": "restored"}


def _is_so(row: PublisherRow, act: Act) -> bool:
    if act == "approve":
        return row.approved
    return (row.suspended_at is not None) == (act == "suspend")


async def _restore(tx: Tx, name: str, *, by: str) -> None:
    await publishers.restore(tx, name)
    await abuse.resolve(tx, ("signature_failures",), "publisher", name)
    brake_id = await brakes.active_id(tx, Brake("publisher", name))
    if brake_id is not None:
        await brakes.release(tx, brake_id, by)

"""Emergency brakes in the operator's hand: pulled, released, listed. What they stop is decided in `shared.brakes`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.identity.actor import Actor
from gateway.registry.lifecycle import Text
from gateway.store import audit_log
from gateway.store.platform import abuse, brakes, publishers, revocations
from gateway.store.platform.brakes import BrakeRow
from gateway.store.pool import Database, Tx
from shared.brakes import Brake, Scope, parse
from shared.errors import NotFound
from shared.registry_limits import REASON_MAX_CHARS


class BrakeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /api/admin/brakes`: `name` is left out for the scope `all`."""

    scope: Scope
    reason: Annotated[str, Meta(max_length=REASON_MAX_CHARS, pattern=Text)]
    name: str = ""


class BrakeView(msgspec.Struct, frozen=True, kw_only=True):
    """One brake; `released_at` is none while it is pulled."""

    id: str
    scope: Scope
    name: str | None
    subject: str
    reason: str
    by: str
    since: datetime
    released_at: datetime | None
    released_by: str | None


def view(row: BrakeRow) -> BrakeView:
    """The row as an answer."""
    return BrakeView(
        id=row.id,
        scope=row.scope,
        name=row.name or None,
        subject=row.subject,
        reason=row.reason,
        by=row.pulled_by,
        since=row.since,
        released_at=row.released_at,
        released_by=row.released_by,
    )


async def pull(store: Database, actor: Actor, request: BrakeRequest, known: frozenset[str]) -> tuple[BrakeRow, bool]:
    """Pull a brake; the row, and whether it is a new one.

    Args:
        known: capabilities a brake may name; a mistyped one would stop nothing.

    Raises:
        InvalidRequest: the scope and the name do not make a brake; says what would.
        NotFound: there is no such version or publisher, so it would stop nothing.
    """
    brake = parse(Brake(request.scope, request.name).subject if request.scope != "all" else _all(request.name), known)
    async with store.platform() as tx:
        await _check_exists(tx, brake)
        found = await brakes.active_id(tx, brake)
        if found is None:
            change = actor.did("brake.pulled", "brake", brake.subject, reason=request.reason)
            await audit_log.record(tx, change)
        return await brakes.pull(tx, brake, reason=request.reason, by=actor.name)


async def release(store: Database, actor: Actor, brake_id: str) -> BrakeRow:
    """Release a brake; nothing changes when it is released already. Raises `NotFound`."""
    async with store.platform() as tx:
        row = await brakes.by_id(tx, brake_id)
        if row is None:
            raise NotFound("no such brake; `GET /api/admin/brakes` lists all")
        if row.released_at is not None:
            return row
        await audit_log.record(tx, actor.did("brake.released", "brake", row.subject, brake_id=row.id))
        if row.scope == "version":
            await abuse.resolve(tx, ("sandbox_violations",), "version", row.name)
        released = await brakes.release(tx, brake_id, actor.name) or await brakes.by_id(tx, brake_id)
    assert released is not None  # rows of brakes are never removed
    return released


async def _check_exists(tx: Tx, brake: Brake) -> None:
    if brake.scope == "version" and await revocations.find(tx, brake.name) is None:
        raise NotFound("no such version, so the brake would stop nothing")
    if brake.scope == "publisher" and await publishers.locked(tx, brake.name) is None:
        raise NotFound("no such publisher, so the brake would stop nothing; `GET /api/admin/publishers` lists all")


def _all(name: str) -> str:
    return f"all:{name}" if name else "all"

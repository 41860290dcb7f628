"""Publisher names: registered by an account, owned by it, with what the name uses of its quotas."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gateway.identity.actor import Actor
from gateway.store import audit_log, publishers
from gateway.store.pool import Database, Tx
from gateway.store.publishers import Publisher
from shared import ids
from shared.errors import Conflict, Forbidden, QuotaExceeded
from shared.limits import PUBLISHER_PREPARING_MAX, PUBLISHER_STORED_MAX_BYTES, PUBLISHER_VERSIONS_PER_HOUR_MAX
from shared.registry_limits import PUBLISHERS_PER_ACCOUNT_MAX


class Registration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /api/registry/publishers`."""

    name: str


class Quotas(msgspec.Struct, frozen=True, kw_only=True):
    """What one publisher may use; none where nothing is limited."""

    stored_bytes: int
    versions_per_hour: int
    preparing: int


class UsageView(msgspec.Struct, frozen=True, kw_only=True):
    """What one publisher uses of them."""

    stored_bytes: int
    versions_last_hour: int
    preparing: int
    limits: Quotas | None


class PublisherView(msgspec.Struct, frozen=True, kw_only=True):
    """One's own publisher."""

    name: str
    approved: bool
    suspended: bool
    created_at: datetime
    usage: UsageView


QUOTAS = Quotas(
    stored_bytes=PUBLISHER_STORED_MAX_BYTES,
    versions_per_hour=PUBLISHER_VERSIONS_PER_HOUR_MAX,
    preparing=PUBLISHER_PREPARING_MAX,
)


async def register(store: Database, actor: Actor, name: str, *, limited: bool) -> tuple[PublisherView, bool]:
    """Make a name this account's; the publisher, and whether it was registered just now.

    Raises:
        InvalidRequest: not a publisher name.
        Conflict: another account has it.
        QuotaExceeded: the account has as many names as it may.
    """
    async with store.tenant(actor.tenant_id) as tx:
        publisher, fresh = await claim(tx, actor, ids.publisher(name))
        if publisher is None:
            raise Conflict(f"the publisher name {name} belongs to another account; choose another one")
        return await _view(tx, publisher, limited=limited), fresh


async def page(store: Database, actor: Actor, after: str, limit: int, *, limited: bool) -> list[PublisherView]:
    """The account's publishers by name, strictly after `after`."""
    async with store.tenant(actor.tenant_id) as tx:
        found = await publishers.owned(tx, actor.tenant_id, after, limit)
        return [await _view(tx, publisher, limited=limited) for publisher in found]


async def claim(tx: Tx, actor: Actor, name: str) -> tuple[Publisher | None, bool]:
    """Register a name for the actor's account, with its audit row when it is new; none when it is another's."""
    present = await publishers.by_name(tx, name)
    if present is not None and present.owner_account == actor.tenant_id:
        return present, False
    if await publishers.count(tx, actor.tenant_id) >= PUBLISHERS_PER_ACCOUNT_MAX:
        raise QuotaExceeded(f"an account may register {PUBLISHERS_PER_ACCOUNT_MAX} publisher names")
    publisher, fresh = await publishers.claim(tx, name, actor.tenant_id)
    if fresh:
        await audit_log.record(tx, actor.did("publisher.registered", "publisher", name))
    return publisher, fresh


def check_active(publisher: Publisher) -> None:
    """Raise `Forbidden` while nothing may be published under the name."""
    if publisher.suspended_at is not None:
        raise Forbidden(f"the publisher {publisher.name} is suspended; ask the platform's operator to restore it")


async def _view(tx: Tx, publisher: Publisher, *, limited: bool) -> PublisherView:
    used = await publishers.usage(tx, publisher.name)
    return PublisherView(
        name=publisher.name,
        approved=publisher.approved,
        suspended=publisher.suspended_at is not None,
        created_at=publisher.created_at,
        usage=UsageView(
            stored_bytes=used.stored_bytes,
            versions_last_hour=used.published_last_hour,
            preparing=used.preparing,
            limits=QUOTAS if limited else None,
        ),
    )

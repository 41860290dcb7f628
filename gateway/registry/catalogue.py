"""What an account can find: its own extensions, those offered to it, those it has installed, and public ones."""

from __future__ import annotations

import msgspec

from gateway.identity.actor import Actor
from gateway.store import registry
from gateway.store.pool import Database
from gateway.store.registry import Listed


class Place(msgspec.Struct, frozen=True):
    """Where a page ends."""

    publisher: str
    name: str


START = Place("", "")


async def page(store: Database, actor: Actor, after: Place, limit: int) -> list[Listed]:
    """At most `limit` extensions by publisher and name, strictly after `after`."""
    async with store.tenant(actor.tenant_id) as tx:
        return await registry.list_extensions(tx, (after.publisher, after.name), limit)

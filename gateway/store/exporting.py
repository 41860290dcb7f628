"""What an install keeps, read a page at a time for its export."""

from __future__ import annotations

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from gateway.store.pool import Tx


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One record of an install's storage; metadata as JSON text."""

    namespace: str
    key: str
    value: bytes
    metadata: str | None
    revision: int
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A topic that the installed version receives."""

    topic: str
    handler: str


async def records(tx: Tx, install_id: str, after: tuple[str, str], limit: int) -> list[Kept]:
    """Records of every namespace that are not past their time, strictly after `(namespace, key)`."""
    async with tx.cursor(row_factory=class_row(Kept)) as cursor:
        await cursor.execute(
            """select namespace, key, value, metadata, revision, expires_at, created_at, updated_at
                 from ext_storage_records
                where install_id = %s and (namespace, key) > (%s, %s) and (expires_at is null or expires_at > now())
                order by namespace, key limit %s""",
            (install_id, *after, limit),
        )
        return await cursor.fetchall()


async def subscriptions(tx: Tx, version_id: str) -> list[Subscription]:
    """The topics of a version."""
    async with tx.cursor(row_factory=class_row(Subscription)) as cursor:
        await cursor.execute(
            "select topic, handler from extension_event_subscription where version_id = %s order by topic",
            (version_id,),
        )
        return await cursor.fetchall()

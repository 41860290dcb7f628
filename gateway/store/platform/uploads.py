"""Staged archives whose time is over, whoever uploaded them."""

from __future__ import annotations

import msgspec
from psycopg.rows import class_row

from gateway.store.pool import Tx


class Expired(msgspec.Struct, frozen=True, kw_only=True):
    """What to remove from the bucket before the row goes."""

    id: str
    storage_key: str


async def expired(tx: Tx, limit: int) -> list[Expired]:
    """The oldest ones first."""
    async with tx.cursor(row_factory=class_row(Expired)) as cursor:
        await cursor.execute(
            "select id, storage_key from bundle_upload where expires_at < now() order by expires_at limit %s", (limit,)
        )
        return await cursor.fetchall()


async def remove(tx: Tx, upload_id: str) -> None:
    """Forget an upload whose object is gone."""
    await tx.execute("delete from bundle_upload where id = %s and expires_at < now()", (upload_id,))

"""A tenant's own API keys: made, listed, revoked. Found by secret only in `platform/api_keys.py`."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from psycopg.rows import class_row, scalar_row

from gateway.store.pool import Tx


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """One key as its tenant may see it."""

    id: str
    name: str
    permissions: list[str]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


_STORED: Final = (
    "select id, name, permissions, created_by, created_at, expires_at, revoked_at, last_used_at from api_key "
)


async def lock(tx: Tx, tenant_id: str) -> None:
    """Let one transaction at a time count and make keys of this tenant."""
    await tx.execute("select pg_advisory_xact_lock(hashtextextended(%s, 1634494306))", (tenant_id,))


async def count_good(tx: Tx) -> int:
    """How many of the tenant's keys could be used now."""
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            "select count(*) from api_key where revoked_at is null and (expires_at is null or expires_at > now())"
        )
        return int(await cursor.fetchone() or 0)


async def page(tx: Tx, after: str | None, limit: int) -> list[Stored]:
    """The tenant's keys in the order of their ids, strictly after `after`."""
    async with tx.cursor(row_factory=class_row(Stored)) as cursor:
        await cursor.execute(_STORED + "where %s::text is null or id > %s order by id limit %s", (after, after, limit))
        return await cursor.fetchall()


async def by_id(tx: Tx, key_id: str) -> Stored | None:
    """One key of the tenant."""
    async with tx.cursor(row_factory=class_row(Stored)) as cursor:
        await cursor.execute(_STORED + "where id = %s", (key_id,))
        return await cursor.fetchone()


async def insert(
    tx: Tx,
    *,
    key_id: str,
    tenant_id: str,
    name: str,
    secret_sha256: bytes,
    permissions: list[str],
    created_by: str,
    expires_at: datetime | None = None,
) -> None:
    """Store a new key. Raises `psycopg.errors.CheckViolation` for a permission no key may hold."""
    await tx.execute(
        """insert into api_key (id, tenant_id, name, secret_sha256, permissions, created_by, expires_at)
           values (%s, %s, %s, %s, %s, %s, %s)""",
        (key_id, tenant_id, name, secret_sha256, permissions, created_by, expires_at),
    )


async def revoke(tx: Tx, key_id: str) -> bool:
    """End a key; whether there was one to end."""
    cursor = await tx.execute("update api_key set revoked_at = now() where id = %s and revoked_at is null", (key_id,))
    return cursor.rowcount == 1

"""A tenant's own API keys: made, listed, revoked. Found by secret only in `platform/api_keys.py`."""

from __future__ import annotations

from datetime import datetime

from gateway.store.pool import Tx


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

"""API keys, found by their id before any tenant is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from gateway.store.pool import Database, Tx


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """One stored key. `used_long_ago`: its last use was recorded more than a minute ago, or never."""

    id: str
    tenant_id: str
    name: str
    secret_sha256: bytes
    permissions: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    used_long_ago: bool


async def find(store: Database, key_id: str) -> ApiKey | None:
    """The key with this id, whatever its state; in one exchange, since every call with a key waits for it."""
    found = await store.ask_platform(
        """select id, tenant_id, name, secret_sha256, permissions, expires_at, revoked_at,
                  coalesce(last_used_at < now() - interval '1 minute', true) as used_long_ago
             from api_key where id = %s""",
        (key_id,),
        ApiKey,
    )
    return found[0] if found else None


async def touch(tx: Tx, key_ids: Sequence[str]) -> None:
    """Record that the keys were just used."""
    await tx.execute("update api_key set last_used_at = now() where id = any(%s)", (list(key_ids),))

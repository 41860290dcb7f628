"""What was withdrawn for good: versions and signing keys. Written by the platform's login, once; nothing takes it back."""

from __future__ import annotations

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from gateway.store import feed
from gateway.store.notices import INSTALL_CHANGED
from gateway.store.platform import uis
from gateway.store.pool import Tx
from shared.registry_limits import REVOKE_BATCH_MAX_COUNT


class Revocable(msgspec.Struct, frozen=True, kw_only=True):
    """A version, whoever owns it."""

    id: str
    owner_account: str
    publisher: str
    name: str
    version: str
    content_hash: str
    state: str
    revoked_at: datetime | None


class RevokedKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key that signs nothing any more."""

    key_id: str
    reason: str
    revoked_by: str
    revoked_at: datetime


async def find(tx: Tx, version_id: str) -> Revocable | None:
    """The version, whoever owns it."""
    async with tx.cursor(row_factory=class_row(Revocable)) as cursor:
        await cursor.execute(
            """select v.id, r.owner_account, r.publisher, r.name, v.version, b.content_hash, v.state, v.revoked_at
                 from extension_version v
                 join extension_registry r on r.id = v.registry_id
                 join extension_bundle b on b.version_id = v.id
                where v.id = %s""",
            (version_id,),
        )
        return await cursor.fetchone()


async def revoke_version(tx: Tx, version_id: str, reason: str) -> bool:
    """Revoke a version, tell every gateway whose cache names it, and the feed; `False` when it was not ready or is revoked."""
    cursor = await tx.execute(
        """update extension_version set revoked_at = now(), revoked_reason = %s, updated_at = now()
            where id = %s and state = 'ready' and revoked_at is null""",
        (reason, version_id),
    )
    if cursor.rowcount == 0:
        return False
    await tx.execute(
        """select pg_notify(%s, jsonb_build_object(
                    'tenant_id', tenant_id, 'registry_id', registry_id, 'install_id', id)::text)
             from (select tenant_id, registry_id, id from tenant_extension_install
                    where version_id = %s and status <> 'uninstalled' limit %s) as i""",
        (INSTALL_CHANGED, version_id, REVOKE_BATCH_MAX_COUNT),
    )
    await feed.append(tx, "revoked_version", version_id)
    await uis.retire_version(tx, version_id)
    return True


async def revoke_key(tx: Tx, key_id: str, *, reason: str, by: str) -> tuple[RevokedKey, bool]:
    """Revoke a signing key, known here or not; the row, and whether it is a new one."""
    cursor = await tx.execute(
        "insert into revoked_key (key_id, reason, revoked_by) values (%s, %s, %s) on conflict do nothing",
        (key_id, reason, by),
    )
    fresh = cursor.rowcount == 1
    if fresh:
        await feed.append(tx, "revoked_key", key_id)
    (found,) = [key for key in await revoked_keys(tx) if key.key_id == key_id]
    return found, fresh


async def revoked_keys(tx: Tx) -> list[RevokedKey]:
    """Every key that was revoked here; a trust bundle holds some thousand keys at most."""
    async with tx.cursor(row_factory=class_row(RevokedKey)) as cursor:
        await cursor.execute("select key_id, reason, revoked_by, revoked_at from revoked_key order by key_id")
        return await cursor.fetchall()

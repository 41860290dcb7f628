"""Versions being prepared, whoever owns them: one gateway at a time works on each, and a dead one's are taken over."""

from __future__ import annotations

import msgspec
from psycopg.rows import class_row, scalar_row

from gateway.store.pool import Tx


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A version this gateway may prepare until its lease ends."""

    id: str
    owner_account: str
    content_hash: str
    signature: bytes
    allow_unused_imports: bool


async def claim(tx: Tx, version_id: str, lease_s: int) -> Claimed | None:
    """Take the lease of a version; `None` when it is not being prepared or somebody else has the lease."""
    async with tx.cursor(row_factory=class_row(Claimed)) as cursor:
        await cursor.execute(
            """update extension_version v set prepare_lease_until = now() + make_interval(secs => %s)
                 from extension_registry r, extension_bundle b
                where v.id = %s and v.state = 'preparing'
                  and (v.prepare_lease_until is null or v.prepare_lease_until < now())
                  and r.id = v.registry_id and b.version_id = v.id
               returning v.id, r.owner_account, b.content_hash, b.signature, v.allow_unused_imports""",
            (lease_s, version_id),
        )
        return await cursor.fetchone()


async def postpone(tx: Tx, version_id: str, seconds: int) -> None:
    """Give the lease back; the version is tried again after `seconds`."""
    await tx.execute(
        """update extension_version set prepare_lease_until = now() + make_interval(secs => %s)
            where id = %s and state = 'preparing'""",
        (seconds, version_id),
    )


async def abandoned(tx: Tx, limit: int) -> list[str]:
    """Ids of versions nobody works on. After a day they wait for their publisher to finalise again."""
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """select id from extension_version
                where state = 'preparing' and (prepare_lease_until is null or prepare_lease_until < now())
                  and created_at > now() - interval '1 day'
                order by created_at limit %s""",
            (limit,),
        )
        return [str(found) for found in await cursor.fetchall()]

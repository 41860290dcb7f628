"""Which objects of the bucket a row still names, and upkeep that one gateway at a time does and another takes over."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.rows import scalar_row

from gateway.store.pool import Tx


async def staged(tx: Tx, storage_keys: Sequence[str]) -> set[str]:
    """Which of these staged objects an upload names; expired ones included, which go by their row."""
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            "select storage_key from bundle_upload where storage_key = any (%s)", (list(storage_keys),)
        )
        return {str(found) for found in await cursor.fetchall()}


async def kept(tx: Tx, digests: Sequence[str], rejected_kept_s: int) -> set[str]:
    """Which of these digests a version names that was not rejected, or not long ago."""
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """select distinct b.content_hash from extension_bundle b join extension_version v on v.id = b.version_id
                where b.content_hash = any (%s)
                  and (v.state <> 'rejected' or v.updated_at > now() - make_interval(secs => %s))""",
            (list(digests), rejected_kept_s),
        )
        return {str(found) for found in await cursor.fetchall()}


async def take(tx: Tx, name: str, holder: str, lease_s: int) -> str | None:
    """Take or renew a lease; where its work stopped, or none when somebody else has it."""
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """insert into upkeep_lease as u (name, holder, lease_until)
               values (%(name)s, %(holder)s, now() + make_interval(secs => %(lease_s)s))
               on conflict (name) do update set holder = excluded.holder, lease_until = excluded.lease_until
                 where u.holder = excluded.holder or u.lease_until < now()
               returning position""",
            {"name": name, "holder": holder, "lease_s": lease_s},
        )
        found = await cursor.fetchone()
    return None if found is None else str(found)


async def note(tx: Tx, name: str, holder: str, position: str, lease_s: int) -> bool:
    """Say how far the work is, and go on having the lease; `False` when somebody else has taken it."""
    cursor = await tx.execute(
        """update upkeep_lease set position = %s, lease_until = now() + make_interval(secs => %s)
            where name = %s and holder = %s""",
        (position, lease_s, name, holder),
    )
    return cursor.rowcount == 1

"""Records past their time, whoever's they are: nobody sees them any more, and here they are removed, some at a time."""

from __future__ import annotations

from gateway.store.pool import Tx


async def remove_expired(tx: Tx, limit: int) -> int:
    """Remove the oldest ones, at most `limit`, passing over those that are being written; how many."""
    cursor = await tx.execute(
        """delete from ext_storage_records r
            using (select tenant_id, install_id, namespace, key from ext_storage_records
                    where expires_at <= now() order by expires_at limit %s for update skip locked) as past
            where r.tenant_id = past.tenant_id and r.install_id = past.install_id
              and r.namespace = past.namespace and r.key = past.key""",
        (limit,),
    )
    return cursor.rowcount

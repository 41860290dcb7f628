"""Denied targets past their time, of all tenants; row-level security shows this login no others."""

from __future__ import annotations

from gateway.store.pool import Tx


async def remove_old(tx: Tx) -> int:
    """Remove targets that were not denied again for `DENIED_TARGETS_KEPT_DAYS`; how many."""
    cursor = await tx.execute("delete from tenant_extension_denied_target where last_at < now() - interval '30 days'")
    return cursor.rowcount

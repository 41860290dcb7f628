"""Months of the execution log: made before they begin, so that no call is ever refused for want of a partition."""

from __future__ import annotations

from psycopg.rows import scalar_row

from gateway.store.pool import Tx


async def ensure(tx: Tx) -> int:
    """Make this month's and next month's partition of the execution log; how many were missing."""
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("select ensure_execution_log_partitions()")
        return int(await cursor.fetchone() or 0)

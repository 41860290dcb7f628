"""Reading the state feed, and what it says about keys and live UIs: questions about all tenants at once."""

from __future__ import annotations

from psycopg.rows import class_row, scalar_row

from gateway.store import feed
from gateway.store.platform.uis import INSTALLED, LIVE
from gateway.store.pool import Tx
from shared.wire import StateEntry


async def after(tx: Tx, seq: int, limit: int) -> list[StateEntry]:
    """Entries with numbers above `seq`, in order."""
    async with tx.cursor(row_factory=class_row(StateEntry)) as cursor:
        await cursor.execute(
            "select seq, kind, subject from state_feed where seq > %s order by seq limit %s", (seq, limit)
        )
        return await cursor.fetchall()


async def revoked_keys(tx: Tx) -> frozenset[str]:
    """Ids of signing keys that were revoked through the feed."""
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("select distinct subject from state_feed where kind = 'revoked_key'")
        return frozenset(str(found) for found in await cursor.fetchall())


async def is_live(tx: Tx, registry_id: str, content_hash: str) -> bool:
    """Whether some tenant has this bundle of this extension installed and enabled, and nothing stops it."""
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            f"""select exists (select 1 from {INSTALLED}
                  where i.registry_id = %s and b.content_hash = %s and {LIVE})""".encode(),  # noqa: S608 - constants
            (registry_id, content_hash),
        )
        return bool(await cursor.fetchone())


async def retire_ui(tx: Tx, registry_id: str, content_hash: str) -> bool:
    """Announce that nobody has this bundle enabled any more, if so; whether it was announced.

    The lock comes first: an install that commits before is seen by the question, one that commits after announces
    itself after this.
    """
    await feed.lock(tx)
    if await is_live(tx, registry_id, content_hash):
        return False
    await feed.append(tx, "ui_gone", f"{registry_id}/{content_hash}")
    return True

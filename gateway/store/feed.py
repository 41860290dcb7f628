"""The state feed: appended by whoever changes something, in the order everyone will read it.

Numbers must become visible in order, or a reader that has seen 7 would never ask for a 6 that commits later. So one
transaction at a time appends, from its append to its commit: append last.
"""

from __future__ import annotations

from typing import Final

from gateway.store.pool import Tx
from shared.wire import StateKind

_LOCK: Final = "select pg_advisory_xact_lock(1634494305, 3)"  # "alga", 3


async def lock(tx: Tx) -> None:
    """Wait until nobody else appends; held until commit."""
    await tx.execute(_LOCK)


async def append(tx: Tx, kind: StateKind, subject: str) -> None:
    """Add one entry.

    Args:
        tx: of the tenant whose install it is about (the database refuses anything else), or of the platform.
        kind: what happened.
        subject: the install's id, or `<extension_id>/<content_hash>`.
    """
    await lock(tx)
    await tx.execute("insert into state_feed (kind, subject) values (%s, %s)", (kind, subject))

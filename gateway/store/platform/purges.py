"""Uninstalled installs whose time is over, whoever's they are; removing one is the business of its tenant's login."""

from __future__ import annotations

import msgspec
from psycopg.rows import class_row

from gateway.store.pool import Tx


class Over(msgspec.Struct, frozen=True, kw_only=True):
    """One install that nobody can bring back any more."""

    tenant_id: str
    install_id: str


async def over(tx: Tx, after: str | None, limit: int) -> list[Over]:
    """Some of them, in the order of their ids, strictly after `after`."""
    async with tx.cursor(row_factory=class_row(Over)) as cursor:
        await cursor.execute(
            """select tenant_id, id as install_id from tenant_extension_install
                where status = 'uninstalled' and purge_after <= now()
                  and (%(after)s::uuid is null or id > %(after)s::uuid)
                order by id limit %(limit)s""",
            {"after": after, "limit": limit},
        )
        return await cursor.fetchall()

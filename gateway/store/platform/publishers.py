"""Publishers across accounts: who may list publicly, and who may publish at all."""

from __future__ import annotations

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from gateway.store.pool import Tx


class PublisherRow(msgspec.Struct, frozen=True, kw_only=True):
    """One publisher as the operator sees it."""

    name: str
    owner_account: str
    approved: bool
    approved_at: datetime | None
    suspended_at: datetime | None
    suspended_reason: str
    created_at: datetime
    extensions: int


_COLUMNS = """p.name, p.owner_account, p.approved, p.approved_at, p.suspended_at, p.suspended_reason, p.created_at,
       (select count(*) from extension_registry r where r.publisher = p.name) as extensions"""


async def page(tx: Tx, *, approved: bool | None, q: str | None, after: str, limit: int) -> list[PublisherRow]:
    """Publishers by name, strictly after `after`; `q` is part of the name or the whole account."""
    async with tx.cursor(row_factory=class_row(PublisherRow)) as cursor:
        await cursor.execute(
            f"""select {_COLUMNS} from publisher p
                 where p.name > %(after)s and (%(approved)s::boolean is null or p.approved = %(approved)s)
                   and (%(q)s::text is null or position(lower(%(q)s) in p.name) > 0 or p.owner_account = %(q)s)
                 order by p.name limit %(limit)s""".encode(),  # noqa: S608 - constants
            {"after": after, "approved": approved, "q": q, "limit": limit},
        )
        return await cursor.fetchall()


async def locked(tx: Tx, name: str) -> PublisherRow | None:
    """One publisher, its row locked until commit."""
    await tx.execute("select 1 from publisher where name = %s for update", (name,))
    async with tx.cursor(row_factory=class_row(PublisherRow)) as cursor:
        await cursor.execute(f"select {_COLUMNS} from publisher p where p.name = %s".encode(), (name,))  # noqa: S608
        return await cursor.fetchone()


async def approve(tx: Tx, name: str) -> None:
    """Allow public listings."""
    await tx.execute(
        "update publisher set approved = true, approved_at = coalesce(approved_at, now()) where name = %s", (name,)
    )


async def suspend(tx: Tx, name: str, reason: str) -> None:
    """Let nothing be published under the name."""
    await tx.execute("update publisher set suspended_at = now(), suspended_reason = %s where name = %s", (reason, name))


async def restore(tx: Tx, name: str) -> None:
    """Let its owner publish again."""
    await tx.execute("update publisher set suspended_at = null, suspended_reason = '' where name = %s", (name,))

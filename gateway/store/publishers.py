"""Publisher names and whose they are, what a publisher uses, and signatures of its that were refused."""

from __future__ import annotations

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from gateway.store.pool import Tx


class Publisher(msgspec.Struct, frozen=True, kw_only=True):
    """One name. `suspended_at`: since when nothing may be published under it."""

    name: str
    owner_account: str
    approved: bool
    suspended_at: datetime | None
    created_at: datetime


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a publisher has under way and stored."""

    preparing: int
    published_last_hour: int
    stored_bytes: int


async def claim(tx: Tx, name: str, account: str) -> tuple[Publisher | None, bool]:
    """Register a publisher name for an account unless somebody has it.

    Returns:
        The account's publisher, or none when the name is another's; and whether it was registered just now.
    """
    cursor = await tx.execute(
        "insert into publisher (name, owner_account) values (%s, %s) on conflict do nothing", (name, account)
    )
    fresh = cursor.rowcount == 1
    found = await by_name(tx, name)
    return (found if found is not None and found.owner_account == account else None), fresh


async def by_name(tx: Tx, name: str) -> Publisher | None:
    """The publisher, when this account may see it: its own, or an approved one."""
    async with tx.cursor(row_factory=class_row(Publisher)) as cursor:
        await cursor.execute(
            "select name, owner_account, approved, suspended_at, created_at from publisher where name = %s", (name,)
        )
        return await cursor.fetchone()


async def owned(tx: Tx, account: str, after: str, limit: int) -> list[Publisher]:
    """The account's publishers by name, strictly after `after`."""
    async with tx.cursor(row_factory=class_row(Publisher)) as cursor:
        await cursor.execute(
            """select name, owner_account, approved, suspended_at, created_at from publisher
                where owner_account = %s and name > %s order by name limit %s""",
            (account, after, limit),
        )
        return await cursor.fetchall()


async def count(tx: Tx, account: str) -> int:
    """How many names the account has; one transaction at a time may count and add."""
    await tx.execute("select pg_advisory_xact_lock(hashtextextended(%s, 1634494307))", (account,))
    cursor = await tx.execute("select count(*) from publisher where owner_account = %s", (account,))
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def lock(tx: Tx, name: str) -> None:
    """Let one transaction at a time count and publish for this publisher."""
    await tx.execute("select pg_advisory_xact_lock(hashtextextended(%s, 1634494305))", (name,))


async def usage(tx: Tx, publisher: str) -> Usage:
    """What the publisher has under way, did in the last hour, and has stored.

    A rejected bundle counts as stored for the day after which its objects are collected.
    """
    async with tx.cursor(row_factory=class_row(Usage)) as cursor:
        await cursor.execute(
            """select count(*) filter (where v.state = 'preparing') as preparing,
                      count(*) filter (where v.created_at > now() - interval '1 hour') as published_last_hour,
                      coalesce(sum(b.size_bytes) filter (
                        where v.state <> 'rejected' or v.updated_at > now() - interval '1 day'), 0)::bigint as stored_bytes
                 from extension_registry r
                 join extension_version v on v.registry_id = r.id
                 join extension_bundle b on b.version_id = v.id
                where r.publisher = %s""",
            (publisher,),
        )
        found = await cursor.fetchone()
    assert found is not None
    return found


async def refused(tx: Tx, account: str, publisher: str, code: str) -> None:
    """Note a refused signature; for `publisher` only when the account owns that name."""
    await tx.execute(
        """insert into publish_refusal (account, publisher, code)
           values (%(account)s, coalesce((select name from publisher
                                           where name = %(publisher)s and owner_account = %(account)s), ''), %(code)s)""",
        {"account": account, "publisher": publisher, "code": code},
    )

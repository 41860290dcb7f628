"""The schema's own record: which migrations a database has seen, and applying the missing ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import psycopg
from psycopg.rows import class_row

from gateway.store.pool import Tx

DatabaseError = psycopg.Error

_LOCK: Final = "select pg_advisory_lock(1634494305, 1)"  # "alga", 1: one migration at a time in this database
_RECORD: Final = """
create table if not exists schema_migration (
  number     integer primary key,
  name       text not null,
  sha256     text not null,
  applied_at timestamptz not null default now()
)"""
_LOCK_TIMEOUT: Final = "set lock_timeout = '10s'"  # a roll-out waits for, but never queues in front of, live traffic


class SchemaError(Exception):
    """The database and this release do not fit together; the text says how."""


class Migration(msgspec.Struct, frozen=True):
    """One file: its number, name, digest and SQL."""

    number: int
    name: str
    sha256: str
    sql: bytes


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the record."""

    number: int
    name: str
    sha256: str


async def apply(url: str, known: Sequence[Migration]) -> list[str]:
    """Apply the migrations the database has not seen, each in its own transaction; their names."""
    async with await psycopg.AsyncConnection.connect(
        url, autocommit=True, connect_timeout=10, application_name="gateway-migrate"
    ) as connection:
        await connection.execute(_LOCK)  # released with the session
        await connection.execute(_LOCK_TIMEOUT)
        await connection.execute(_RECORD)
        seen = await applied(connection)
        missing = _missing(seen, known)
        for migration in missing:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(
                    "insert into schema_migration (number, name, sha256) values (%s, %s, %s)",
                    (migration.number, migration.name, migration.sha256),
                )
        await connection.execute("select ensure_execution_log_partitions()")
        return [migration.name for migration in missing]


async def applied(tx: Tx) -> list[Applied]:
    """The record, in order."""
    async with tx.cursor(row_factory=class_row(Applied)) as cursor:
        await cursor.execute("select number, name, sha256 from schema_migration order by number")
        return await cursor.fetchall()


def _missing(seen: Sequence[Applied], known: Sequence[Migration]) -> list[Migration]:
    by_number = {migration.number: migration for migration in known}
    for line in seen:
        migration = by_number.get(line.number)
        if migration is None:
            raise SchemaError(f"the database has {line.name}, which this release does not know: deploy a newer one")
        if migration.sha256 != line.sha256:
            raise SchemaError(f"{line.name} was changed after it was applied: add a new file instead")
    last = max((line.number for line in seen), default=0)
    return [migration for migration in known if migration.number > last]

"""Migrations: applied once, in order, whole, and never changed afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import psycopg
import pytest

from deploy.local.postgres import Postgres
from gateway import migrate
from gateway.store.pool import Database
from gateway.store.schema import Migration, SchemaError
from shared.digest import sha256_hex
from tests.gateway.services import DatabaseUrls, owner


@pytest.fixture
async def empty(postgres_server: Postgres) -> AsyncIterator[str]:
    """A database nobody has touched, as its owner."""
    async with owner(postgres_server.url) as connection:
        await connection.execute("create database empty")
    yield postgres_server.address("empty")
    async with owner(postgres_server.url) as connection:
        await connection.execute("drop database empty with (force)")


def further(number: int, sql: bytes) -> Migration:
    return Migration(number, f"{number:04}_test.sql", sha256_hex(sql), sql)


async def test_a_second_run_applies_nothing(empty: str) -> None:
    names = [migration.name for migration in migrate.migrations()]
    assert await migrate.migrate(empty) == names
    assert await migrate.migrate(empty) == []


async def test_runs_at_the_same_time_wait_for_each_other(empty: str) -> None:
    runs = await asyncio.gather(*(migrate.migrate(empty) for _ in range(4)))
    assert sorted(map(len, runs)) == [0, 0, 0, len(migrate.migrations())]


async def test_a_file_that_was_changed_after_it_was_applied_stops_the_run(empty: str) -> None:
    await migrate.migrate(empty)
    first, *rest = migrate.migrations()
    changed = msgspec.structs.replace(first, sha256=sha256_hex(b"other"))
    with pytest.raises(SchemaError, match=r"0001_roles.sql was changed"):
        await migrate.migrate(empty, [changed, *rest])


async def test_a_database_that_is_newer_than_the_release_stops_the_run(empty: str) -> None:
    await migrate.migrate(empty)
    with pytest.raises(SchemaError, match="deploy a newer one"):
        await migrate.migrate(empty, migrate.migrations()[:-1])


async def test_a_file_that_fails_leaves_nothing_behind(empty: str) -> None:
    known = migrate.migrations()
    bad = further(len(known) + 1, b"create table half (); select 1/0")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await migrate.migrate(empty, [*known, bad])
    async with owner(empty) as connection:
        cursor = await connection.execute("select to_regclass('half'), count(*) from schema_migration")
        assert await cursor.fetchone() == (None, len(known))
    good = further(len(known) + 1, b"create table half ()")
    assert await migrate.migrate(empty, [*known, good]) == [good.name]


async def test_two_databases_of_one_cluster_can_be_migrated_at_once(postgres_server: Postgres) -> None:
    names = ("left", "right")
    async with owner(postgres_server.url) as connection:
        for name in names:
            await connection.execute(f"create database {name}_side")  # type: ignore[arg-type]
    try:
        await asyncio.gather(*(migrate.migrate(postgres_server.address(f"{name}_side")) for name in names))
    finally:
        async with owner(postgres_server.url) as connection:
            for name in names:
                await connection.execute(f"drop database {name}_side with (force)")  # type: ignore[arg-type]


async def partitions(url: str) -> list[str]:
    async with owner(url) as connection:
        cursor = await connection.execute(
            """select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = 'extension_execution_log'::regclass order by 1"""
        )
        return [str(row[0]) for row in await cursor.fetchall()]


async def test_the_log_has_this_month_and_the_next(database: DatabaseUrls) -> None:
    assert len(await partitions(database.owner)) == 2


async def test_a_gateway_makes_the_months_to_come_once(database: DatabaseUrls, store: Database) -> None:
    for expected in (2, 0):
        async with store.platform() as tx:
            cursor = await tx.execute("select ensure_execution_log_partitions('2031-12-31 23:30:00-01')")
            assert await cursor.fetchone() == (expected,)
    found = await partitions(database.owner)
    assert found[-2:] == ["extension_execution_log_2032_01", "extension_execution_log_2032_02"]


def test_without_a_connection_the_job_says_which_variable_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert migrate.main({}) == 1
    assert "GATEWAY_DATABASE_DIRECT_URL is required" in capsys.readouterr().err


def test_the_job_says_what_it_applied(database: DatabaseUrls, capsys: pytest.CaptureFixture[str]) -> None:
    assert migrate.main({"GATEWAY_DATABASE_DIRECT_URL": database.owner}) == 0
    assert "the schema is current (0 applied)" in capsys.readouterr().out


def test_a_database_that_is_away_ends_the_job_with_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert migrate.main({"GATEWAY_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}) == 1
    assert "migrate: " in capsys.readouterr().err

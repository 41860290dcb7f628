"""A tenant's transaction of one statement: one exchange with the server, the same walls, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import msgspec
import psycopg
import pytest

from gateway.store.pool import Database, _has_news, open_database
from shared.errors import AccessPolicyUnavailable
from shared.limits import STORE_STATEMENT_MAX_MS, STORE_TRANSACTION_MAX_MS
from tests.gateway.services import DatabaseUrls, owner
from tests.gateway.store.wire_tap import tapped

NAMES = "select name from publisher order by name"


class Row(msgspec.Struct):
    found: object


class Name(msgspec.Struct):
    name: str


async def one(store: Database, tenant: str, statement: str, **parameters: object) -> object:
    (row,) = await store.ask(tenant, f"select ({statement}) as found", parameters, Row)  # type: ignore[arg-type]
    return row.found


async def test_a_statement_knows_its_tenant(store: Database) -> None:
    assert await one(store, "acme", "select app_tenant()") == "acme"
    assert await one(store, "globex", "select app_tenant()") == "globex"
    assert await one(store, "acme", "select current_setting('statement_timeout')") == f"{STORE_STATEMENT_MAX_MS}ms"


async def test_a_statement_without_a_tenant_cannot_be_asked(store: Database) -> None:
    with pytest.raises(ValueError, match="needs a tenant"):
        await one(store, "", "select 1")


async def test_it_is_one_exchange_with_the_server_first_and_prepared(database: DatabaseUrls) -> None:
    async with tapped(database.app) as tap, open_database(tap.url, database.platform, tap.url) as store:
        for _ in range(12):  # the driver prepares a statement when it comes the sixth time
            before = tap.exchanges
            assert await one(store, "acme", "select app_tenant()") == "acme"
            assert tap.exchanges - before == 1
        before = tap.exchanges
        async with store.tenant("acme") as tx:
            await tx.execute("select 1")
        assert tap.exchanges - before == 4  # what it would be otherwise


async def test_the_cross_tenant_login_asks_in_one_exchange_as_well_and_has_no_tenant(database: DatabaseUrls) -> None:
    async with tapped(database.platform) as tap, open_database(database.app, tap.url, database.app) as store:
        for _ in range(12):
            before = tap.exchanges
            (row,) = await store.ask_platform("select app_tenant() as found", (), Row)
            assert (row.found, tap.exchanges - before) == (None, 1)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await store.ask_platform("select config::text as name from tenant_extension_install_config", (), Name)
        assert await store.ask_platform("select %s::text as name", ["still there"], Name) == [Name("still there")]


async def test_what_it_writes_is_committed(store: Database) -> None:
    insert = "insert into publisher (name, owner_account) values (%(name)s, 'acme') returning name"
    assert await store.ask("acme", insert, {"name": "mine"}, Name) == [Name("mine")]
    assert await store.ask("acme", NAMES, {}, Name) == [Name("mine")]
    assert await store.ask("globex", NAMES, {}, Name) == []


async def test_what_fails_is_told_as_it_is_and_leaves_nothing_behind(store: Database) -> None:
    async with store.tenant("acme") as tx:
        backend = await (await tx.execute("select pg_backend_pid()")).fetchone()
    foreign = "insert into publisher (name, owner_account) values ('theirs', 'globex') returning name"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await store.ask("acme", foreign, {}, Name)
    assert (await one(store, "globex", "select pg_backend_pid()"),) == backend  # the connection is none the worse
    assert await store.ask("globex", NAMES, {}, Name) == []


async def test_the_tenant_ends_with_the_statement_on_the_same_connection(store: Database) -> None:
    backend = await one(store, "acme", "select pg_backend_pid()")
    async with store._app.connection() as connection:  # the same one, without our settings
        cursor = await connection.execute("select pg_backend_pid(), app_tenant()")
        assert await cursor.fetchone() == (backend, None)


@pytest.mark.security
async def test_t37_of_a_thousand_cancelled_statements_none_is_answered_to_somebody_else(store: Database) -> None:
    size, cancelled = store._app.max_size, 0
    for wave in range(130):
        slow = [one(store, "acme", "select pg_sleep(0.002)::text || app_tenant()") for _ in range(size)]
        tasks = [asyncio.create_task(asking) for asking in slow]
        for _ in range(wave % 12):  # another moment of the exchange each time
            await asyncio.sleep(0)
        interrupted = [task for task in tasks if task.cancel()]
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in interrupted)
        cancelled += len(interrupted)
        read = await asyncio.gather(*(one(store, "globex", "select app_tenant()") for _ in range(4)))
        assert set(read) == {"globex"}
    assert cancelled > 1000
    async with store._app.connection() as connection:
        assert await (await connection.execute("select app_tenant()")).fetchone() == (None,)


async def test_a_connection_killed_while_idle_costs_no_statement(store: Database, database: DatabaseUrls) -> None:
    backend = await one(store, "acme", "select pg_backend_pid()")
    async with owner(database.owner) as connection:
        await connection.execute("select pg_terminate_backend(%s, 5000)", (backend,))
    assert await one(store, "acme", "select pg_backend_pid()") != backend


async def test_an_idle_connection_that_was_told_something_is_used_all_the_same(
    store: Database, database: DatabaseUrls
) -> None:
    backend = await one(store, "acme", "select pg_backend_pid()")
    async with store._app.connection() as connection:
        await connection.execute("listen gossip")
    async with owner(database.owner) as connection:
        await connection.execute("notify gossip")
    async with store._app.connection() as connection, asyncio.timeout(10):
        while not _has_news(connection):  # noqa: ASYNC110  # the kernel tells nobody
            await asyncio.sleep(0)
    assert await one(store, "acme", "select pg_backend_pid()") == backend


async def test_a_connection_killed_in_a_statement_is_policy_unavailable_and_the_next_works(
    store: Database, database: DatabaseUrls
) -> None:
    backend = await one(store, "acme", "select pg_backend_pid()")
    asked = asyncio.create_task(one(store, "acme", "select pg_sleep(1.4)::text"))
    async with owner(database.owner) as connection, asyncio.timeout(10):
        active: object = None
        while active != ("active",):
            cursor = await connection.execute("select state from pg_stat_activity where pid = %s", (backend,))
            active = await cursor.fetchone()
        await connection.execute("select pg_terminate_backend(%s, 5000)", (backend,))
    with pytest.raises(AccessPolicyUnavailable) as refused:
        await asked
    assert refused.value.retry_after_s == 1
    assert await one(store, "acme", "select 1") == 1


@pytest.mark.slow
async def test_a_statement_that_takes_too_long_is_stopped(store: Database) -> None:
    began = time.monotonic()
    with pytest.raises(AccessPolicyUnavailable):
        await one(store, "acme", "select pg_sleep(30)::text")
    assert STORE_STATEMENT_MAX_MS / 1000 <= time.monotonic() - began < STORE_TRANSACTION_MAX_MS / 1000 + 1


@pytest.mark.slow
@pytest.mark.faults
async def test_a_server_that_hangs_holds_nobody(store: Database) -> None:
    backend = await one(store, "acme", "select pg_backend_pid()")
    assert isinstance(backend, int)
    os.kill(backend, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(AccessPolicyUnavailable):
            await one(store, "acme", "select 1")
        assert time.monotonic() - began < STORE_TRANSACTION_MAX_MS / 1000 + 0.5
    finally:
        os.kill(backend, signal.SIGCONT)

"""Transactions: whose rows they see, how they end, and that none of them waits without a bound."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

import pytest

from gateway.store.pool import Database, Tx, _take, open_database
from shared.errors import AccessPolicyUnavailable, NotFound
from shared.limits import STORE_STATEMENT_MAX_MS, STORE_TRANSACTION_MAX_MS, STORE_WAIT_MAX_MS
from tests.gateway.services import DatabaseUrls, owner


async def one(tx: Tx, statement: str) -> object:
    row = await (await tx.execute(statement)).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row[0]


async def test_a_transaction_knows_its_tenant_and_nobody_else_does(store: Database) -> None:
    async with store.tenant("acme") as tx:
        assert await one(tx, "select app_tenant()") == "acme"
    async with store.platform() as tx:
        assert await one(tx, "select app_tenant()") is None


async def test_a_transaction_without_a_tenant_cannot_be_asked_for(store: Database) -> None:
    with pytest.raises(ValueError, match="needs a tenant"):
        async with store.tenant(""):
            raise AssertionError("not reached")


async def test_the_tenant_ends_with_the_transaction_on_the_same_connection(store: Database) -> None:
    async with store.tenant("acme") as tx:
        backend = await one(tx, "select pg_backend_pid()")
    async with store._app.connection() as connection:  # the same connection, without our settings
        assert await one(connection, "select pg_backend_pid()") == backend
        assert await one(connection, "select app_tenant()") is None


async def test_what_raises_leaves_nothing_behind(store: Database) -> None:
    async def fail() -> None:
        async with store.tenant("acme") as tx:
            await tx.execute("insert into publisher (name, owner_account) values ('acme', 'acme')")
            raise NotFound

    with pytest.raises(NotFound):
        await fail()
    async with store.tenant("acme") as tx:
        assert await one(tx, "select count(*) from publisher") == 0


async def test_what_returns_is_committed(store: Database) -> None:
    async with store.tenant("acme") as tx:
        await tx.execute("insert into publisher (name, owner_account) values ('acme', 'acme')")
    async with store.tenant("acme") as tx:
        assert await one(tx, "select count(*) from publisher") == 1


async def test_after_hundreds_of_cancelled_requests_nobody_reads_as_somebody_else(store: Database) -> None:
    began = asyncio.Event()

    async def request(number: int) -> None:
        async with store.tenant("acme") as tx:
            began.set()
            await tx.execute("select pg_sleep(%s)", (0.001 * (number % 7),))
            await one(tx, "select app_tenant()")

    tasks = [asyncio.create_task(request(number)) for number in range(300)]
    await began.wait()
    for task in tasks:
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)

    async def read() -> object:
        async with store.tenant("globex") as tx:
            return await one(tx, "select app_tenant()")

    assert set(await asyncio.gather(*(read() for _ in range(50)))) == {"globex"}
    async with store._app.connection() as connection:
        assert await one(connection, "select app_tenant()") is None


async def test_a_connection_killed_while_idle_costs_no_request(store: Database, database: DatabaseUrls) -> None:
    async with store.tenant("acme") as tx:
        backend = await one(tx, "select pg_backend_pid()")
    async with owner(database.owner) as connection:
        await connection.execute("select pg_terminate_backend(%s, 5000)", (backend,))
    async with store.tenant("acme") as tx:
        assert await one(tx, "select pg_backend_pid()") != backend


async def test_a_connection_killed_in_a_transaction_is_policy_unavailable_and_the_next_works(
    store: Database, database: DatabaseUrls
) -> None:
    async def interrupted() -> None:
        async with store.tenant("acme") as tx:
            backend = await one(tx, "select pg_backend_pid()")
            async with owner(database.owner) as connection:
                await connection.execute("select pg_terminate_backend(%s, 5000)", (backend,))
            await tx.execute("select 1")

    with pytest.raises(AccessPolicyUnavailable) as refused:
        await interrupted()
    assert refused.value.retry_after_s == 1
    async with store.tenant("acme") as tx:
        assert await one(tx, "select 1") == 1


async def test_a_cancellation_that_arrives_with_the_connection_is_not_lost() -> None:
    class Pool:
        """Loses a cancellation exactly as the library does on Python 3.11."""

        returned: list[object] = []

        async def getconn(self, timeout: float) -> object:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1)
            return "connection"

        async def putconn(self, connection: object) -> None:
            self.returned.append(connection)

    pool = Pool()
    taking = asyncio.create_task(_take(pool, 1))  # type: ignore[arg-type]
    await asyncio.wait({taking})
    assert taking.cancelled()
    assert pool.returned == ["connection"]


@pytest.mark.slow
async def test_a_statement_that_takes_too_long_is_stopped(store: Database) -> None:
    began = time.monotonic()
    with pytest.raises(AccessPolicyUnavailable):
        async with store.tenant("acme") as tx:
            await tx.execute("select pg_sleep(30)")
    assert STORE_STATEMENT_MAX_MS / 1000 <= time.monotonic() - began < STORE_TRANSACTION_MAX_MS / 1000 + 1


@pytest.mark.slow
@pytest.mark.faults
async def test_a_server_that_hangs_holds_nobody(store: Database) -> None:
    async with store.tenant("acme") as tx:
        backend = await one(tx, "select pg_backend_pid()")
    assert isinstance(backend, int)
    os.kill(backend, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(AccessPolicyUnavailable):
            async with store.tenant("acme") as tx:
                await tx.execute("select 1")
        assert time.monotonic() - began < STORE_TRANSACTION_MAX_MS / 1000 + 0.5
    finally:
        os.kill(backend, signal.SIGCONT)


@pytest.mark.slow
async def test_waiting_for_a_connection_is_bounded(store: Database) -> None:
    release = asyncio.Event()

    async def hold() -> None:
        async with store.tenant("acme"):
            await release.wait()

    size = store._app.max_size
    holders = [asyncio.create_task(hold()) for _ in range(size)]
    try:
        async with asyncio.timeout(10):
            while store._app.get_stats().get("pool_available", 0) or store._app.get_stats()["pool_size"] < size:  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # the pool grows by itself and tells nobody
        began = time.monotonic()
        with pytest.raises(AccessPolicyUnavailable):
            async with store.tenant("globex"):
                raise AssertionError("not reached")
        assert time.monotonic() - began < STORE_WAIT_MAX_MS / 1000 + 1
    finally:
        release.set()
        await asyncio.gather(*holders, return_exceptions=True)


async def test_a_login_that_can_bypass_the_rules_is_refused(database: DatabaseUrls) -> None:
    with pytest.raises(PermissionError, match="neither superuser"):
        async with open_database(database.owner, database.platform, database.app):
            raise AssertionError("not reached")


async def test_a_database_that_is_not_there_is_policy_unavailable(database: DatabaseUrls) -> None:
    wrong = database.app.replace("app-password", "wrong")
    with pytest.raises(AccessPolicyUnavailable):
        async with open_database(wrong, database.platform, database.app, within_s=0.3):
            raise AssertionError("not reached")

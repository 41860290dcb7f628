"""Connections to PostgreSQL: two pools, one for each login, and the one place that sets the tenant.

`tenant(id)` opens a transaction in which row-level security shows that tenant's rows and nobody else's;
`platform()` one of the login that may cross tenants, verb by verb (`gateway/store/platform`). Both end with the
block: committed when it returns, rolled back when it raises or is cancelled. `ask(id, …)` is a tenant's transaction of
a single statement, sent together with its settings: one exchange instead of four, for what a running guest waits for;
`ask_platform(…)` the same for the other login.

Nothing here waits without a bound: for a connection (then 503), for a statement (the server is asked to stop it)
and for the whole transaction (its socket is cut, so that even a stopped server holds nobody). Whatever the database
cannot answer becomes `AccessPolicyUnavailable`, because what is allowed could not be checked.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, LiteralString, TypeVar

import psycopg
from psycopg import AsyncConnection, OperationalError
from psycopg.adapt import AdaptersMap, Buffer, Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import class_row
from psycopg.types.string import TextLoader
from psycopg_pool import AsyncConnectionPool

from shared.cancellation import heeding
from shared.deadline import Deadline
from shared.errors import AccessPolicyUnavailable
from shared.limits import (
    STORE_POOL_MAX,
    STORE_STATEMENT_MAX_MS,
    STORE_TRANSACTION_MAX_MS,
    STORE_WAIT_MAX_MS,
    STORE_WAITING_MAX,
)

Tx = AsyncConnection[tuple[Any, ...]]
"""An open transaction: what the functions of `gateway/store` take as their first argument."""

Row = TypeVar("Row")

_OPEN: Final = "select set_config('app.tenant', %s, true), set_config('statement_timeout', %s, true)"
_RETRY_AFTER_S: Final = 1


class _RawJson(Loader):
    """jsonb as the bytes it is: decoded into a struct where it is used, never into a dictionary here."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


def adapters() -> AdaptersMap:
    """How values leave the database: UUIDs as text, JSON as bytes, everything else as psycopg has it."""
    found = AdaptersMap(psycopg.adapters)
    found.register_loader("uuid", TextLoader)
    found.register_loader("jsonb", _RawJson)
    found.register_loader("json", _RawJson)
    return found


class Database:
    """Transactions of both logins. Built by `open_database`."""

    def __init__(self, app: AsyncConnectionPool[Tx], platform: AsyncConnectionPool[Tx]) -> None:
        self._app = app
        self._platform = platform

    @asynccontextmanager
    async def tenant(self, tenant_id: str) -> AsyncIterator[Tx]:
        """A transaction that sees the rows of `tenant_id` only.

        Args:
            tenant_id: from a verified credential, never from a request's own words.

        Raises:
            AccessPolicyUnavailable: no connection in time, or the database failed or was too slow.
        """
        if not tenant_id:
            raise ValueError("a tenant transaction needs a tenant")
        async with _transaction(self._app, tenant_id) as tx:
            yield tx

    async def ask(
        self, tenant_id: str, statement: LiteralString, parameters: Mapping[str, Any], kind: type[Row]
    ) -> list[Row]:
        """The rows of one statement, in a transaction of its own that sees the rows of `tenant_id` only.

        Args:
            tenant_id: as `tenant` takes it.
            kind: of each row; its fields are the columns.

        Raises:
            AccessPolicyUnavailable: as `tenant`. Nothing is tried twice: a statement whose answer was lost may have
                been committed.
        """
        if not tenant_id:
            raise ValueError("a tenant transaction needs a tenant")
        return await heeding(_ask(self._app, tenant_id, statement, parameters, kind))

    async def ask_platform(
        self, statement: LiteralString | bytes, parameters: Mapping[str, Any] | Sequence[Any], kind: type[Row]
    ) -> list[Row]:
        """As `ask`, by the cross-tenant login: for what every call of a guest waits for before its tenant is known."""
        return await heeding(_ask(self._platform, "", statement, parameters, kind))

    @asynccontextmanager
    async def platform(self) -> AsyncIterator[Tx]:
        """A transaction of the cross-tenant login. Raises `AccessPolicyUnavailable` like `tenant`."""
        async with _transaction(self._platform, "") as tx:
            yield tx


@asynccontextmanager
async def open_database(
    app_url: str, platform_url: str, direct_url: str, *, within_s: float = 10
) -> AsyncIterator[Database]:
    """Both pools, open and checked; closed at the end of the block.

    Args:
        app_url: the serving login, `gateway_app`.
        platform_url: the cross-tenant login, `gateway_platform`.
        direct_url: the way around a connection pooler; when its host or port differ from `app_url`'s, statements
            are not prepared, because a transaction pooler would lose them.
        within_s: how long the first connection of each login may take, in seconds.

    Raises:
        AccessPolicyUnavailable: no connection in that time.
        PermissionError: a login may bypass row-level security; serving with it would void tenant isolation.
    """
    pooled = _address(app_url) != _address(direct_url)
    async with (
        _pool("app", app_url, within_s, pooled=pooled) as app,
        _pool("platform", platform_url, within_s, pooled=pooled) as platform,
    ):
        database = Database(app, platform)
        for pool in (app, platform):
            await _refuse_powerful_login(pool)
        yield database


@asynccontextmanager
async def _pool(name: str, url: str, within_s: float, *, pooled: bool) -> AsyncIterator[AsyncConnectionPool[Tx]]:
    kwargs: dict[str, Any] = {"autocommit": True, "context": adapters()}
    if pooled:
        kwargs["prepare_threshold"] = None
    pool: AsyncConnectionPool[Tx] = AsyncConnectionPool(
        make_conninfo(url, **_conninfo_defaults(url, name)),
        kwargs=kwargs,
        min_size=1,
        max_size=STORE_POOL_MAX,
        max_waiting=STORE_WAITING_MAX,
        timeout=STORE_WAIT_MAX_MS / 1000,
        reconnect_timeout=30,
        name=f"gateway-{name}",
        open=False,
    )
    try:
        await pool.open(wait=True, timeout=within_s)
    except OperationalError as error:
        await pool.close()
        raise AccessPolicyUnavailable(f"The database cannot be reached as {name}") from error
    try:
        yield pool
    finally:
        await pool.close()


def _conninfo_defaults(url: str, name: str) -> dict[str, str]:
    defaults = {
        "application_name": f"gateway-{name}",
        "connect_timeout": "2",
        "target_session_attrs": "read-write",  # after a fail-over the old primary is no use (fault F16)
        "keepalives_idle": "10",
        "tcp_user_timeout": str(STORE_TRANSACTION_MAX_MS * 2),
    }
    given = conninfo_to_dict(url)
    return {key: value for key, value in defaults.items() if key not in given}


def _address(url: str) -> tuple[Any, Any]:
    parts = conninfo_to_dict(url)
    return parts.get("host"), parts.get("port")


async def _refuse_powerful_login(pool: AsyncConnectionPool[Tx]) -> None:
    async with _transaction(pool, "") as tx:
        cursor = await tx.execute(
            "select current_user, rolsuper or rolbypassrls from pg_roles where rolname = current_user"
        )
        row = await cursor.fetchone()
    if row is None or row[1]:
        raise PermissionError("the database login of a serving gateway must be neither superuser nor BYPASSRLS")


@asynccontextmanager
async def _transaction(pool: AsyncConnectionPool[Tx], tenant_id: str) -> AsyncIterator[Tx]:
    try:
        connection = await _begin(pool, tenant_id)
        try:
            with _cut_off(connection, STORE_TRANSACTION_MAX_MS):
                try:
                    yield connection
                except BaseException:
                    await _roll_back(connection)
                    raise
                await connection.execute("commit")
        finally:
            await pool.putconn(connection)
    except OperationalError as error:
        raise AccessPolicyUnavailable("The database did not answer in time", retry_after_s=_RETRY_AFTER_S) from error


async def _ask(
    pool: AsyncConnectionPool[Tx],
    tenant_id: str,
    statement: LiteralString | bytes,
    parameters: Mapping[str, Any] | Sequence[Any],
    kind: type[Row],
) -> list[Row]:
    try:
        connection = await _take_live(pool)
        try:
            cursor = connection.cursor(row_factory=class_row(kind))
            with _cut_off(connection, STORE_TRANSACTION_MAX_MS):
                # Everything up to the end of the pipeline is one transaction (PostgreSQL, "Pipeline Mode"): the settings
                # end with it, and when they fail the statement is skipped.
                async with connection.pipeline():
                    await connection.execute(_OPEN, (tenant_id, str(STORE_STATEMENT_MAX_MS)))
                    await cursor.execute(statement, parameters)
            return await cursor.fetchall()
        finally:
            await _give_back(pool, connection)
    except OperationalError as error:
        raise AccessPolicyUnavailable("The database did not answer in time", retry_after_s=_RETRY_AFTER_S) from error


async def _take_live(pool: AsyncConnectionPool[Tx]) -> Tx:
    """A connection whose server has not hung up: what is sent on such a one is lost, and nobody could say how far."""
    deadline = Deadline.after_ms(STORE_WAIT_MAX_MS)
    while True:
        connection = await _take(pool, max(0.001, deadline.remaining_s()))
        if _is_live(connection):
            return connection
        await connection.close()
        await pool.putconn(connection)


def _is_live(connection: Tx) -> bool:
    """Whether an idle connection's server is still there, as far as can be seen without asking it."""
    if connection.closed:
        return False
    if not _has_news(connection):
        return True
    try:
        connection.pgconn.consume_input()  # a notice, or the words of a server that ends: then its end is next
    except OperationalError:
        return False
    return not _has_news(connection)


def _has_news(connection: Tx) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


async def _give_back(pool: AsyncConnectionPool[Tx], connection: Tx) -> None:
    # One that was interrupted in the middle of an exchange is thrown away, so that no state and no answer can leak.
    status = connection.pgconn
    if status.transaction_status != TransactionStatus.IDLE or status.pipeline_status != PipelineStatus.OFF:
        await connection.close()
    await pool.putconn(connection)


async def _begin(pool: AsyncConnectionPool[Tx], tenant_id: str) -> Tx:
    """A connection inside an open transaction with its settings. Broken connections are replaced while time lasts."""
    deadline = Deadline.after_ms(STORE_WAIT_MAX_MS)
    while True:
        connection = await _take(pool, max(0.001, deadline.remaining_s()))
        try:
            with _cut_off(connection, STORE_TRANSACTION_MAX_MS):
                await connection.execute("begin")
                await connection.execute(_OPEN, (tenant_id, str(STORE_STATEMENT_MAX_MS)))
        except OperationalError:
            await pool.putconn(connection)
            if not connection.closed or deadline.passed():
                raise
        except BaseException:
            await _roll_back(connection)
            await pool.putconn(connection)
            raise
        else:
            return connection


async def _take(pool: AsyncConnectionPool[Tx], within_s: float) -> Tx:
    """A connection of the pool, or the cancellation that arrived in the same moment.

    The pool waits with `asyncio.wait_for`, which before Python 3.12 drops a cancellation that coincides with the end
    of the wait (CPython issue 81839). A dropped one would leave a task that was asked to end running for ever.
    """
    task = asyncio.current_task()
    assert task is not None
    asked_to_end = task.cancelling()
    connection = await pool.getconn(timeout=within_s)
    if task.cancelling() > asked_to_end:
        await pool.putconn(connection)
        raise asyncio.CancelledError
    return connection


async def _roll_back(connection: Tx) -> None:
    # A connection that cannot roll back is closed; the pool then throws it away, and no state can leak.
    try:
        await connection.execute("rollback")
    except BaseException as error:
        await connection.close()
        if not isinstance(error, psycopg.Error):
            raise


@contextmanager
def _cut_off(connection: Tx, after_ms: int) -> Iterator[None]:
    """Shut the connection's socket when the block lasts longer: every wait on it then ends with an error."""
    timer = asyncio.get_running_loop().call_later(after_ms / 1000, _shut, connection)
    try:
        yield
    finally:
        timer.cancel()


def _shut(connection: Tx) -> None:
    if connection.closed:
        return
    with socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)

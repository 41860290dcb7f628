"""Real servers for the gateway's tests: PostgreSQL and S3, each once for a session, in a thread of their own.

The servers belong to an event loop that runs as long as they do, so that tests may come and go with loops of theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Generic, TypeVar

import msgspec
import psycopg

from deploy.local.postgres import Postgres
from gateway.migrate import migrate

T = TypeVar("T")

START_MAX_S = 90.0
TEMPLATE = "gateway_template"
APP_PASSWORD, PLATFORM_PASSWORD = "app-password", "platform-password"


class _Background(Generic[T]):
    """An async context manager, held open in a thread until told to close."""

    def __init__(self, manager: contextlib.AbstractAsyncContextManager[T]) -> None:
        self._manager = manager
        self._ready: threading.Event = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._error: BaseException | None = None
        self.value: T
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> T:
        self._thread.start()
        if not self._ready.wait(START_MAX_S):
            raise TimeoutError("the server did not start")
        if self._error is not None:
            raise self._error
        return self.value

    def stop(self) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_MAX_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._hold())
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits
            self._error = error
        finally:
            self._ready.set()

    async def _hold(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._manager as self.value:
            self._ready.set()
            await self._stop.wait()


@contextlib.contextmanager
def held(manager: contextlib.AbstractAsyncContextManager[T]) -> Iterator[T]:
    """The value of `manager`, open as long as the block."""
    background = _Background(manager)
    try:
        yield background.start()
    finally:
        background.stop()


class DatabaseUrls(msgspec.Struct, frozen=True):
    """One migrated database, as its owner and as the two logins that serve."""

    owner: str
    app: str
    platform: str


@contextlib.asynccontextmanager
async def owner(url: str) -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    """A connection of the superuser, outside every rule."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        yield connection


async def make_template(server: Postgres) -> None:
    """One migrated database that tests are copied from."""
    async with owner(server.url) as connection:
        await connection.execute(f"create database {TEMPLATE}")
    await migrate(server.address(TEMPLATE))
    async with owner(server.url) as connection:
        await connection.execute(f"alter role gateway_app login password '{APP_PASSWORD}'")
        await connection.execute(f"alter role gateway_platform login password '{PLATFORM_PASSWORD}'")


def urls(server: Postgres, name: str) -> DatabaseUrls:
    """The three connections of a database."""
    return DatabaseUrls(
        owner=server.address(name),
        app=server.address(name, "gateway_app", APP_PASSWORD),
        platform=server.address(name, "gateway_platform", PLATFORM_PASSWORD),
    )

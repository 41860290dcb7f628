"""A gateway with a debug stream, and open answers of it: what the tests of `/api/ext-debug/stream` share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import psycopg
import pytest
import pytest_asyncio
from psycopg.rows import dict_row
from redis.asyncio import Redis as Client

from deploy.local.redis import Redis, redis
from gateway.cli.sse import EventParser, ServerEvent
from tests.gateway.debug.written import Writing
from tests.gateway.seeds import Seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import Served, serving

DEBUG = "extension:debug"
WAIT_MAX_S = 15.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def debug_redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Redis]:
    async with redis(tmp_path_factory.mktemp("redis") / "data", keep=False) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(shared_database: DatabaseUrls, debug_redis: Redis) -> AsyncIterator[Served]:
    async with serving(shared_database, DEBUG_STREAM_REDIS_URL=debug_redis.url, EXT_DEBUG_SSE_TAIL_COUNT="3") as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def debug_client(debug_redis: Redis) -> AsyncIterator[Client]:
    async with Client.from_url(debug_redis.url, protocol=2) as found:
        yield found


class Viewing:
    """One open answer."""

    def __init__(self, response: Any) -> None:
        self.status: int = response.status
        self.headers = response.headers
        self.events: list[ServerEvent] = []
        self.ended = False
        self._response = response
        self._parser = EventParser()

    async def until(self, count: int, kind: str = "log") -> list[Any]:
        """The data of the events of a kind, once there are that many."""
        async with asyncio.timeout(WAIT_MAX_S):
            while len(self.of(kind)) < count and not self.ended:
                await self._more()
        return self.of(kind)

    async def to_the_end(self) -> None:
        async with asyncio.timeout(WAIT_MAX_S):
            while not self.ended:
                await self._more()

    async def _more(self) -> None:
        piece = await self._response.content.readany()
        self.ended = not piece
        self.events += self._parser.feed(piece)

    def of(self, kind: str) -> list[Any]:
        return [msgspec.json.decode(event.data) for event in self.events if event.event == kind]

    @property
    def lines(self) -> list[str]:
        return [data["message"] for data in self.of("log")]


@contextlib.asynccontextmanager
async def watching(watched: Served, query: str, **headers: str) -> AsyncIterator[Viewing]:
    """An open answer."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"http://127.0.0.1:{watched.port}/api/ext-debug/stream?{query}"
    async with watched.session.get(url, headers=sent) as response:
        assert response.status == 200, await response.text()
        yield Viewing(response)


async def refused(watched: Served, query: str, **headers: str) -> Any:
    return await watched.call("GET", f"/api/ext-debug/stream?{query}", **headers)


async def say(client: Client, install: Seed, *messages: str, writing: Writing | None = None, **more: Any) -> list[str]:
    """Write lines into the stream of an install."""
    return await (writing or Writing()).say(
        client,
        *messages,
        key=f"ext-debug:{install.tenant_id}:{install.extension_id}",
        tenant_id=install.tenant_id,
        extension_id=install.extension_id,
        **{"install_id": install.install_id, **more},
    )


def audit(database: DatabaseUrls, tenant_id: str) -> list[dict[str, Any]]:
    with psycopg.connect(database.owner, row_factory=dict_row) as connection:
        return connection.execute(
            "select * from extension_audit_log where tenant_id = %s order by id", (tenant_id,)
        ).fetchall()

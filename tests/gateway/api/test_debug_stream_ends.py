"""`GET /api/ext-debug/stream` through a real server: how many may watch, how the answer ends, and what is away."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis as Client

from deploy.local.redis import Redis, redis
from shared.limits import DEBUG_VIEWERS_PER_TENANT_MAX
from tests.gateway.api.open_stream import DEBUG, refused, say, watching
from tests.gateway.debug.screen import until
from tests.gateway.debug.written import Writing
from tests.gateway.seeds import Seed, seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import Served, bearer, is_problem, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


# ---- how it ends --------------------------------------------------------------------------------------------------------


async def test_a_tenant_may_have_so_many_viewers_and_another_one_is_not_hindered(
    watched: Served, shared_database: DatabaseUrls, install: Seed
) -> None:
    query, credential = f"extensionId={install.extension_id}", bearer(install, DEBUG)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(DEBUG_VIEWERS_PER_TENANT_MAX):
            await stack.enter_async_context(watching(watched, query, authorization=credential))
        answer = await refused(watched, query, authorization=credential)
        is_problem(answer, 429, "rate_limited")
        assert int(answer.headers["retry-after"]) > 0
        theirs = seed(shared_database, f"{install.tenant_id}-quiet")
        other = f"extensionId={theirs.extension_id}"
        async with watching(watched, other, authorization=bearer(theirs, DEBUG)) as seen:
            assert seen.status == 200
        assert len(watched.ctx.debug.feeds) <= 2
    await until(lambda: watched.ctx.debug._seats[install.tenant_id] == 0)
    async with watching(watched, query, authorization=credential) as seen:
        assert seen.status == 200


async def test_viewers_that_left_leave_nothing_behind(watched: Served, install: Seed) -> None:
    query, credential = f"extensionId={install.extension_id}", bearer(install, DEBUG)
    for _ in range(3):
        async with watching(watched, query, authorization=credential) as seen:
            await seen.until(1, "status")
    await until(lambda: len(watched.ctx.debug.feeds) == 0 and watched.ctx.debug._seats.total() == 0)


async def test_a_credential_that_ends_ends_the_stream(watched: Served, install: Seed) -> None:
    credential = bearer(install, DEBUG, exp=time.time() + 1)
    async with watching(watched, f"extensionId={install.extension_id}", authorization=credential) as seen:
        await seen.to_the_end()
        assert seen.of("status")[-1] == {"state": "expired"}


async def test_a_gateway_that_stops_ends_its_streams_at_once(
    shared_database: DatabaseUrls, debug_redis: Redis, install: Seed
) -> None:
    async with serving(shared_database, DEBUG_STREAM_REDIS_URL=debug_redis.url) as own:
        query, credential = f"extensionId={install.extension_id}", bearer(install, DEBUG)
        async with watching(own, query, authorization=credential) as seen:
            await seen.until(1, "status")
            own.ctx.drain.set()
            began = time.monotonic()
            await seen.to_the_end()
            assert time.monotonic() - began < 1
            assert seen.of("status")[-1] == {"state": "restarting"}
        async with watching(own, query, authorization=credential) as late:
            await late.to_the_end()
            assert late.of("status") == [{"state": "restarting"}]
        began = time.monotonic()
    assert time.monotonic() - began < 5


async def test_a_client_that_never_reads_is_cut_and_its_place_is_free_again(
    shared_database: DatabaseUrls,
    debug_redis: Redis,
    install: Seed,
    debug_client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.server.CLIENT_TAKES_NOTHING_MAX_MS", 1000)
    async with serving(shared_database, DEBUG_STREAM_REDIS_URL=debug_redis.url, EXT_DEBUG_SSE_TAIL_COUNT="2000") as own:
        writing = Writing()
        for _ in range(10):
            await say(debug_client, install, *["x" * 8000] * 200, writing=writing)
        idle = socket.create_connection(("127.0.0.1", own.port))
        try:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            idle.sendall(
                f"GET /api/ext-debug/stream?extensionId={install.extension_id} HTTP/1.1\r\nhost: x\r\n"
                f"authorization: {bearer(install, DEBUG)}\r\n\r\n".encode()
            )
            await until(lambda: own.ctx.debug._seats.total() == 1)
            await until(lambda: own.ctx.debug._seats.total() == 0)
        finally:
            idle.close()


# ---- without Redis, without a stream --------------------------------------------------------------------------------------


async def test_a_gateway_without_a_stream_says_what_is_missing(shared_database: DatabaseUrls, install: Seed) -> None:
    async with serving(shared_database) as own:
        answer = await refused(own, f"extensionId={install.extension_id}", authorization=bearer(install, DEBUG))
        is_problem(answer, 404, "not_found")
        assert "DEBUG_STREAM_REDIS_URL" in answer.json()["detail"]


async def test_a_redis_that_is_away_is_waited_for(shared_database: DatabaseUrls, install: Seed, tmp_path: Path) -> None:
    place = tmp_path / "redis"
    async with redis(place) as first:
        pass
    async with serving(shared_database, DEBUG_STREAM_REDIS_URL=first.url) as own:
        query, credential = f"extensionId={install.extension_id}", bearer(install, DEBUG)
        async with watching(own, query, authorization=credential) as seen:
            assert await seen.until(1, "status") == [{"state": "degraded"}]
            async with redis(place, first.port, keep=False) as again, Client.from_url(again.url, protocol=2) as client:
                await say(client, install, "back")
                await seen.until(1)
                assert (await seen.until(2, "status"))[-1] == {"state": "live"}

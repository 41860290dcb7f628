"""The embedded Redis: data and passwords are kept, and the runner's user may only add to debug streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis as Client
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from deploy.local.failures import StackError
from deploy.local.redis import Redis, redis


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Redis]:
    """A running server of this test's own."""
    async with redis(tmp_path / "redis", keep=False) as found:
        yield found


async def test_data_and_addresses_are_kept_over_a_restart(
    tmp_path: Path, gone: Callable[[int], Awaitable[None]]
) -> None:
    place = tmp_path / "redis"
    async with redis(place) as first, Client.from_url(first.url) as client:
        await client.set("kept", "here")
    await gone(first.pid)
    async with redis(place, first.port, keep=False) as again:
        assert again.url == first.url
        async with Client.from_url(again.url) as client:
            assert await client.get("kept") == b"here"
    assert not place.exists()


async def test_a_client_without_password_is_refused(server: Redis) -> None:
    async with Client(host=server.host, port=server.port) as client:
        with pytest.raises(AuthenticationError):
            await client.ping()


async def test_the_runner_may_add_to_a_debug_stream(server: Redis) -> None:
    async with Client.from_url(server.runner_url) as runner:
        await runner.xadd("ext-debug:acme:hello", {"message": "hi"}, maxlen=10, approximate=True)
    async with Client.from_url(server.url) as gateway:
        assert await gateway.xlen("ext-debug:acme:hello") == 1


async def test_the_runner_may_do_nothing_else(server: Redis) -> None:
    async with Client.from_url(server.runner_url) as runner:
        with pytest.raises(NoPermissionError):
            await runner.xadd("elsewhere", {"message": "hi"})
        with pytest.raises(NoPermissionError):
            await runner.xread({"ext-debug:acme:hello": "0"})
        with pytest.raises(NoPermissionError):
            await runner.get("ext-debug:acme:hello")
        with pytest.raises(NoPermissionError):
            await runner.flushall()


async def test_streams_and_scripts_are_the_real_ones(server: Redis) -> None:
    async with Client.from_url(server.url) as client:
        assert await client.eval("return redis.call('incrby', KEYS[1], ARGV[1])", 1, "count", 3) == 3
        with pytest.raises(ResponseError):
            await client.eval("this is not Lua", 0)


async def test_the_files_with_passwords_are_private(server: Redis, tmp_path: Path) -> None:
    for name in ("passwords.json", "valkey.conf"):
        assert (tmp_path / "redis" / name).stat().st_mode & 0o777 == 0o600


async def test_a_taken_port_is_an_error_with_the_servers_own_words(server: Redis, tmp_path: Path) -> None:
    with pytest.raises(StackError, match="Redis ended with status 1") as caught:
        async with redis(tmp_path / "two", server.port, keep=False):
            raise AssertionError("two servers on one port")
    assert "Address already in use" in caught.value.report()

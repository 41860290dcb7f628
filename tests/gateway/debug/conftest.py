"""A real Redis for the debug stream's tests, and feeds that read it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis as Client

from deploy.local.redis import Redis, redis
from gateway.debug.feeds import Feeds
from gateway.streams.debug import open_debug_streams


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Redis]:
    async with redis(tmp_path / "redis", keep=False) as found:
        yield found


@pytest.fixture
async def client(server: Redis) -> AsyncIterator[Client]:
    """What a runner would write with."""
    async with Client.from_url(server.url, protocol=2) as found:
        yield found


@pytest.fixture
async def feeds(server: Redis) -> AsyncIterator[Feeds]:
    async with open_debug_streams(server.url) as streams:
        yield Feeds(streams, "ext-debug:")

"""A real Redis for what counts in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.redis import Redis, redis
from gateway.streams.rates import SharedRates, open_shared_rates


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Redis]:
    async with redis(tmp_path / "redis", keep=False) as found:
        yield found


@pytest.fixture
async def rates(server: Redis) -> AsyncIterator[SharedRates]:
    async with open_shared_rates(server.url) as found:
        yield found

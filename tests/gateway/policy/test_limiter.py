"""Places for calls: together through Redis, alone without it, and nothing waits for a Redis that does not answer."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from deploy.local.redis import Redis, redis
from gateway.policy.limiter import Limiter, open_limiter
from shared.call_limits import RATES_ANSWER_MAX_MS
from shared.errors import RateLimited, TenantOverConcurrency
from tests.runner.waiting import until

INSTALL = "7b7f3f5e-7a6d-4c1c-9d43-2f9d0a3b5a11"
OTHER = "7b7f3f5e-7a6d-4c1c-9d43-2f9d0a3b5a12"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the settings that counts here."""

    redis_url: str | None
    tenant_calls_per_s: int = 1_000
    install_calls_per_s: int = 1_000
    tenant_running_max: int = 8
    install_running_max: int = 4


def limiter(url: str | None, **changes: int) -> Any:
    return open_limiter(Settings(redis_url=url, **changes), CollectorRegistry())  # type: ignore[arg-type]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Redis]:
    async with redis(tmp_path / "redis", keep=False) as found:
        yield found


async def entered(one: Limiter, count: int, install: str = INSTALL, tenant: str = "acme") -> list[Any]:
    asked = (one.enter(tenant, install, 1_000) for _ in range(count))
    return list(await asyncio.gather(*asked, return_exceptions=True))


async def granted_at_last(one: Limiter) -> None:
    """Return when a call got the place that was given back: Redis hears of that behind the answer."""
    async with asyncio.timeout(5):
        while isinstance((await entered(one, 1))[0], Exception):  # noqa: ASYNC110 - Redis tells nobody when it counted
            await asyncio.sleep(0.01)


async def test_two_gateways_count_together(server: Redis) -> None:
    async with limiter(server.url) as one, limiter(server.url) as two:
        first = await entered(one, 3)
        second = await entered(two, 2)
        assert [isinstance(place, RateLimited) for place in first + second] == [False] * 4 + [True]
        one.leave(first[0])
        await granted_at_last(two)


async def test_many_calls_at_once_are_granted_exactly_as_many_as_fit(server: Redis) -> None:
    async with limiter(server.url, tenant_running_max=50, install_running_max=50) as one:
        found = await entered(one, 300)
        assert sum(not isinstance(place, Exception) for place in found) == 50
        assert {type(place) for place in found if isinstance(place, Exception)} == {TenantOverConcurrency}


async def test_a_caller_that_leaves_while_it_asks_keeps_no_place(server: Redis) -> None:
    async with limiter(server.url, install_running_max=1) as one:
        asking = asyncio.ensure_future(one.enter("acme", INSTALL, 60_000))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await granted_at_last(one)


async def test_without_redis_each_gateway_counts_for_itself() -> None:
    async with limiter(None) as one:
        assert one.away
        found = await entered(one, 5)
        assert [isinstance(place, RateLimited) for place in found] == [False] * 4 + [True]
        assert found[-1].extra["limited_by"]["counted_by"] == "this gateway"
        for place in found[:4]:
            one.leave(place)
        assert not isinstance((await entered(one, 1))[0], Exception)


async def test_a_hanging_redis_costs_one_answer_time_and_each_gateway_grants_its_part_until_it_is_back(
    server: Redis,
) -> None:
    async with limiter(server.url) as one, limiter(server.url) as two:
        await until(lambda: one._gateways == 2)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            found = await entered(one, 3)
            assert time.monotonic() - began < 20 * RATES_ANSWER_MAX_MS / 1000
            assert [isinstance(place, RateLimited) for place in found] == [False, False, True]  # 4 ÷ 2 gateways
            assert one.away
            for place in found[:2]:
                one.leave(place)
            began = time.monotonic()
            for _ in range(100):
                one.leave((await entered(one, 1, OTHER))[0])
            assert time.monotonic() - began < 1  # nobody asks it any more
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await until(lambda: not one.away and not two.away)
        assert sum(not isinstance(place, Exception) for place in await entered(one, 5)) == 4


async def test_refusals_are_counted_by_what_refused() -> None:
    registry = CollectorRegistry()
    async with open_limiter(Settings(redis_url=None), registry) as one:  # type: ignore[arg-type]
        await entered(one, 6)
        assert registry.get_sample_value("ext_rate_limited_total", {"scope": "install", "kind": "running"}) == 2
        assert registry.get_sample_value("ext_rates_shared") == 0

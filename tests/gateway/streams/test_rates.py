"""The script in Redis counts as the model does, for all gateways, in one round trip; what happens without Redis."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from redis.asyncio import Redis as Client

from deploy.local.ports import random_free
from deploy.local.redis import Redis
from gateway.policy.rates import Ask, LocalRates, Plan
from gateway.streams.rates import RatesAwayError, SharedRates, open_shared_rates
from shared.call_limits import RATES_SILENT_MAX_S

PLAN = Plan(tenant_per_s=40, install_per_s=25, tenant_running=6, install_running=4)
START_US = 1_790_000_000_000_000


def ask(number: int, tenant: str = "acme", install: str = "i-1", lease_ms: int = 2_000) -> Ask:
    return Ask(lease_id=f"l{number}", tenant_id=tenant, install_id=install, lease_ms=lease_ms)


@pytest.mark.parametrize("seed", range(8))
async def test_redis_and_the_model_agree_call_by_call(rates: SharedRates, seed: int) -> None:
    chance, model, now = random.Random(seed), LocalRates(), START_US
    running: list[Ask] = []
    for number in range(300):
        now += chance.choice((0, 1, 999, 20_000, 40_000, 250_000, 2_500_000 if number % 50 == 49 else 7))
        if running and chance.random() < 0.5:
            ended = [running.pop(chance.randrange(len(running)))]
            await rates.give_back(ended)
            model.give_back(ended[0])
            continue
        batch = [
            ask(number * 10 + one, install=f"i-{chance.randrange(3)}", lease_ms=chance.choice((100, 2_000)))
            for one in range(chance.randrange(1, 4))
        ]
        shared = await rates.ask(PLAN, batch, now)
        assert shared == [model.ask(PLAN, one, now) for one in batch]
        running += [one for one, verdict in zip(batch, shared, strict=True) if not verdict.refused]


async def test_redis_own_clock_counts_when_none_is_given(rates: SharedRates) -> None:
    verdicts = await rates.ask(PLAN, [ask(number) for number in range(5)])
    assert [verdict.refused for verdict in verdicts] == [0, 0, 0, 0, 2]
    await rates.give_back([ask(0)])
    assert (await rates.ask(PLAN, [ask(9)]))[0].refused == 0


async def test_a_restarted_redis_is_given_the_script_again(rates: SharedRates, server: Redis) -> None:
    assert (await rates.ask(PLAN, [ask(1)]))[0].refused == 0
    async with Client.from_url(server.url, protocol=2) as client:
        await client.script_flush()
    assert (await rates.ask(PLAN, [ask(2)]))[0].refused == 0


async def test_everything_that_is_kept_ends_by_itself(rates: SharedRates, server: Redis) -> None:
    await rates.ask(PLAN, [ask(1)])
    async with Client.from_url(server.url, protocol=2) as client:
        keys = sorted(key.decode() for key in await client.keys("*"))
        assert keys == ["busy:{acme}", "busy:{acme}:i-1", "rate:{acme}", "rate:{acme}:i-1"]
        assert all([0 < await client.pttl(key) <= 65_000 for key in keys])


async def test_gateways_know_how_many_live_until_one_is_silent_or_leaves(rates: SharedRates, server: Redis) -> None:
    assert await rates.heartbeat("one") == 1
    assert await rates.heartbeat("two") == 2
    async with Client.from_url(server.url, protocol=2) as client:
        seconds, _ = await client.time()
        await client.zadd("gateways", {"one": seconds - RATES_SILENT_MAX_S - 1})
    assert await rates.heartbeat("two") == 1
    assert await rates.heartbeat("three") == 2
    await rates.leave("three")
    assert await rates.heartbeat("two") == 1


async def test_a_redis_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    async with open_shared_rates(f"redis://127.0.0.1:{random_free()}/0") as rates, asyncio.timeout(2):
        with pytest.raises(RatesAwayError):
            await rates.ask(PLAN, [ask(1)])
        with pytest.raises(RatesAwayError):
            await rates.heartbeat("one")
        with pytest.raises(RatesAwayError):
            await rates.give_back([ask(1)])


async def test_a_full_redis_counts_as_away(rates: SharedRates, server: Redis) -> None:
    async with Client.from_url(server.url, protocol=2) as client:
        await client.config_set("maxmemory", "1")
        with pytest.raises(RatesAwayError, match="maxmemory"):
            await rates.ask(PLAN, [ask(1)])
        await client.config_set("maxmemory", "0")
    assert (await rates.ask(PLAN, [ask(1)]))[0].refused == 0

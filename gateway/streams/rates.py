"""The counting of `gateway.policy.rates` for all gateways together, in Redis: any number of calls in one round trip.

One script decides and counts, so that nothing is taken unless everything is granted. Every gateway runs it with the
same clock, Redis' own. Keys of one tenant share a hash tag, and are built from validated ids only:

    rate:{acme}   rate:{acme}:<install>        microseconds at which the bucket is full again
    busy:{acme}   busy:{acme}:<install>        a sorted set of leases by their end
    gateways                                   a sorted set of gateways by when they were last heard of
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from gateway.policy.rates import BURST_US, Ask, Plan, Verdict, interval_us
from gateway.streams.connect import connect
from shared.call_limits import RATES_ANSWER_MAX_MS, RATES_SILENT_MAX_S
from shared.cancellation import heeding

GATEWAYS: Final = "gateways"
_CONNECTIONS_MAX: Final = 4  # asking, giving back, the heartbeat, one to spare

SCRIPT: Final = """#!lua
local now = tonumber(ARGV[8])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
local lease, lease_us, burst = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local step = { tonumber(ARGV[4]), tonumber(ARGV[5]) }
local most = { tonumber(ARGV[6]), tonumber(ARGV[7]) }
local ahead, refused, retry = {}, 0, 0
for i = 1, 2 do
  redis.call('ZREMRANGEBYSCORE', KEYS[i + 2], '-inf', string.format('%.0f', now))
  if refused == 0 and redis.call('ZCARD', KEYS[i + 2]) >= most[i] then refused = i end
end
for i = 1, 2 do
  ahead[i] = math.max(0, tonumber(redis.call('GET', KEYS[i]) or '0') - now)
  if refused == 0 and ahead[i] + step[i] > burst then
    refused = i + 2
    retry = ahead[i] + step[i] - burst
  end
end
if refused == 0 then
  for i = 1, 2 do
    ahead[i] = ahead[i] + step[i]
    redis.call('SET', KEYS[i], string.format('%.0f', now + ahead[i]), 'PX', math.ceil(ahead[i] / 1000) + 1000)
    redis.call('ZADD', KEYS[i + 2], string.format('%.0f', now + lease_us), lease)
    redis.call('PEXPIRE', KEYS[i + 2], math.ceil(lease_us / 1000) + 60000)
  end
end
local function left(i) return math.max(0, math.floor((burst - ahead[i]) / step[i])) end
return { refused, retry, left(1), ahead[1], left(2), ahead[2] }
"""


class RatesAwayError(Exception):
    """Redis cannot be asked."""


class SharedRates:
    """The counting in one Redis.

    Args:
        client: gives up within `RATES_ANSWER_MAX_MS`.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._sha = ""

    async def ask(self, plan: Plan, asks: Sequence[Ask], now_us: int | None = None) -> list[Verdict]:
        """Grant or refuse calls, in order.

        Args:
            plan: what is allowed.
            asks: who wants to start; one round trip for all.
            now_us: microseconds since the epoch; without it Redis' own clock counts.

        Raises:
            RatesAwayError: nobody knows how many were counted; leases end by themselves.
        """
        try:
            found = await self._evaluate([_arguments(plan, ask, now_us) for ask in asks])
            return [msgspec.convert(one, Verdict) for one in found]
        except (RedisError, OSError, TimeoutError, msgspec.ValidationError) as error:
            raise RatesAwayError(str(error) or type(error).__name__) from error

    async def give_back(self, asks: Sequence[Ask]) -> None:
        """These calls ended. Raises `RatesAwayError`."""
        pipe = self._client.pipeline(transaction=False)
        for ask in asks:
            for key in _keys(ask)[2:]:
                pipe.zrem(key, ask.lease_id)
        await self._answers(pipe)

    async def heartbeat(self, gateway_id: str) -> int:
        """Say that a gateway lives; how many do. Raises `RatesAwayError`."""
        try:
            async with asyncio.timeout(RATES_ANSWER_MAX_MS / 1000):
                seconds, _ = await heeding(self._client.time())
        except (RedisError, OSError, TimeoutError) as error:
            raise RatesAwayError(str(error) or type(error).__name__) from error
        pipe = self._client.pipeline(transaction=False)
        pipe.zadd(GATEWAYS, {gateway_id: seconds})
        pipe.zremrangebyscore(GATEWAYS, "-inf", seconds - RATES_SILENT_MAX_S)
        pipe.zcard(GATEWAYS)
        return max(1, int((await self._answers(pipe))[-1]))

    async def leave(self, gateway_id: str) -> None:
        """A gateway ends: its share belongs to the others. Raises `RatesAwayError`."""
        pipe = self._client.pipeline(transaction=False)
        pipe.zrem(GATEWAYS, gateway_id)
        await self._answers(pipe)

    async def _evaluate(self, calls: Sequence[tuple[str, ...]]) -> list[Any]:
        async with asyncio.timeout(RATES_ANSWER_MAX_MS / 1000):
            if not self._sha:
                self._sha = str(await heeding(self._client.script_load(SCRIPT)))
            found = await self._run(calls)
            unknown = [number for number, answer in enumerate(found) if isinstance(answer, NoScriptError)]
            if unknown:  # Redis was restarted; what it did answer has been counted and is not asked again
                self._sha = str(await heeding(self._client.script_load(SCRIPT)))
                again = await self._run([calls[number] for number in unknown])
                for number, answer in zip(unknown, again, strict=True):
                    found[number] = answer
        for answer in found:
            if isinstance(answer, Exception):
                raise answer
        return found

    async def _run(self, calls: Sequence[tuple[str, ...]]) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        for call in calls:
            pipe.evalsha(self._sha, 4, *call)
        answers: list[Any] = await heeding(pipe.execute(raise_on_error=False))
        return answers

    async def _answers(self, pipe: Any) -> list[Any]:
        try:
            async with asyncio.timeout(RATES_ANSWER_MAX_MS / 1000):
                answers: list[Any] = await heeding(pipe.execute())
                return answers
        except (RedisError, OSError, TimeoutError) as error:
            raise RatesAwayError(str(error) or type(error).__name__) from error


@asynccontextmanager
async def open_shared_rates(url: str) -> AsyncIterator[SharedRates]:
    """The counting in the Redis at `url`, with connections of its own. Redis need not be there yet."""
    async with connect(url, answer_max_s=RATES_ANSWER_MAX_MS / 1000, connections_max=_CONNECTIONS_MAX) as client:
        yield SharedRates(client)


def _keys(ask: Ask) -> tuple[str, str, str, str]:
    tag = f"{{{ask.tenant_id}}}"
    return (f"rate:{tag}", f"rate:{tag}:{ask.install_id}", f"busy:{tag}", f"busy:{tag}:{ask.install_id}")


def _arguments(plan: Plan, ask: Ask, now_us: int | None) -> tuple[str, ...]:
    numbers = (
        ask.lease_ms * 1000,
        BURST_US,
        interval_us(plan.tenant_per_s),
        interval_us(plan.install_per_s),
        plan.tenant_running,
        plan.install_running,
    )
    return (*_keys(ask), ask.lease_id, *map(str, numbers), "" if now_us is None else str(now_us))

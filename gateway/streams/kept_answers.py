"""What is remembered of calls with an idempotency key, in Redis: claimed by one, ended by the same, gone after a day.

Each step is one script, so that two gateways cannot both claim a key, and a gateway whose claim has run out cannot
overwrite the answer of the one that came after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.policy.idempotency import Kept
from gateway.streams.connect import connect
from shared.call_limits import IDEMPOTENCY_KEPT_S, IDEMPOTENCY_STORE_MAX_MS
from shared.cancellation import heeding

_CONNECTIONS_MAX: Final = 32  # keyed calls that claim or end at the same moment; beyond, they go without

_CLAIM: Final = """#!lua
local found = redis.call('GET', KEYS[1])
if found then return found end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
return false
"""
_KEEP: Final = """#!lua
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1
"""
_RELEASE: Final = """#!lua
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
"""


class KeptAwayError(Exception):
    """Redis cannot be asked."""


class KeptAnswers:
    """The keys in one Redis.

    Args:
        client: gives up within `IDEMPOTENCY_STORE_MAX_MS`.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._claim = client.register_script(_CLAIM)
        self._keep = client.register_script(_KEEP)
        self._release = client.register_script(_RELEASE)

    async def claim(self, name: str, kept: Kept, lease_ms: int) -> Kept | None:
        """Claim a key; what is remembered under it when somebody did before.

        Args:
            name: from `gateway.policy.idempotency.scope`.
            kept: what is remembered while the call runs.
            lease_ms: after which the key is free again if nobody ended the call.

        Raises:
            KeptAwayError: nobody knows whether it was claimed; the claim ends by itself.
        """
        arguments = (kept.token, msgspec.msgpack.encode(kept), lease_ms)
        found = await _answer(self._claim(keys=_keys(name), args=arguments))
        try:
            return None if found is None else msgspec.msgpack.decode(found, type=Kept)
        except msgspec.MsgspecError as error:
            raise KeptAwayError(f"what is kept cannot be read: {error}") from error

    async def keep(self, name: str, kept: Kept) -> bool:
        """Remember how the call ended; whether it was still ours to end. Raises `KeptAwayError`."""
        arguments = (kept.token, msgspec.msgpack.encode(kept), IDEMPOTENCY_KEPT_S * 1000)
        return bool(await _answer(self._keep(keys=_keys(name), args=arguments)))

    async def release(self, name: str, token: str) -> bool:
        """Forget the call: the key can be used again. Raises `KeptAwayError`."""
        return bool(await _answer(self._release(keys=_keys(name), args=(token,))))


async def _answer(asking: Awaitable[Any]) -> Any:
    try:
        async with asyncio.timeout(IDEMPOTENCY_STORE_MAX_MS / 1000):
            return await heeding(asking)
    except (RedisError, OSError, TimeoutError) as error:
        raise KeptAwayError(str(error) or type(error).__name__) from error


@asynccontextmanager
async def open_kept_answers(url: str) -> AsyncIterator[KeptAnswers]:
    """The keys in the Redis at `url`, with connections of its own. Redis need not be there yet."""
    wait_s = IDEMPOTENCY_STORE_MAX_MS / 1000
    async with connect(url, answer_max_s=wait_s, connections_max=_CONNECTIONS_MAX) as client:
        yield KeptAnswers(client)


def _keys(name: str) -> tuple[str, str]:
    return name, f"{name}:claim"

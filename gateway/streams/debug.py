"""Reads debug streams: the last entries, those after one, and those that come.

Nothing here is written, trimmed or deleted, and no key is ever searched for by pattern. Entries are handed out as
they stand; `gateway.debug.entries` reads them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.streams.connect import connect
from shared.cancellation import heeding
from shared.limits import DEBUG_FEEDS_MAX, DEBUG_READ_BLOCK_MS, DEBUG_READ_MAX_COUNT, DEBUG_READ_MAX_S

T = TypeVar("T")

NOTHING: Final = "0-0"
"""Stands before every entry."""
_READERS_MAX: Final = 64  # connections for replays, beside one for each stream that is followed


class StreamAwayError(Exception):
    """Redis does not answer, or not with what was asked for."""


class RawEntry(msgspec.Struct, frozen=True):
    """One entry as Redis has it."""

    id: str
    fields: dict[bytes, bytes]


class DebugStreams:
    """Reads streams by their keys. Every method raises `StreamAwayError`.

    Args:
        client: gives up within `DEBUG_READ_MAX_S`.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def last_id(self, key: str) -> str:
        """The id of the newest entry; `0-0` when there is none."""
        found = await self.before(key, "+", 1)
        return found[0].id if found else NOTHING

    async def before(self, key: str, entry_id: str, count: int) -> list[RawEntry]:
        """The last `count` entries up to `entry_id` and with it (`+`: the newest), oldest first."""
        found = _entries(await _answer(self._client.xrevrange(key, entry_id, "-", count)))
        found.reverse()
        return found

    async def after(self, key: str, entry_id: str, count: int = DEBUG_READ_MAX_COUNT) -> list[RawEntry]:
        """The first `count` entries behind `entry_id`, oldest first."""
        return _entries(await _answer(self._client.xrange(key, f"({entry_id}", "+", count)))

    async def wait(self, key: str, entry_id: str) -> list[RawEntry]:
        """What comes after `entry_id`; nothing when nothing came for a while."""
        reading = self._client.xread({key: entry_id}, count=DEBUG_READ_MAX_COUNT, block=DEBUG_READ_BLOCK_MS)
        found = await _answer(reading)
        return _entries(found[0][1]) if found else []


async def _answer(asking: Awaitable[Any]) -> Any:
    try:
        async with asyncio.timeout(DEBUG_READ_MAX_S + 1):  # the client's own time comes first
            return await heeding(asking)
    except (RedisError, OSError, TimeoutError) as error:
        raise StreamAwayError(str(error) or type(error).__name__) from error


def _entries(found: Any) -> list[RawEntry]:
    return [RawEntry(entry_id.decode(), fields) for entry_id, fields in found]


@asynccontextmanager
async def open_debug_streams(url: str) -> AsyncIterator[DebugStreams]:
    """A reader with connections of its own. Redis need not be there yet."""
    client = connect(url, answer_max_s=DEBUG_READ_MAX_S, connections_max=DEBUG_FEEDS_MAX + _READERS_MAX)
    async with client:
        yield DebugStreams(client)

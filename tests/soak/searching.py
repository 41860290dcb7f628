"""Where a tenant's canary may turn up, and the searches that prove it did not turn up at another's.

Each search counts both: the tenant's own, by which it is proved to see, and the other one's, which must never be there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import msgspec
import psycopg
from redis.asyncio import Redis as Client

from deploy.local.record import Extension, Stack
from shared.debug_stream import PREFIX
from tests.system.runners import can_read_memory, memory_of, zygotes_and_sandboxes_of

STREAM_PAUSE_S: Final = 0.3
RECORDED_WITHIN_S: Final = 5.0  # closings are written behind the answer, at most a second late
RECORDS: Final = ("extension_execution_log", "extension_audit_log")


class Side(msgspec.Struct, frozen=True):
    """One of the two tenants, and what only it may see."""

    tenant: str
    canary: str
    other: str
    token: str


class Seen:
    """What was found where."""

    def __init__(self) -> None:
        self.own: Counter[str] = Counter()
        self.foreign: Counter[str] = Counter()
        self.where: list[str] = []

    def search(self, where: str, side: Side, data: bytes) -> None:
        """Look at what `side` was given, or what is kept for it."""
        if side.canary.encode() in data:
            self.own[where] += 1
        at = data.find(side.other.encode())
        if at >= 0:
            self.foreign[where] += 1
            self.where.append(f"{where} of {side.tenant}: {data[max(0, at - 200) : at + 100]!r}")


# ---- what is kept ---------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def watched_streams(
    stack: Stack, extensions: list[Extension], sides: list[Side], seen: Seen
) -> AsyncIterator[None]:
    """Every debug event of both tenants is searched as it appears; what is left, at the end."""
    keys = {f"{PREFIX}{side.tenant}:{extension.id}": side for side in sides for extension in extensions}
    async with Client.from_url(stack.redis_url, protocol=2) as client:
        last: dict[str, str] = dict.fromkeys(keys, "0-0")
        for key in keys:
            for entry, _ in await client.xrevrange(key, count=1):
                last[key] = entry.decode()

        async def look() -> None:
            for key, side in keys.items():
                for entry, fields in await client.xrange(key, f"({last[key]}"):
                    last[key] = entry.decode()
                    seen.search("debug events", side, repr(fields).encode())

        async def keep_looking() -> None:
            while True:
                await look()
                await asyncio.sleep(STREAM_PAUSE_S)

        watching = asyncio.create_task(keep_looking())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await look()


async def search_records(stack: Stack, sides: list[Side], seen: Seen) -> None:
    """What is written down about both, row by row, once every call's row is closed."""
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as database:
        async with asyncio.timeout(RECORDED_WITHIN_S):
            while await _open_rows(database, sides):  # noqa: ASYNC110 - the gateway closes them behind its answers
                await asyncio.sleep(0.05)
        for table in RECORDS:
            for side in sides:
                query = f"select to_jsonb(r)::text from {table} r where tenant_id = %s and to_jsonb(r)::text ~ %s"
                cursor = await database.execute(query, (side.tenant, f"{side.canary}|{side.other}"))
                for (row,) in await cursor.fetchall():
                    seen.search("records", side, row.encode())


async def _open_rows(database: psycopg.AsyncConnection[tuple[int]], sides: list[Side]) -> int:
    query = "select count(*) from extension_execution_log where state = 'open' and tenant_id = any(%s)"
    cursor = await database.execute(query, ([side.tenant for side in sides],))
    (count,) = await cursor.fetchone() or (0,)
    return count


async def search_metrics(stack: Stack, sides: list[Side], seen: Seen) -> None:
    """What is counted belongs to nobody."""
    async with aiohttp.ClientSession(trust_env=False) as session:
        for base in (stack.runner_url, stack.gateway_internal_url):
            async with session.get(f"{base}/metrics") as answer:
                text = await answer.read()
            for side in sides:
                seen.foreign["metrics"] += side.canary.encode() in text


# ---- memory -----------------------------------------------------------------------------------------------------


class Dumper:
    """Looks into every process below a runner that has met a guest, or may become one that will."""

    def __init__(self, pid: int, sides: list[Side]) -> None:
        self._pid, self._sides = pid, sides
        self.sandboxes = 0
        self.holding: Counter[str] = Counter()
        self.mixed = 0
        self.zygotes = 0

    async def dump(self) -> None:
        """Read and search; the runner goes on meanwhile."""
        if can_read_memory():
            await asyncio.to_thread(self._dump)

    def _dump(self) -> None:
        zygotes, sandboxes = zygotes_and_sandboxes_of(self._pid)
        for pid in sandboxes:
            held = self._held(pid)
            self.sandboxes += 1
            self.mixed += len(held) > 1
            self.holding.update(held)
        self.zygotes += sum(len(self._held(pid)) > 0 for pid in zygotes)

    def _held(self, pid: int) -> set[str]:
        try:
            memory = memory_of(pid)
        except OSError:  # it has ended meanwhile
            return set()
        return {side.tenant for side in self._sides if side.canary.encode() in memory}

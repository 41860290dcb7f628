"""Debug events against a real Redis: there, stopped, hanging, full, refusing; what is lost is always told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis as Client

from deploy.local.redis import Redis, redis
from runner.debug.recorder import LogSink, Sink
from runner.debug.redis_sink import DebugSettings, RedisSink, open_sink
from shared.debug_stream import decode_event
from shared.limits import DEBUG_BUFFER_MAX_BYTES, DEBUG_FLUSH_MAX_S, MIB
from tests.debug_events import EXTENSION, OTHER_EXTENSION, event
from tests.runner.waiting import until

KEY = f"ext-debug:acme:{EXTENSION}"
WAIT_MAX_S = 20.0


class Lost:
    """Counts what the sink says it lost."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, count: int) -> None:
        self.count += count


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Redis]:
    async with redis(tmp_path / "redis", keep=False) as found:
        yield found


@pytest.fixture
async def client(server: Redis) -> AsyncIterator[Client]:
    async with Client.from_url(server.url, protocol=2) as found:
        yield found


@pytest.fixture
def lost() -> Lost:
    return Lost()


def settings(url: str | None, **changes: Any) -> DebugSettings:
    plain: dict[str, Any] = {
        "url": url,
        "prefix": "ext-debug:",
        "maxlen": 2000,
        "max_event_bytes": 8192,
        "instance": "here:8080",
    }
    return DebugSettings(**{**plain, **changes})


async def entries(client: Client, key: str = KEY) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in await client.xrange(key)]


def told(fields: dict[bytes, bytes]) -> str:
    if b"gap" in fields:
        gap = msgspec.json.decode(fields[b"gap"])
        return f"{gap['reason']} {gap['count']}"
    return "end" if b"end" in fields else decode_event(fields[b"event"]).message


async def eventually(happened: Callable[[], Awaitable[object]]) -> None:
    """Return when a server says so."""
    async with asyncio.timeout(WAIT_MAX_S):
        while not await happened():  # noqa: ASYNC110 - a foreign process sends no event
            await asyncio.sleep(0.01)


async def holds(client: Client, count: int, key: str = KEY) -> list[str]:
    """What the stream says, once it has that many entries."""

    async def enough() -> bool:
        return bool(await client.xlen(key) >= count)

    await eventually(enough)
    return [told(fields) for fields in await entries(client, key)]


def say(sink: Sink, *messages: str, **changes: Any) -> None:
    for message in messages:
        sink.emit(event(message, **changes))


@contextlib.contextmanager
def stopped(pid: int) -> Any:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_events_arrive_in_order_in_the_stream_of_their_tenant_and_extension(
    server: Redis, client: Client, lost: Lost
) -> None:
    async with open_sink(settings(server.runner_url), lost) as sink:
        say(sink, "one", "two")
        say(sink, "theirs", tenant_id="globex")
        say(sink, "another's", extension_id=OTHER_EXTENSION)
        assert await holds(client, 2) == ["one", "two"]
    assert await holds(client, 2, f"ext-debug:globex:{EXTENSION}") == ["theirs", "end"]
    assert await holds(client, 2, f"ext-debug:acme:{OTHER_EXTENSION}") == ["another's", "end"]
    assert lost.count == 0


async def test_an_entry_has_these_fields(server: Redis, client: Client, lost: Lost) -> None:
    async with open_sink(settings(server.runner_url, worker=3), lost) as sink:
        say(sink, "one", "two")
    found = await entries(client)
    assert [list(fields) for fields in found] == [[b"writer", b"number", name] for name in (b"event", b"event", b"end")]
    assert [fields[b"number"] for fields in found] == [b"1", b"2", b"3"]
    (writer,) = {fields[b"writer"] for fields in found}
    assert writer.startswith(b"here:8080/3/")


async def test_an_event_arrives_at_once(server: Redis, client: Client, lost: Lost) -> None:
    async with open_sink(settings(server.runner_url), lost) as sink:
        say(sink, "warm")
        await holds(client, 1)
        began = time.monotonic()
        say(sink, "now")
        await holds(client, 2)
        assert time.monotonic() - began < 0.5


async def test_the_end_of_a_runner_loses_nothing(server: Redis, client: Client, lost: Lost) -> None:
    async with open_sink(settings(server.runner_url), lost) as sink:
        for number in range(1000):
            say(sink, str(number))
    assert await holds(client, 1001) == [*map(str, range(1000)), "end"]
    assert lost.count == 0


async def test_a_message_is_cut_between_two_characters(server: Redis, client: Client, lost: Lost) -> None:
    async with open_sink(settings(server.runner_url, max_event_bytes=256), lost) as sink:
        say(sink, "x" * 256, "x" * 257, "x" + "日" * 100)
    at, above, wide = (decode_event(fields[b"event"]) for fields in (await entries(client))[:3])
    assert (len(at.message), at.truncated) == (256, False)
    assert (len(above.message), above.truncated) == (256, True)
    assert (wide.message, wide.truncated) == ("x" + "日" * 85, True)


async def test_redis_keeps_about_as_many_as_it_was_told_to(server: Redis, client: Client, lost: Lost) -> None:
    async with open_sink(settings(server.runner_url, maxlen=100), lost) as sink:
        for number in range(20):
            say(sink, *(f"{number}-{step}" for step in range(50)))
            await holds(client, 1)
            await until(lambda: not len(sink._buffer))  # type: ignore[attr-defined]
    assert lost.count == 0
    assert 100 <= await client.xlen(KEY) < 400


async def test_what_redis_was_not_there_for_comes_when_it_is(tmp_path: Path, lost: Lost) -> None:
    place = tmp_path / "kept"
    async with redis(place) as first:
        pass
    async with open_sink(settings(first.runner_url), lost) as sink:
        say(sink, "one", "two")
        async with redis(place, first.port, keep=False) as again, Client.from_url(again.url, protocol=2) as client:
            assert await holds(client, 2) == ["one", "two"]
            say(sink, "three")
            assert await holds(client, 3) == ["one", "two", "three"]
    assert lost.count == 0


async def test_a_redis_that_comes_back_is_told_how_much_was_dropped(tmp_path: Path, lost: Lost) -> None:
    place = tmp_path / "kept"
    async with redis(place) as first:
        pass
    async with open_sink(settings(first.runner_url, maxlen=5), lost) as sink:
        say(sink, *map(str, range(12)))
        assert lost.count == 7
        async with redis(place, first.port, keep=False) as again, Client.from_url(again.url, protocol=2) as client:
            assert await holds(client, 6) == ["0", "1", "2", "3", "4", "overflow 7"]
            say(sink, "again")
            assert await holds(client, 7) == ["0", "1", "2", "3", "4", "overflow 7", "again"]


async def test_a_hanging_redis_costs_nobody_time_and_bounded_memory(server: Redis, client: Client, lost: Lost) -> None:
    async with open_sink(settings(server.runner_url, workers=1), lost) as sink:
        say(sink, "before")
        await holds(client, 1)
        with stopped(server.pid):
            before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            slowest_s = 0.0
            for number in range(60_000):
                began = time.perf_counter()
                sink.emit(event("x" * 400, tenant_id=f"t{number % 8}"))
                slowest_s = max(slowest_s, time.perf_counter() - began)
                if number % 5000 == 0:
                    await asyncio.sleep(0)
            grown_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) * 1024
            assert grown_bytes < 32 * MIB
            assert sink._buffer.size_bytes <= DEBUG_BUFFER_MAX_BYTES  # type: ignore[attr-defined]
            assert slowest_s < 0.25  # a pause of the machine, not of Redis
            assert lost.count > 0
        keys = [f"ext-debug:t{number}:{EXTENSION}" for number in range(8)]
        for key in keys:
            await eventually(lambda key=key: _has_gap(client, key))
    kept = {fields[b"number"] for key in keys for fields in await entries(client, key) if b"event" in fields}
    assert kept
    gaps = [told(fields) for key in keys for fields in await entries(client, key) if b"gap" in fields]
    assert sum(int(gap.split()[1]) for gap in gaps) == lost.count


async def _has_gap(client: Client, key: str) -> bool:
    return any(b"gap" in fields for fields in await entries(client, key))


async def test_a_full_redis_is_waited_for_and_told_about(server: Redis, client: Client, lost: Lost) -> None:
    await client.config_set("maxmemory-policy", "noeviction")
    async with open_sink(settings(server.runner_url, maxlen=10), lost) as sink:
        say(sink, "before")
        await holds(client, 1)
        await client.config_set("maxmemory", "1")
        say(sink, *map(str, range(15)))
        assert lost.count == 5
        await until(lambda: sink._away)  # type: ignore[attr-defined]
        assert await client.xlen(KEY) == 1
        await client.config_set("maxmemory", "0")
        assert await holds(client, 12) == ["before", *map(str, range(10)), "overflow 5"]


async def test_an_entry_that_is_refused_for_itself_holds_nobody_up(server: Redis, client: Client, lost: Lost) -> None:
    await client.set(f"ext-debug:globex:{EXTENSION}", "not a stream")
    async with open_sink(settings(server.runner_url), lost) as sink:
        say(sink, "theirs", tenant_id="globex")
        say(sink, "ours")
        assert await holds(client, 1) == ["ours"]
        assert lost.count == 1
        await client.delete(f"ext-debug:globex:{EXTENSION}")
        say(sink, "theirs again", tenant_id="globex")
        assert await holds(client, 2, f"ext-debug:globex:{EXTENSION}") == ["refused 1", "theirs again"]
    assert lost.count == 1


async def test_a_stream_the_runner_may_not_write_to_is_counted(server: Redis, client: Client, lost: Lost) -> None:
    async with open_sink(settings(server.runner_url, prefix="elsewhere:"), lost) as sink:
        say(sink, "one", "two")
        await until(lambda: lost.count == 2)
    assert await client.keys("elsewhere:*") == []


@pytest.mark.parametrize("changes", [{"tenant_id": "x}:{y"}, {"tenant_id": "*"}, {"extension_id": "publisher.name"}])
async def test_an_event_of_nobody_is_counted_and_nothing_is_written(
    server: Redis, client: Client, lost: Lost, changes: dict[str, str]
) -> None:
    async with open_sink(settings(server.runner_url), lost) as sink:
        say(sink, "x", **changes)
        assert lost.count == 1
    assert await client.keys("*") == []


async def test_half_a_character_is_no_reason_to_fail(server: Redis, client: Client, lost: Lost) -> None:
    async with open_sink(settings(server.runner_url), lost) as sink:
        say(sink, "broken \ud800 here")
        say(sink, "whole")
    shown = [told(fields) for fields in await entries(client)]
    assert shown[-2:] == ["whole", "end"]
    assert lost.count == (1 if len(shown) == 2 else 0)


async def test_a_redis_that_hangs_does_not_keep_a_runner_from_ending(server: Redis, client: Client, lost: Lost) -> None:
    async with contextlib.AsyncExitStack() as stack:
        sink = await stack.enter_async_context(open_sink(settings(server.runner_url), lost))
        say(sink, "before")
        await holds(client, 1)
        with stopped(server.pid):
            say(sink, "one", "two")
            began = time.monotonic()
            await stack.aclose()
            assert time.monotonic() - began < DEBUG_FLUSH_MAX_S + 1
    assert lost.count == 2


async def test_after_the_end_nothing_is_taken(server: Redis, lost: Lost) -> None:
    async with open_sink(settings(server.runner_url), lost) as sink:
        assert isinstance(sink, RedisSink)
    say(sink, "late")
    assert lost.count == 1


async def test_without_a_redis_events_are_log_lines(lost: Lost) -> None:
    async with open_sink(settings(None), lost) as sink:
        assert isinstance(sink, LogSink)
        say(sink, "one")
    assert lost.count == 0

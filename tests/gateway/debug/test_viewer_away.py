"""A viewer while Redis is not there, hangs, or comes back with or without what it held."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from redis.asyncio import Redis as Client

from deploy.local.redis import Redis, redis
from gateway.debug.feeds import Feeds
from gateway.streams.debug import open_debug_streams
from tests.gateway.debug.screen import viewing
from tests.gateway.debug.written import Writing, whole


async def test_a_redis_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    place = tmp_path / "kept"
    async with redis(place) as first:
        pass
    async with open_debug_streams(first.url) as streams, viewing(Feeds(streams, "ext-debug:")) as screen:
        await screen.until_state("degraded")
        async with redis(place, first.port, keep=False) as again, Client.from_url(again.url, protocol=2) as client:
            await Writing().say(client, "one")
            await screen.until_says("one")
            await screen.until_state("live")
            assert screen.states == ["degraded", "live"]


async def test_a_redis_that_restarts_with_its_data_loses_no_event(tmp_path: Path) -> None:
    place, writing = tmp_path / "kept", Writing()
    async with redis(place) as first, Client.from_url(first.url, protocol=2) as client:
        await writing.say(client, "one")
    async with open_debug_streams(first.url) as streams:
        feeds = Feeds(streams, "ext-debug:")
        async with redis(place, first.port) as second, Client.from_url(second.url, protocol=2) as client:
            screen_manager = viewing(feeds)
            screen = await screen_manager.__aenter__()
            await screen.until_says("one")
        try:
            await screen.until_state("degraded")
            async with redis(place, first.port, keep=False) as third, Client.from_url(third.url, protocol=2) as client:
                await writing.say(client, "two")
                await screen.until_says("one", "two")
                assert screen.gaps == []
                assert screen.states == ["live", "degraded", "live"]
        finally:
            await screen_manager.__aexit__(None, None, None)


async def test_a_redis_that_restarts_without_its_data_is_one_gap(tmp_path: Path) -> None:
    writing = Writing()
    async with redis(tmp_path / "first") as first, Client.from_url(first.url, protocol=2) as client:
        await writing.say(client, "zero")
        await client.config_set("save", "")
        async with open_debug_streams(first.url) as streams, viewing(Feeds(streams, "ext-debug:")) as screen:
            await screen.until_says("zero")
            await writing.say(client, "one", "two")
            await screen.until_says("zero", "one", "two")
            os.kill(first.pid, signal.SIGKILL)
            await screen.until_state("degraded")
            (tmp_path / "first" / "dump.rdb").unlink(missing_ok=True)
            async with redis(tmp_path / "first", first.port) as again:
                async with Client.from_url(again.url, protocol=2) as fresh:
                    await writing.say(fresh, "three")
                await screen.until_says("zero", "one", "two", "three")
                await screen.until_state("live")
                assert screen.gaps == [{"reason": "trimmed"}]


async def test_a_redis_that_hangs_is_degraded_and_loses_nothing(server: Redis, feeds: Feeds, client: Client) -> None:
    writing = Writing()
    async with viewing(feeds) as screen:
        await screen.until_state("live")
        await writing.say(client, "one")
        await screen.until_says("one")
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await screen.until_state("degraded")
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await writing.say(client, "two")
        await screen.until_says("one", "two")
        await screen.until_state("live")
        assert screen.gaps == []


async def test_an_execution_is_given_time_while_the_stream_is_away(server: Redis, feeds: Feeds, client: Client) -> None:
    writing = Writing()
    started, said, ended = whole("e", timeout_ms=1)
    async with viewing(feeds) as screen:
        await screen.until_state("live")
        await writing.add(client, started)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await screen.until_state("degraded")  # some seconds later: the deadline is past
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await screen.until_state("live")
        await writing.add(client, said)
        await writing.add(client, ended)
        await screen.until(lambda screen: len(screen.lines) == 3)
        assert screen.gaps == []

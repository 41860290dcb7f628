"""Somebody who watches the debug stream of a running platform, as the console and the command line do."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec

from deploy.local.record import Extension, Stack
from gateway.cli.sse import EventParser, ServerEvent

WAIT_MAX_S = 45.0


class Stream:
    """One open answer, read in the background.

    Attributes:
        events: what came.
        replayed: how many of them were kept from before.
        ended: set when the answer has ended.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.events: list[ServerEvent] = []
        self.replayed = 0
        self.ended = asyncio.Event()
        self._response = response
        self._news = asyncio.Condition()

    async def read(self) -> None:
        parser = EventParser()
        try:
            async for piece in self._response.content.iter_any():
                self.events += parser.feed(piece)
                async with self._news:
                    self._news.notify_all()
        except aiohttp.ClientError:
            pass
        finally:
            self.ended.set()
            async with self._news:
                self._news.notify_all()

    async def until(self, seen: Callable[[Stream], object]) -> None:
        """Return when that was seen."""
        async with asyncio.timeout(WAIT_MAX_S), self._news:
            await self._news.wait_for(lambda: seen(self))

    def of(self, kind: str) -> list[Any]:
        """The data of the events of a kind."""
        return [msgspec.json.decode(event.data) for event in self.events if event.event == kind]

    @property
    def gaps(self) -> list[Any]:
        """What went missing since the stream is live; what is replayed may tell of earlier losses."""
        return [msgspec.json.decode(event.data) for event in self.events[self.replayed :] if event.event == "gap"]

    @property
    def logs(self) -> list[Any]:
        return self.of("log")

    @property
    def messages(self) -> list[str]:
        return [data["message"] for data in self.logs]

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.events if event.event == "log"]

    @property
    def last_id(self) -> str:
        return self.events[-1].id


@contextlib.asynccontextmanager
async def watching(
    stack: Stack,
    extension: Extension,
    token: str,
    *,
    base: str | None = None,
    last_id: str | None = None,
    **query: str,
) -> AsyncIterator[Stream]:
    """An open stream of an extension, live."""
    headers = {"authorization": f"Bearer {token}"} | ({"last-event-id": last_id} if last_id else {})
    params = {"extensionId": extension.id, **query}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        url = f"{base or stack.gateway_url}/api/ext-debug/stream"
        async with session.get(url, params=params, headers=headers) as response:
            assert response.status == 200, await response.text()
            stream = Stream(response)
            reading = asyncio.create_task(stream.read())
            try:
                await stream.until(lambda stream: stream.of("status"))
                stream.replayed = len(stream.events)
                yield stream
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


def executions(logs: list[Any]) -> dict[str, list[Any]]:
    """Events by execution."""
    found: dict[str, list[Any]] = defaultdict(list)
    for data in logs:
        found[data["executionId"]].append(data)
    return found


def is_whole(events: list[Any]) -> bool:
    """Whether an execution's events are all there, proved by the last one."""
    last = events[-1].get("data") or {}
    return [data["seq"] for data in events] == list(range(1, len(events) + 1)) and (
        last.get("kind") == "execution.end" and last["events"] == str(len(events))
    )

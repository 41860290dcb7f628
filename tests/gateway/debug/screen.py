"""A viewer's screen in tests: takes what a viewer is sent, reads it as a client would, waits for what should come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from gateway.cli.sse import EventParser, ServerEvent
from gateway.debug.entries import StreamId
from gateway.debug.feeds import Feeds, StreamName
from gateway.debug.viewer import Viewer, Wanted
from tests.debug_events import EXTENSION

NAME = StreamName("acme", EXTENSION)
WAIT_MAX_S = 20.0


class Screen:
    """What one viewer has seen.

    Attributes:
        open: cleared, it takes nothing more, as a client does that stops reading.
    """

    def __init__(self) -> None:
        self.events: list[ServerEvent] = []
        self.raw = b""
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = False
        self._parser = EventParser()
        self._news = asyncio.Condition()

    async def send(self, data: bytes) -> None:
        self.waiting = not self.open.is_set()
        await self.open.wait()
        self.waiting = False
        self.raw += data
        self.events += self._parser.feed(data)
        async with self._news:
            self._news.notify_all()

    async def until(self, seen: Callable[[Screen], object]) -> None:
        """Return when the screen shows it."""
        async with asyncio.timeout(WAIT_MAX_S), self._news:
            await self._news.wait_for(lambda: seen(self))

    async def until_says(self, *messages: str) -> None:
        """Return when the lines are exactly these."""
        try:
            await self.until(lambda screen: len(screen.lines) >= len(messages))
        except TimeoutError:
            raise AssertionError(f"only {self.lines} and {self.gaps} came") from None
        assert self.lines == list(messages)

    async def until_state(self, state: str) -> None:
        """Return when that is the newest state."""
        await self.until(lambda screen: screen.states[-1:] == [state])

    def of(self, kind: str) -> list[Any]:
        return [msgspec.json.decode(event.data) for event in self.events if event.event == kind]

    @property
    def lines(self) -> list[str]:
        return [data["message"] for data in self.of("log")]

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.events if event.event == "log"]

    @property
    def gaps(self) -> list[Any]:
        return self.of("gap")

    @property
    def states(self) -> list[str]:
        return [data["state"] for data in self.of("status")]


async def until(happened: Callable[[], object]) -> None:
    """Return when it is so; for what sends no event."""
    async with asyncio.timeout(WAIT_MAX_S):
        while not happened():  # noqa: ASYNC110 - what is watched has no event to wait for
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def viewing(
    feeds: Feeds,
    *,
    tail: int = 200,
    resume: StreamId | None = None,
    wanted: Wanted | None = None,
    heartbeat_s: float = 15.0,
    name: StreamName = NAME,
) -> AsyncIterator[Screen]:
    """A viewer at work."""
    screen = Screen()
    async with feeds.watch(name) as watch:
        viewer = Viewer(
            feeds,
            watch,
            name,
            wanted=wanted or Wanted(),
            tail=tail,
            resume=resume,
            send=screen.send,
            heartbeat_s=heartbeat_s,
        )
        task = asyncio.create_task(viewer.run())
        try:
            yield screen
        finally:
            task.cancel()
            results = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(results[0], asyncio.CancelledError), results

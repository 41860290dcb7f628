"""One reader for each stream that somebody watches, however many watch it.

The reader hands every entry, parsed once, to each watch of its stream. A watch holds a bounded number of them; one
that is not emptied in time is told that it fell behind, drops what it held, and its viewer reads on from Redis when
it can: no viewer costs memory, and none slows another one down.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Literal

import msgspec
import structlog

from gateway.debug.entries import Entry, parsed
from gateway.streams.debug import DebugStreams, StreamAwayError
from shared.debug_stream import stream_key
from shared.errors import Overloaded
from shared.limits import DEBUG_FEEDS_MAX, DEBUG_QUEUE_MAX_COUNT, DEBUG_RETRY_MAX_S

_FIRST_PAUSE_S: Final = 0.1

FeedState = Literal["starting", "live", "away"]

_log = structlog.get_logger(__name__)


class StreamName(msgspec.Struct, frozen=True):
    """Whose stream."""

    tenant_id: str
    extension_id: str


class Watch:
    """What one viewer has of a feed.

    Attributes:
        news: set when something changed: entries came, the stream went away or came back.
        heard_s: when Redis last answered, monotonic: until then nothing is missing that did not come.
    """

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.heard_s = 0.0
        self._entries: deque[Entry] = deque()
        self._state: FeedState = "starting"
        self._behind = False

    @property
    def state(self) -> FeedState:
        """Whether the stream is being read."""
        return self._state

    @property
    def behind(self) -> bool:
        """Whether entries came that are not here: they must be read from Redis."""
        return self._behind

    def begin(self) -> None:
        """Hold from here on; what came before will be read from Redis."""
        self._entries.clear()
        self._behind = False

    def take(self) -> list[Entry]:
        """What came since the last time, in order."""
        self.news.clear()
        found = list(self._entries)
        self._entries.clear()
        return found

    def offer(self, entries: list[Entry], now_s: float) -> None:
        """From the feed: more entries, or none for a while."""
        self.heard_s = now_s
        if len(self._entries) + len(entries) > DEBUG_QUEUE_MAX_COUNT:
            self._behind = True
            self._entries.clear()
        if not self._behind:
            self._entries.extend(entries)
        self.news.set()

    def tell(self, state: FeedState) -> None:
        """From the feed: whether the stream is being read."""
        if state == "live" and self._state != "live":
            self._behind = True  # nobody knows what was written in between
        self._state = state
        self.news.set()


class _Feed:
    def __init__(self, streams: DebugStreams, key: str, name: StreamName) -> None:
        self._streams = streams
        self._key = key
        self._name = name
        self._state: FeedState = "starting"
        self.watches: set[Watch] = set()
        self.task: asyncio.Task[None] | None = None

    def add(self, watch: Watch) -> None:
        self.watches.add(watch)
        watch.tell(self._state)

    async def run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._read()
            except StreamAwayError as error:
                if self._state != "away":
                    _log.warning("debug_stream_away", error=str(error))
                    pause_s = _FIRST_PAUSE_S
                self._tell("away")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, DEBUG_RETRY_MAX_S)

    async def _read(self) -> None:
        at = await self._streams.last_id(self._key)
        self._tell("live")  # from here on nothing escapes us; what stands before, viewers read for themselves
        while True:
            found = await self._streams.wait(self._key, at)
            at = found[-1].id if found else at
            entries = [parsed(raw, self._name.tenant_id, self._name.extension_id) for raw in found]
            for watch in self.watches:
                watch.offer(entries, time.monotonic())

    def _tell(self, state: FeedState) -> None:
        self._state = state
        for watch in self.watches:
            watch.tell(state)


class Feeds:
    """All feeds of one process.

    Args:
        streams: reads Redis.
        prefix: what the streams' keys begin with.
    """

    def __init__(self, streams: DebugStreams, prefix: str) -> None:
        self.streams = streams
        self._prefix = prefix
        self._feeds: dict[str, _Feed] = {}

    def __len__(self) -> int:
        return len(self._feeds)

    def key(self, name: StreamName) -> str:
        """The Redis key of a stream."""
        return stream_key(self._prefix, name.tenant_id, name.extension_id)

    @asynccontextmanager
    async def watch(self, name: StreamName) -> AsyncIterator[Watch]:
        """Watch one stream. Raises `Overloaded` when too many different ones are watched already."""
        key = self.key(name)
        feed = self._feeds.get(key) or self._start(key, name)
        watch = Watch()
        feed.add(watch)
        try:
            yield watch
        finally:
            feed.watches.discard(watch)
            if not feed.watches:
                self._feeds.pop(key, None)
                await _end(feed)

    def _start(self, key: str, name: StreamName) -> _Feed:
        if len(self._feeds) >= DEBUG_FEEDS_MAX:
            raise Overloaded("this gateway follows as many debug streams as it may", retry_after_s=10)
        feed = self._feeds[key] = _Feed(self.streams, key, name)
        # A context of its own: the feed outlives the request that began it, and is not to be logged under its id.
        feed.task = asyncio.create_task(feed.run(), name=f"debug feed {key}", context=contextvars.Context())
        feed.task.add_done_callback(_ended)
        return feed


async def _end(feed: _Feed) -> None:
    if feed.task is not None:
        feed.task.cancel()
        await asyncio.gather(feed.task, return_exceptions=True)


def _ended(task: asyncio.Task[None]) -> None:
    # Viewers then see heartbeats and nothing else; the reason must be seen as well.
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("debug_feed_ended", error=repr(error))

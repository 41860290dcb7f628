"""Debug events to Redis streams: taken at once, written by one background task, in batches, off the request path.

    emit ─▶ Buffer ─▶ run: XADD key MAXLEN ~ n * writer … number … event …   (pipelined)

Redis slow, full, stopped or away costs a guest nothing: the buffer fills, then events are dropped and counted, and
once Redis takes entries again each stream is told how many it misses. An entry whose fate is unknown is written
again; readers know it by its number. The end of a runner waits for the buffer, within a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from runner.debug.buffer import Buffer, Entry, Fate
from runner.debug.recorder import LogSink, Sink
from shared.cancellation import heeding
from shared.debug_event import ExtDebugEvent, cut_text
from shared.debug_stream import encode_event, stream_key
from shared.errors import InvalidRequest
from shared.limits import (
    DEBUG_BATCH_MAX_COUNT,
    DEBUG_BUFFER_MAX_BYTES,
    DEBUG_FLUSH_MAX_S,
    DEBUG_RETRY_MAX_S,
    DEBUG_WRITE_MAX_S,
    MIB,
)

_FIRST_PAUSE_S: Final = 0.05  # before Redis is tried again
_LAST_PAUSE_S: Final = 0.05  # the same, while a runner ends
_WRITE_EVERY_S: Final = 0.005  # the first event leaves at once; a busy runner's then share a pipeline (60 µs of CPU)
_PASSES: Final = (
    RedisConnectionError,
    RedisTimeoutError,
    OutOfMemoryError,
    ReadOnlyError,
    ClusterDownError,
    MasterDownError,
    TryAgainError,
)
_PASSING_WORDS: Final = ("MISCONF", "NOREPLICAS", "BUSY")
"""Refusals that say nothing about the entry: the same one may be taken later."""

_log = structlog.get_logger("debug")


class DebugSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the sink must know.

    Attributes:
        url: of Redis; a user that may `XADD` is enough.
        prefix: what the streams' names begin with.
        maxlen: entries Redis keeps of each stream, about.
        max_event_bytes: of one message, in UTF-8.
        instance: of this runner.
        worker: number of this process in it.
        workers: how many processes share the runner's buffer.
    """

    url: str | None
    prefix: str
    maxlen: int
    max_event_bytes: int
    instance: str
    worker: int = 0
    workers: int = 1


class RedisSink:
    """A `Sink` that writes to Redis. `run` must run beside it.

    Args:
        settings: where to, and how much.
        client: a client that neither retries nor waits longer than `DEBUG_WRITE_MAX_S`.
        dropped: is told how many events were lost.
    """

    def __init__(self, settings: DebugSettings, client: Redis, dropped: Callable[[int], None]) -> None:
        self._settings = settings
        self._client = client
        self._dropped = dropped
        self._buffer = Buffer(
            settings.instance,
            settings.worker,
            secrets.token_hex(8),
            max_bytes=max(MIB, DEBUG_BUFFER_MAX_BYTES // settings.workers),
            lane_max_count=settings.maxlen,
            dropped=dropped,
        )
        self._news = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._ending = asyncio.Event()
        self._away = False

    def emit(self, event: ExtDebugEvent) -> None:
        """Take one event; what cannot be taken is counted."""
        try:
            key = stream_key(self._settings.prefix, event.tenant_id, event.extension_id)
            payload = encode_event(self._cut(event))
        except (InvalidRequest, UnicodeError):
            _log.exception("debug_event_unfit")
            self._dropped(1)
            return
        if self._ending.is_set():
            self._dropped(1)
            return
        self._buffer.add(key, payload)
        self._wake()

    async def run(self) -> None:
        """Write what is taken, until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            await self._news.wait()
            self._news.clear()
            while self._more():
                if await self._write():
                    pause_s = _FIRST_PAUSE_S
                    await self._pause(_WRITE_EVERY_S)
                    continue
                await self._pause(pause_s * random.uniform(0.5, 1))  # noqa: S311 - many runners, not one moment
                pause_s = min(2 * pause_s, DEBUG_RETRY_MAX_S)
            self._empty.set()

    async def flush(self, within_s: float) -> bool:
        """Take nothing more, end every stream, wait until all is written; whether it was, within the deadline."""
        self._ending.set()
        self._buffer.end()
        self._wake()
        try:
            async with asyncio.timeout(within_s):
                await self._empty.wait()
        except TimeoutError:
            _log.warning("debug_events_lost", count=self._buffer.abandon())
            return False
        return True

    def _wake(self) -> None:
        self._empty.clear()
        self._news.set()

    def _more(self) -> bool:
        self._buffer.settle()
        return len(self._buffer) > 0

    def _cut(self, event: ExtDebugEvent) -> ExtDebugEvent:
        message, was_cut = cut_text(event.message, self._settings.max_event_bytes)
        return msgspec.structs.replace(event, message=message, truncated=True) if was_cut else event

    async def _write(self) -> bool:
        """Write one batch; whether Redis is there to take the next one."""
        batch = self._buffer.batch()
        try:
            async with asyncio.timeout(DEBUG_WRITE_MAX_S):
                results = await self._send(batch)
        except (RedisError, OSError, TimeoutError) as error:
            self._tell(error)
            return False
        fates: list[Fate] = [_fate(result) for result in results]
        self._buffer.settled(fates)
        refusal = next((result for result in results if isinstance(result, RedisError)), None)
        self._tell(refusal)
        return "unknown" not in fates

    async def _send(self, batch: list[Entry]) -> list[object]:
        pipeline = self._client.pipeline(transaction=False)
        for entry in batch:
            pipeline.execute_command(
                "XADD", entry.lane.key, "MAXLEN", "~", self._settings.maxlen, "*", *_flat(entry.fields)
            )
        return list(await heeding(pipeline.execute(raise_on_error=False)))

    async def _pause(self, pause_s: float) -> None:
        """Wait; not when a full batch waits, and hardly when we are about to end."""
        if self._ending.is_set():
            await asyncio.sleep(_LAST_PAUSE_S if self._away else 0)
        elif self._away or len(self._buffer) < DEBUG_BATCH_MAX_COUNT:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._ending.wait()

    def _tell(self, error: Exception | None) -> None:
        """Say once that Redis went, and once that it came back."""
        if error is not None and not self._away:
            _log.warning("debug_stream_away", error=str(error) or type(error).__name__)
        elif error is None and self._away:
            _log.info("debug_stream_back", waiting=len(self._buffer))
        self._away = error is not None


def _flat(fields: dict[bytes, bytes]) -> list[bytes]:
    return [part for pair in fields.items() for part in pair]


def _fate(result: object) -> Fate:
    if not isinstance(result, Exception):
        return "written"
    passes = isinstance(result, _PASSES) or str(result).startswith(_PASSING_WORDS)
    return "unknown" if passes else "refused"


@contextlib.asynccontextmanager
async def open_sink(settings: DebugSettings, dropped: Callable[[int], None]) -> AsyncIterator[Sink]:
    """The sink of one worker and its background task; at the end everything taken is written, within a deadline."""
    if settings.url is None:
        yield LogSink()
        return
    client = Redis.from_url(
        settings.url,
        protocol=2,
        socket_timeout=DEBUG_WRITE_MAX_S,
        socket_connect_timeout=DEBUG_WRITE_MAX_S,
        retry=Retry(NoBackoff(), 0),  # one place decides when to try again: `run`
        max_connections=1,
    )
    async with client:
        sink = RedisSink(settings, client, dropped)
        task = asyncio.create_task(sink.run(), name="debug-sink")
        task.add_done_callback(_ended)
        try:
            yield sink
        finally:
            await sink.flush(DEBUG_FLUSH_MAX_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _ended(task: asyncio.Task[None]) -> None:
    # The buffer then fills and drops, which the counter shows; the reason must be seen as well.
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("debug_sink_ended", error=repr(error))

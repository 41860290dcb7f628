"""One viewer of one stream: what was kept, then what comes, nothing twice and nothing silently left out.

    catch up from Redis ──▶ follow the feed ──▶ fell behind, or the stream was away ──▶ catch up …

The position is the id of the last entry that was dealt with. While the viewer catches up, its watch already collects
what comes; both meet at the position.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from gateway.debug import sse
from gateway.debug.continuity import Continuity
from gateway.debug.entries import Entry, StreamId, parsed, stream_id
from gateway.debug.feeds import Feeds, StreamName, Watch
from gateway.debug.sse import Gap, State
from gateway.streams.debug import RawEntry, StreamAwayError
from shared.debug_event import LEVELS, ExtDebugEvent, Level
from shared.limits import DEBUG_HEARTBEAT_S, DEBUG_LOST_GRACE_S, DEBUG_READ_MAX_COUNT, DEBUG_RETRY_MAX_S, KIB

Send = Callable[[bytes], Awaitable[None]]
"""Sends a piece of the answer. Raises when the viewer is gone."""

_PIECE_BYTES: Final = 64 * KIB  # sent at once; what waits for a slow viewer beside its queue
_PRIMER_COUNT: Final = 200  # entries before the first one shown, read to know writers and executions under way
_RETRY_S: Final = 0.5


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which events a viewer asked for.

    Attributes:
        install_id, request_id: only these; `None` for any.
        level: this one and the more serious ones.
    """

    install_id: str | None = None
    request_id: str | None = None
    level: Level = "trace"

    def takes(self, event: ExtDebugEvent) -> bool:
        """Whether this event is to be shown."""
        return (
            LEVELS.index(event.level) >= LEVELS.index(self.level)
            and self.install_id in (None, event.install_id)
            and self.request_id in (None, event.request_id)
        )

    def concerns(self, gap: Gap) -> bool:
        """Whether something this viewer asked for may be missing there."""
        return not gap.request_id or self.request_id in (None, gap.request_id)


class Viewer:
    """What one answer sends.

    Args:
        feeds: reads streams.
        watch: of this viewer.
        name: whose stream.
        wanted: which events.
        tail: how many of the kept entries are shown first, when nothing is resumed.
        resume: the last entry an earlier answer showed.
        send: sends bytes to the viewer.
        wall: seconds since the epoch, to know how old an entry is.
        heartbeat_s: the longest silence.
    """

    def __init__(
        self,
        feeds: Feeds,
        watch: Watch,
        name: StreamName,
        *,
        wanted: Wanted,
        tail: int,
        resume: StreamId | None,
        send: Send,
        wall: Callable[[], float] = time.time,
        heartbeat_s: float = DEBUG_HEARTBEAT_S,
    ) -> None:
        self._streams, self._key = feeds.streams, feeds.key(name)
        self._watch, self._name, self._wanted = watch, name, wanted
        self._tail, self._send, self._wall, self._heartbeat_s = tail, send, wall, heartbeat_s
        self._at = resume
        self._begun = False
        self._continuity = Continuity()
        self._pieces: list[bytes] = []
        self._size = 0
        self._said: State | None = None
        self._sent_s = time.monotonic()

    async def run(self) -> None:
        """Show the stream until cancelled. Raises what `send` raises."""
        self._put(sse.OPENING)
        await self._flush()
        while True:
            if self._watch.state != "live":
                if self._watch.state == "away":
                    await self._say("degraded")
                await self._wait(time.monotonic() + self._heartbeat_s)
                continue
            try:
                await self._catch_up()
            except StreamAwayError:
                await self._say("degraded")
                await asyncio.sleep(_RETRY_S)
                continue
            self._continuity.postpone(self._patience_s())
            await self._say("live")
            await self._follow()

    # ---- from Redis -----------------------------------------------------------------------------------------

    async def _catch_up(self) -> None:
        """Everything from the position to the end of the stream."""
        self._watch.begin()
        if not self._begun:
            await self._begin()
            self._begun = True
        elif self._at is not None and not await self._is_kept(self._at):
            self._miss_what_was_trimmed()
        while True:
            found = await self._streams.after(self._key, str(self._at or StreamId(0, 0)))
            for raw in found:
                await self._deal(self._parse(raw))
            await self._flush()
            if len(found) < DEBUG_READ_MAX_COUNT:
                return

    async def _begin(self) -> None:
        """Find the place where the answer begins, and learn what is under way there."""
        resume = self._at
        if resume is not None:
            if await self._is_kept(resume):
                for raw in await self._streams.before(self._key, str(resume), _PRIMER_COUNT):
                    self._learn(self._parse(raw))
                return
            newest = stream_id(await self._streams.last_id(self._key))
            self._miss_what_was_trimmed()
            if resume < newest:
                return
        kept = await self._streams.before(self._key, "+", self._tail + _PRIMER_COUNT)
        self._at = stream_id(kept[-1].id) if kept else StreamId(0, 0)
        shown = len(kept) - self._tail
        for number, raw in enumerate(kept):
            if number < shown:
                self._learn(self._parse(raw))
            else:
                await self._show(self._parse(raw))

    async def _is_kept(self, entry_id: StreamId) -> bool:
        found = await self._streams.before(self._key, str(entry_id), 1)
        return bool(found) and found[0].id == str(entry_id)

    def _miss_what_was_trimmed(self) -> None:
        self._continuity.restart()
        self._put(sse.gap(Gap(reason="trimmed")))

    def _parse(self, raw: RawEntry) -> Entry:
        return parsed(raw, self._name.tenant_id, self._name.extension_id)

    # ---- from the feed --------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """What comes, until the position has to be found again."""
        while self._watch.state == "live" and not self._watch.behind:
            entries = self._watch.take()
            for entry in entries:
                if self._at is None or entry.id > self._at:
                    await self._deal(entry)
            for gap in self._continuity.overdue(self._watch.heard_s):  # not what Redis may only be slow to tell
                self._report(gap)
            await self._flush()
            if not entries:
                await self._wait(self._sent_s + self._heartbeat_s)

    async def _wait(self, until_s: float) -> None:
        """Until there is news, or that moment; a heartbeat when nothing was sent for too long."""
        try:
            async with asyncio.timeout(max(0.0, until_s - time.monotonic())):
                await self._watch.news.wait()
                self._watch.news.clear()
        except TimeoutError:
            if time.monotonic() - self._sent_s >= self._heartbeat_s:
                self._put(sse.heartbeat(str(self._at or "")))
                await self._flush()

    # ---- one entry ------------------------------------------------------------------------------------------

    async def _deal(self, entry: Entry) -> None:
        self._at = entry.id
        await self._show(entry)

    async def _show(self, entry: Entry) -> None:
        verdict = self._continuity.take(entry, time.monotonic(), self._age_s(entry))
        if verdict.again:
            return
        entry_id = str(entry.id) if entry.gap is not None else ""
        for number, gap in enumerate(verdict.gaps, 1):
            self._report(gap, entry_id if number == len(verdict.gaps) else "")
        if entry.event is not None and self._wanted.takes(entry.event):
            self._put(entry.frame)
        if self._size >= _PIECE_BYTES:
            await self._flush()

    def _learn(self, entry: Entry) -> None:
        self._continuity.take(entry, time.monotonic(), self._age_s(entry))

    def _age_s(self, entry: Entry) -> float:
        return max(0.0, self._wall() - entry.id.ms / 1000)

    def _report(self, gap: Gap, entry_id: str = "") -> None:
        if self._wanted.concerns(gap):
            self._put(sse.gap(gap, entry_id))

    # ---- to the viewer --------------------------------------------------------------------------------------

    def _patience_s(self) -> float:
        """A runner may only now be writing what it kept while the stream was away."""
        if self._said != "degraded":
            return 0.0
        return time.monotonic() + DEBUG_LOST_GRACE_S + 2 * DEBUG_RETRY_MAX_S

    async def _say(self, state: State) -> None:
        if state != self._said:
            self._said = state
            self._put(sse.status(state))
            await self._flush()

    def _put(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)

    async def _flush(self) -> None:
        if self._pieces:
            whole = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            await self._send(whole)
            self._sent_s = time.monotonic()

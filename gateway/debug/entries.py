"""An entry of a debug stream, parsed once for however many viewers: who wrote it, its number, and what it says.

What cannot be read, or speaks of another tenant or extension than its stream, is not shown but is not passed over
either: it becomes an entry that says so.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from gateway.debug import sse
from gateway.streams.debug import RawEntry
from shared.debug_event import ExtDebugEvent
from shared.debug_stream import (
    END,
    EVENT,
    EXECUTION_END,
    EXECUTION_START,
    GAP,
    NUMBER,
    WRITER,
    StreamGap,
    decode_event,
    decode_gap,
)
from shared.errors import InvalidRequest

_ID: Final = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")
_WRITER: Final = re.compile(rb"([A-Za-z0-9._:-]{1,260}/[0-9]{1,4})/[0-9a-f.]{1,40}")
_NUMBER: Final = re.compile(rb"[1-9][0-9]{0,17}")

Mark = Literal["start", "end"]


class StreamId(msgspec.Struct, frozen=True, order=True):
    """Where an entry stands in its stream; compares as Redis does."""

    ms: int
    number: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"


def stream_id(text: str) -> StreamId:
    """The id a viewer or Redis names. Raises `InvalidRequest`: nothing else ever reaches a Redis command."""
    found = _ID.fullmatch(text)
    if found is None or int(found[1]) >> 64 or int(found[2]) >> 64:
        raise InvalidRequest("Last-Event-ID must be the id of an earlier event: <milliseconds>-<number>")
    return StreamId(int(found[1]), int(found[2]))


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry.

    Attributes:
        id: where it stands.
        writer: the writer's name without its generation, then whole; empty when the entry has none.
        number: of this writer's entries; 0 when the entry has none.
        event: what was recorded, if it is that.
        gap: what was dropped, if it says that.
        ends: whether its writer is done.
        frame: the event as the viewers get it.
    """

    id: StreamId
    worker: str = ""
    writer: str = ""
    number: int = 0
    event: ExtDebugEvent | None = None
    gap: StreamGap | None = None
    ends: bool = False
    frame: bytes = b""

    @property
    def readable(self) -> bool:
        """Whether it says anything."""
        return self.event is not None or self.gap is not None or self.ends

    @property
    def mark(self) -> Mark | None:
        """Whether it is the first or the last event of its execution."""
        kind = self.event.data.get("kind") if self.event is not None and self.event.data else None
        if kind == EXECUTION_START:
            return "start"
        return "end" if kind == EXECUTION_END else None


def parsed(raw: RawEntry, tenant_id: str, extension_id: str) -> Entry:
    """The entry; one that cannot be read has only its id."""
    at, fields = stream_id(raw.id), raw.fields
    unreadable = Entry(id=at)
    writer, number = _WRITER.fullmatch(fields.get(WRITER, b"")), _NUMBER.fullmatch(fields.get(NUMBER, b""))
    if writer is None or number is None:
        return unreadable
    worker, name, count = writer[1].decode(), writer[0].decode(), int(number[0])
    try:
        if EVENT in fields:
            event = decode_event(fields[EVENT])
            if (event.tenant_id, event.extension_id) != (tenant_id, extension_id):
                return unreadable
            frame = sse.log(str(at), event)
            return Entry(id=at, worker=worker, writer=name, number=count, event=event, frame=frame)
        if GAP in fields:
            return Entry(id=at, worker=worker, writer=name, number=count, gap=decode_gap(fields[GAP]))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return unreadable
    return Entry(id=at, worker=worker, writer=name, number=count, ends=True) if END in fields else unreadable

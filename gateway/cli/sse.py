"""Reads Server-Sent Events (HTML Standard, "Server-sent events"): bytes in pieces of any size become events.

Lines end in LF, CR or CRLF; a line that begins with a colon is a comment (a heartbeat); an event is sent off by an
empty line, and what stands unfinished at the end of the stream is dropped, as the standard says.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from shared.limits import SSE_EVENT_MAX_BYTES

_LINE_END: Final = re.compile(r"\r\n|\n|\r(?!$)")  # a CR at the end of a piece may be half of a CRLF


class ServerEvent(msgspec.Struct, frozen=True):
    """One event.

    Attributes:
        event: its type, `message` when none was named.
        data: its lines, joined by line breaks.
        id: the last id the stream named so far; empty before the first.
    """

    event: str
    data: str
    id: str


class StreamFormatError(ValueError):
    """A stream that is none, or has an event larger than `SSE_EVENT_MAX_BYTES`."""


class EventParser:
    """The state of one stream.

    Args:
        last_id: the last id of the connection before.

    Attributes:
        last_id: what `Last-Event-ID` should say when the stream is asked for again; moves with each empty line, also
            when no event stands before it, as in a heartbeat that names a position.
        retry_ms: the pause before asking again that the server wishes for; `None` when it named none.
    """

    def __init__(self, last_id: str = "") -> None:
        self.retry_ms: int | None = None
        self.last_id = last_id
        self._named_id = last_id
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = ""
        self._event = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        """The events that `piece` completes. Raises `StreamFormatError`."""
        *lines, self._rest = _LINE_END.split(self._rest + self._decoder.decode(piece))
        for line in lines:
            found = self._line(line)
            if found is not None:
                yield found
        if self._size + len(self._rest) > SSE_EVENT_MAX_BYTES:
            raise StreamFormatError(f"an event of the stream has more than {SSE_EVENT_MAX_BYTES} bytes")

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
                self._size += len(value)
            case "id" if "\0" not in value:
                self._named_id = value
            case "retry" if value.isascii() and value.isdigit() and len(value) < 9:
                self.retry_ms = int(value)
            case _:
                return None  # a comment, or a field of a later standard
        return None

    def _dispatch(self) -> ServerEvent | None:
        self.last_id = self._named_id
        event, data = self._event or "message", "\n".join(self._data)
        had_data = bool(self._data)
        self._event, self._data, self._size = "", [], 0
        return ServerEvent(event, data, self.last_id) if had_data else None

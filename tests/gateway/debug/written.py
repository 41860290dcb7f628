"""Streams as runners write them: entries with writers and numbers, in Redis or in hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis as Client

from gateway.debug.entries import Entry, parsed
from gateway.streams.debug import RawEntry
from shared.debug_event import ExtDebugEvent
from shared.debug_stream import EXECUTION_END, EXECUTION_START, StreamGap, encode_event, encode_gap
from tests.debug_events import EXTENSION, event

KEY = f"ext-debug:acme:{EXTENSION}"


def fields(writer: str, number: int, said: ExtDebugEvent | StreamGap | None) -> dict[bytes, bytes]:
    """One entry; `None` ends the writer."""
    head = {b"writer": writer.encode(), b"number": b"%d" % number}
    if said is None:
        return {**head, b"end": b""}
    if isinstance(said, StreamGap):
        return {**head, b"gap": encode_gap(said)}
    return {**head, b"event": encode_event(said)}


class Writing:
    """One writer of one stream.

    Args:
        generation: of its process.
        worker: `instance/number` of its process.
    """

    def __init__(self, generation: str = "a.0", worker: str = "pod-1:8080/0") -> None:
        self.name = f"{worker}/{generation}"
        self.number = 0
        self.made: list[Entry] = []

    def fields(self, said: ExtDebugEvent | StreamGap | None) -> dict[bytes, bytes]:
        """The next entry."""
        self.number += 1
        return fields(self.name, self.number, said)

    def entry(self, said: ExtDebugEvent | StreamGap | None, at: int) -> Entry:
        """The next entry as it was read from place `at`."""
        return parsed(RawEntry(f"{at}-0", self.fields(said)), "acme", EXTENSION)

    async def add(self, client: Client, said: ExtDebugEvent | StreamGap | None, key: str = KEY) -> str:
        """Write the next entry; its id."""
        return str((await client.xadd(key, self.fields(said))).decode())  # type: ignore[arg-type]

    async def say(self, client: Client, *messages: str, key: str = KEY, **changes: Any) -> list[str]:
        """Write lines of no execution in particular; their ids."""
        return [await self.add(client, event(text, **{"execution_id": "", **changes}), key) for text in messages]


def start(name: str, timeout_ms: int = 1000, **changes: Any) -> ExtDebugEvent:
    """The first event of an execution."""
    data = {"kind": EXECUTION_START, "timeout_ms": str(timeout_ms)}
    return event("GET /", seq=1, stream="system", level="debug", data=data, execution_id=name, **changes)


def line(name: str, seq: int = 2, **changes: Any) -> ExtDebugEvent:
    """A line of an execution."""
    return event(f"line {seq}", seq=seq, execution_id=name, **changes)


def end(name: str, seq: int = 3, **changes: Any) -> ExtDebugEvent:
    """The last event of an execution."""
    data = {"kind": EXECUTION_END, "code": "ok", "events": str(seq)}
    return event("ok", seq=seq, stream="system", data=data, execution_id=name, **changes)


def whole(name: str, timeout_ms: int = 1000) -> Sequence[ExtDebugEvent]:
    """A short execution."""
    return (start(name, timeout_ms), line(name), end(name))

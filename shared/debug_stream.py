"""How debug events stand in a Redis stream, so that a reader can tell whether it has seen all of them.

One stream for each tenant and extension: `{prefix}{tenant}:{extension}`. Every entry has three fields:

    writer   who wrote it: `instance/worker/generation`; a worker that was started anew has a new generation
    number   of this writer's entries in this stream, from 1, without holes
    event    an `ExtDebugEvent` as JSON, or instead of it
    gap      a `StreamGap` as JSON: events this writer had to drop here, or
    end      empty: this writer is done with the stream, everything it took is written or was reported as a gap

A writer that does not know whether Redis took an entry writes it again, so a number may come twice; a number that is
missing is a loss. Why completeness is proved this way: decision 0007.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from shared import ids
from shared.debug_event import ExtDebugEvent
from shared.terminal_safe import terminal_safe

WRITER: Final = b"writer"
NUMBER: Final = b"number"
EVENT: Final = b"event"
GAP: Final = b"gap"
END: Final = b"end"

EXECUTION_START: Final = "execution.start"
EXECUTION_END: Final = "execution.end"
HOST_CALL: Final = "host.call"
INCIDENT: Final = "incident"
"""Values of `data.kind` in the events that the platform itself records."""

PREFIX: Final = "ext-debug:"


class StreamGap(msgspec.Struct, frozen=True, kw_only=True):
    """Events that a writer dropped.

    Attributes:
        count: how many.
        reason: `overflow`: its buffer was full; `refused`: Redis did not take them.
    """

    count: int
    reason: Literal["overflow", "refused"]


class Writer(msgspec.Struct, frozen=True):
    """Who writes. `instance` and `worker` stay the same when a process is replaced, `generation` does not."""

    instance: str
    worker: int
    generation: str

    def text(self) -> str:
        """As the field has it."""
        return f"{self.instance}/{self.worker}/{self.generation}"


def stream_key(prefix: str, tenant_id: str, extension_id: str) -> str:
    """The key of one stream. Raises `InvalidRequest` for ids that are none: nothing else ever becomes part of a key."""
    return f"{prefix}{ids.tenant_id(tenant_id)}:{ids.extension_id(extension_id)}"


_event: Final = msgspec.json.Encoder()


def encode_event(event: ExtDebugEvent) -> bytes:
    """An event as it stands in the stream; safe to print."""
    return terminal_safe(_event.encode(event))


decode_event: Final = msgspec.json.Decoder(ExtDebugEvent).decode
encode_gap: Final = msgspec.json.Encoder().encode
decode_gap: Final = msgspec.json.Decoder(StreamGap).decode

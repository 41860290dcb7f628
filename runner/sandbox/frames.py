"""Frames on the socket between a runner worker and one sandbox: the whole protocol, in one file.

A frame is a little-endian u32 length and a MessagePack array whose first item is the tag. Golden bytes pin each
kind. The sandbox trusts the parent. **The parent trusts nothing**: a frame of unknown tag, wrong type, excess size or
out of turn ends the sandbox.

    parent → sandbox   Execute · Reply · Release · Trim
    sandbox → parent   Ready · Log · HostCall · Done · Failed

One `Execute` is answered by exactly one `Done` or `Failed`; between them come any number of `Log` and `HostCall`
frames, at most one `HostCall` awaiting its `Reply`. After `Failed` the store is still alive, so that the parent can
measure the process; `Release` lets it go. `Trim` comes between executions and is not answered. `seq` numbers executions, so that a late frame cannot be taken for the
next call's.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, Final, Literal

import msgspec

from shared.debug_event import Level, Stream
from shared.limits import FRAME_MAX_BYTES, LIFTED_LIST_MAX_COUNT

LENGTH: Final = struct.Struct("<I")

Headers = Annotated[list[tuple[str, str]], msgspec.Meta(max_length=LIFTED_LIST_MAX_COUNT)]
"""Name and value; as many as may cross the boundary inside, since a frame of nothing else would be half a gigabyte."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""A number that is written down elsewhere: whoever claims an absurd one must not be able to spoil a record."""

Microseconds = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""Processor time as the sandbox measured it; what the kernel says is held against it."""


WALL_LAYERS_MAX_COUNT: Final = 64
"""Far more than there are."""


class Frame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of every frame."""


# ---- parent → sandbox ---------------------------------------------------------------------------------------


class Execute(Frame, frozen=True, tag=1):
    """Run the handler of `component` once, in a fresh store.

    What the guest may read for free travels along: `context` (fields of `context-data`), `user` (fields of
    `user-data-v2`) or the error case to answer, `config` pairs in key order. `capabilities` is the grant list; what
    is not in it is answered inside without asking the parent, and refused by the parent if asked all the same.
    """

    seq: int
    component: str
    timeout_ms: int
    memory_bytes: int
    context: tuple[str | None, str, str, str | None, str | None]
    method: str
    url: str
    headers: Headers
    body: bytes | None
    capabilities: tuple[str, ...]
    user: tuple[Any, ...] | str
    config: list[tuple[str, str]]


class Reply(Frame, frozen=True, tag=2):
    """The answer to the one outstanding `HostCall`: a value of the function's result type."""

    seq: int
    value: Any


class Release(Frame, frozen=True, tag=3):
    """The parent has measured; drop the store."""

    seq: int


class Trim(Frame, frozen=True, tag=4):
    """Nothing has run for a while: give resident memory back."""


# ---- sandbox → parent ---------------------------------------------------------------------------------------


class Ready(Frame, frozen=True, tag=10):
    """Sent once, after lockdown and warm-up. `wall` names each layer and how it went."""

    pid: int
    wall: Annotated[dict[str, str], msgspec.Meta(max_length=WALL_LAYERS_MAX_COUNT)]


class Log(Frame, frozen=True, tag=11):
    """One line for the debug stream."""

    seq: int
    level: Level
    stream: Stream
    message: str
    truncated: bool


class HostCall(Frame, frozen=True, tag=12):
    """The guest called an import that the parent answers."""

    seq: int
    interface: str
    function: str
    arguments: list[Any]


class AskedHostCall(Frame, frozen=True, tag=12):
    """`HostCall` as the parent reads it: the arguments stay bytes until the function tells their types."""

    seq: int
    interface: str
    function: str
    arguments: msgspec.Raw


class Done(Frame, frozen=True, tag=13):
    """The guest's answer."""

    seq: int
    status: int
    headers: Headers
    body: bytes | None
    cpu_us: Microseconds
    host_calls: Count


FailureKind = Literal["interrupt", "unreachable", "stack", "memory", "trap", "fuel", "response", "link"]


class Failed(Frame, frozen=True, tag=14):
    """There is no answer. `message` is wasmtime's text with the guest's backtrace: for the debug stream only."""

    seq: int
    kind: FailureKind
    message: str
    cpu_us: Microseconds
    host_calls: Count


ToSandbox = Execute | Reply | Release | Trim
FromSandbox = Ready | Log | HostCall | Done | Failed
FromHostileSandbox = Ready | Log | AskedHostCall | Done | Failed

_encoder: Final = msgspec.msgpack.Encoder()
decode_to_sandbox: Final = msgspec.msgpack.Decoder(ToSandbox).decode
decode_from_sandbox: Final = msgspec.msgpack.Decoder(FromHostileSandbox).decode


class FrameError(Exception):
    """Bytes that are not a frame, or a frame larger than `FRAME_MAX_BYTES`."""


def encode(frame: ToSandbox | FromSandbox) -> bytearray:
    """Length and body of one frame. Raises `FrameError` when it would exceed the limit."""
    buffer = bytearray(LENGTH.size)
    _encoder.encode_into(frame, buffer, LENGTH.size)
    size = len(buffer) - LENGTH.size
    if size > FRAME_MAX_BYTES:
        raise FrameError(f"a frame of {size} bytes is larger than {FRAME_MAX_BYTES}")
    LENGTH.pack_into(buffer, 0, size)
    return buffer


class FrameReader:
    """Cuts a byte stream into frame bodies; memory stays below one frame plus one read."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies completed by `data`. Raises `FrameError` for a length above the limit."""
        buffer = self._buffer
        buffer += data
        bodies: list[bytes] = []
        at = 0
        while len(buffer) - at >= LENGTH.size:
            (size,) = LENGTH.unpack_from(buffer, at)
            if size > FRAME_MAX_BYTES:
                raise FrameError(f"a frame of {size} bytes is larger than {FRAME_MAX_BYTES}")
            end = at + LENGTH.size + size
            if len(buffer) < end:
                break
            bodies.append(bytes(buffer[at + LENGTH.size : end]))
            at = end
        if at:
            del buffer[:at]
        return bodies

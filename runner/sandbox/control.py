"""Messages between a runner worker and its zygote: one SEQPACKET datagram each, descriptors as ancillary data.

    worker → zygote   Load (+ sealed memfd) · Unload · Fork (+ the sandbox's socket)
    zygote → worker   Started · Loaded · Forked (+ pidfd) · Refused · Died

Replies come in the order of the requests; `Died` comes whenever a sandbox ends.
"""

from __future__ import annotations

from typing import Final

import msgspec

MESSAGE_MAX_BYTES: Final = 4096


class Control(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of every control message."""


class Load(Control, frozen=True, tag=1):
    """Map the native code in the attached descriptor and call it `component`."""

    component: str


class Unload(Control, frozen=True, tag=2):
    """Forget `component`; sandboxes forked before keep it."""

    component: str


class Fork(Control, frozen=True, tag=3):
    """Fork a sandbox that serves the attached socket."""


class Started(Control, frozen=True, tag=10):
    """The zygote is ready to fork."""

    engine_id: str


class Loaded(Control, frozen=True, tag=11):
    """`component` is mapped, or was forgotten."""

    component: str


class Forked(Control, frozen=True, tag=12):
    """A sandbox exists; a pidfd is attached."""

    pid: int


class Refused(Control, frozen=True, tag=13):
    """The request could not be done."""

    reason: str


class Died(Control, frozen=True, tag=14):
    """A sandbox ended: `status` as waitpid(2) gives it, `cpu_us` what the process used in all its life (wait4(2))."""

    pid: int
    status: int
    cpu_us: int


ToZygote = Load | Unload | Fork
FromZygote = Started | Loaded | Forked | Refused | Died

encode: Final = msgspec.msgpack.Encoder().encode
decode_to_zygote: Final = msgspec.msgpack.Decoder(ToZygote).decode
decode_from_zygote: Final = msgspec.msgpack.Decoder(FromZygote).decode

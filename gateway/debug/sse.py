"""Server-Sent Events as the debug stream sends them (HTML Standard, "Server-sent events"): bytes, pinned by tests.

id: 1700000000000-0            only on what stands in the stream: from there a viewer can resume
event: log | gap | status
data: one line of JSON, keys in camelCase, safe to print
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from shared.debug_event import ExtDebugEvent
from shared.limits import DEBUG_RETRY_MS
from shared.terminal_safe import terminal_safe

CONTENT_TYPE: Final = b"text/event-stream; charset=utf-8"
OPENING: Final = b"retry: %d\n\n" % DEBUG_RETRY_MS

State = Literal["live", "degraded", "restarting", "reconnect", "expired", "closed"]
"""`live`: what was kept has been sent, what comes is sent as it comes. `degraded`: the stream cannot be read right
now. The others end the answer: `restarting` and `reconnect` ask the viewer to come again, with `expired` and `closed`
its credential is no longer good."""

Reason = Literal["dropped", "lost", "trimmed", "unfinished", "runner_restarted", "unreadable"]
"""Why something is missing. `dropped`: a runner had to. `lost`: it was written and is not there. `trimmed`: it is older
than what the stream keeps. `unfinished`: an execution began and its end never came. `runner_restarted`: a runner
ended without finishing the stream. `unreadable`: an entry is not one of ours."""


class Gap(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`event: gap`.

    Attributes:
        count: events that are missing; left out when nobody can know.
        request_id, execution_id, after_seq: whose, and behind which event, where only one execution is concerned.
    """

    reason: Reason
    count: int | None = None
    request_id: str = ""
    execution_id: str = ""
    after_seq: int = 0


class Status(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`event: status`."""

    state: State


class _Log(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`event: log`: `ExtDebugEvent` in camelCase, field by field."""

    ts: int
    seq: int
    level: str
    stream: str
    tenant_id: str
    extension_id: str
    install_id: str
    request_id: str
    version_id: str
    content_hash: str
    message: str
    truncated: bool
    data: dict[str, str] | None = None
    execution_id: str = ""


_json: Final = msgspec.json.Encoder()


def log(entry_id: str, event: ExtDebugEvent) -> bytes:
    """One event of an execution."""
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    data = terminal_safe(_json.encode(_Log(**fields)))
    return b"id: %b\nevent: log\ndata: %b\n\n" % (entry_id.encode(), data)


def gap(found: Gap, entry_id: str = "") -> bytes:
    """Something is missing here."""
    at = b"id: %b\n" % entry_id.encode() if entry_id else b""
    return b"%bevent: gap\ndata: %b\n\n" % (at, _json.encode(found))


def heartbeat(position: str) -> bytes:
    """A comment; with it the position, which no event carried when none was to be shown. It is no event of its own."""
    return b":\nid: %b\n\n" % position.encode() if position else b":\n\n"


def status(state: State) -> bytes:
    """How the stream is doing."""
    return b"event: status\ndata: %b\n\n" % _json.encode(Status(state=state))

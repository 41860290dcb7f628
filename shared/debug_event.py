"""`ExtDebugEvent`: one line of the live debug stream, as it stands in Redis and, in camelCase, in the SSE answer.

Evolution rule: fields are added with a default, never renamed. The stream is for people; it is not the log of
record.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["trace", "debug", "info", "warn", "error"]
Stream = Literal["stdout", "stderr", "log", "host", "system"]


class ExtDebugEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event.

    Attributes:
        ts: milliseconds since the epoch.
        seq: number within the execution, from 1, without holes; a hole a reader sees is a loss.
        stream: `stdout`, `stderr` and `log` are the guest's; `host` and `system` the platform's.
        truncated: whether `message` was cut.
    """

    ts: int
    seq: int
    level: Level
    stream: Stream
    tenant_id: str
    extension_id: str
    install_id: str
    request_id: str
    version_id: str
    content_hash: str
    message: str
    truncated: bool = False
    data: dict[str, str] | None = None

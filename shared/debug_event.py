"""`ExtDebugEvent`: one line of the live debug stream, as it stands in Redis and, in camelCase, in the SSE answer.

Evolution rule: fields are added with a default, never renamed. The stream is for people; it is not the log of
record.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

Level = Literal["trace", "debug", "info", "warn", "error"]
Stream = Literal["stdout", "stderr", "log", "host", "system"]


LEVELS: Final[tuple[Level, ...]] = get_args(Level)
"""From the least to the most serious."""


class ExtDebugEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event.

    Attributes:
        ts: milliseconds since the epoch.
        seq: number within the execution, from 1, without holes; a hole a reader sees is a loss.
        stream: `stdout`, `stderr` and `log` are the guest's; `host` and `system` the platform's.
        truncated: whether `message` was cut.
        execution_id: tells executions apart that share a request id (a repeated call does).
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
    execution_id: str = ""


def text_bytes(text: str) -> int:
    """The length of `text` in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def cut_text(text: str, limit_bytes: int) -> tuple[str, bool]:
    """`text` cut to `limit_bytes` of UTF-8 on a character boundary, and whether anything was cut."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit_bytes:
        return text, False
    return data[:limit_bytes].decode("utf-8", "ignore"), True

"""Turns what an execution says into numbered debug events."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import structlog

from shared.debug_event import ExtDebugEvent, Level, Stream
from shared.wire import Context

_log = structlog.get_logger("guest")


class Sink(Protocol):
    """Where events go. `emit` returns at once and never raises; what it cannot take it counts."""

    def emit(self, event: ExtDebugEvent) -> None:
        """Take one event."""
        ...


class LogSink:
    """Writes events as log lines of the runner: what is left when no stream is configured."""

    def emit(self, event: ExtDebugEvent) -> None:
        """One JSON line; control characters of the guest are escaped by the renderer."""
        _log.info(
            "guest_line",
            stream=event.stream,
            guest_level=event.level,
            message=event.message,
            seq=event.seq,
            request_id=event.request_id,
            tenant=event.tenant_id,
            extension=event.extension_id,
            truncated=event.truncated,
        )


class Recorder:
    """Numbers the events of one execution; silent when the caller did not ask for debugging."""

    def __init__(self, context: Context, sink: Sink | None, clock: Callable[[], float] = time.time) -> None:
        self._context = context
        self._sink = sink
        self._clock = clock
        self._seq = 0

    def record(self, level: Level, stream: Stream, message: str, *, truncated: bool = False) -> None:
        """One event, stamped now."""
        if self._sink is None:
            return
        self._seq += 1
        context = self._context
        self._sink.emit(
            ExtDebugEvent(
                ts=int(self._clock() * 1000),
                seq=self._seq,
                level=level,
                stream=stream,
                tenant_id=context.tenant_id,
                extension_id=context.extension_id,
                install_id=context.install_id,
                request_id=context.request_id,
                version_id=context.version_id,
                content_hash=context.content_hash,
                message=message,
                truncated=truncated,
            )
        )

"""Turns what an execution says into numbered debug events.

What must not be read in them is taken out here, before any sink: the plaintext of secrets this execution was given,
and whatever looks like one of the platform's own credentials.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from shared.debug_event import ExtDebugEvent, Level, Stream
from shared.debug_stream import INCIDENT
from shared.limits import EGRESS_DENIED_TARGETS_MAX_COUNT, LOG_EVENT_MAX_BYTES
from shared.logs import redact_text
from shared.redaction import Redactor
from shared.wire import Context, DeniedTarget

_PRINTED: Final = frozenset({"stdout", "stderr"})

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
    """Numbers the events of one execution; silent when the caller did not ask for debugging.

    Args:
        context: whose execution it is.
        sink: where events go; `None` when nobody wants them.
        clock: seconds since the epoch.
    """

    def __init__(self, context: Context, sink: Sink | None, clock: Callable[[], float] = time.time) -> None:
        self._context = context
        self._sink = sink
        self._clock = clock
        self._seq = 0
        self._redactor = Redactor()
        self._incidents: dict[str, None] = {}
        self._denied: dict[tuple[str, str], DeniedTarget] = {}
        self._unfinished: set[Stream] = set()
        self._execution_id = secrets.token_hex(8) if sink is not None else ""

    @property
    def silent(self) -> bool:
        """Whether nothing is recorded, so that a caller need not describe what nobody reads."""
        return self._sink is None

    @property
    def count(self) -> int:
        """How many events there were so far."""
        return self._seq

    @property
    def redactor(self) -> Redactor:
        """What this execution may not show to anybody, here or elsewhere."""
        return self._redactor

    def conceal(self, secret: str) -> None:
        """Write `***` instead of this text from now on. To be called before the guest learns it."""
        self._redactor.conceal(secret)

    @property
    def incidents(self) -> tuple[str, ...]:
        """The codes of what was refused to the guest, each once, the first one first."""
        return tuple(self._incidents)

    def incident(self, code: str, message: str) -> None:
        """Something was refused that belongs into the execution's record; also when nobody asked for debugging."""
        self._incidents.setdefault(code)
        self.record("warn", "system", message, data={"kind": INCIDENT, "code": code})

    @property
    def denied_targets(self) -> tuple[DeniedTarget, ...]:
        """Where the guest wanted to go and could not, the first one first."""
        return tuple(self._denied.values())

    def denied_target(self, target: str, reason: str, *, grantable: bool, observed: bool = False) -> None:
        """One more request that was denied, or would have been; also when nobody asked for debugging.

        Args:
            target: an origin; one with a secret in its name stands nowhere but in the record's incident.
            reason: a word of the egress policy's.
            grantable: whether an entry would have allowed it.
            observed: it was let pass.
        """
        if self._redactor.clean(target) != target:
            return
        before = self._denied.get((target, reason))
        if before is None and len(self._denied) >= EGRESS_DENIED_TARGETS_MAX_COUNT:
            return
        times = 1 if before is None else before.times + 1
        self._denied[target, reason] = DeniedTarget(
            target=target, reason=reason, times=times, grantable=grantable, observed=observed
        )

    def record(
        self,
        level: Level,
        stream: Stream,
        message: str,
        *,
        truncated: bool = False,
        data: dict[str, str] | None = None,
    ) -> None:
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
                message=self._clean(stream, message, truncated),
                truncated=truncated,
                data=self._clean_data(data),
                execution_id=self._execution_id,
            )
        )

    def close(self) -> None:
        """Record nothing any more: the event that says how many there were was the last one."""
        self._sink = None

    def _clean(self, stream: Stream, text: str, cut: bool) -> str:
        """A long printed line comes in pieces: a secret may begin at the end of one and end in the next."""
        goes_on = stream in _PRINTED and len(text.encode("utf-8", "replace")) >= LOG_EVENT_MAX_BYTES
        text = self._redactor.clean(text, begins_inside=stream in self._unfinished, ends_inside=cut or goes_on)
        if goes_on:
            self._unfinished.add(stream)
        else:
            self._unfinished.discard(stream)
        return redact_text(text)

    def _clean_data(self, data: dict[str, str] | None) -> dict[str, str] | None:
        """`data` is the platform's own words and numbers: no credential of ours, but perhaps a name a guest chose."""
        return None if data is None else {name: self._redactor.clean(text) for name, text in data.items()}

"""Who is told of a decision, and what: the operator everything, the author what would change it, the guest one word.

Each decision is one line of the log and one count of a metric. A denial is also an event of the live debug stream and a
code in the execution's record; and it is counted by install and target, here for the log and, with the answer, by the
gateway, so that an administrator sees what an extension keeps asking for. Hosts are named; paths and queries never are, since they may hold what nobody should read.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Literal, Protocol

import msgspec
import structlog

from runner.egress.failures import Failure, TransportError
from shared.debug_event import Level, Stream
from shared.egress import Denied, Reason
from shared.limits import EGRESS_DENIED_INSTALLS_MAX_COUNT, EGRESS_DENIED_TARGETS_MAX_COUNT

DENIED: Final = "egress_denied"
OBSERVED: Final = "egress_observed"
RESPONSE_TOO_LARGE: Final = "response_too_large"

Verdict = Literal["allowed", "observed", "denied", "failed"]

_log = structlog.get_logger("egress")


class Recorder(Protocol):
    """Takes what an execution's author may read."""

    def record(self, level: Level, stream: Stream, message: str) -> None:
        """One event."""
        ...

    def incident(self, code: str, message: str) -> None:
        """One event whose code stands in the execution's record."""
        ...

    def denied_target(self, target: str, reason: str, *, grantable: bool, observed: bool = False) -> None:
        """One origin for the counts an administrator sees."""
        ...


class Metrics(Protocol):
    """Counts decisions."""

    def egress(self, verdict: str, reason: str) -> None:
        """One decision; both words come from small sets."""
        ...


class Caller(msgspec.Struct, frozen=True):
    """Whose fetch it is."""

    tenant: str
    extension: str
    install: str
    request_id: str


class DeniedTarget(msgspec.Struct, frozen=True):
    """How often an install was denied a target by this worker."""

    target: str
    reason: str
    times: int


class DeniedTargets:
    """Counts denials of one worker: of so many installs, each with so many targets, the oldest forgotten first."""

    def __init__(self) -> None:
        self._installs: OrderedDict[tuple[str, str], OrderedDict[tuple[str, str], int]] = OrderedDict()

    def add(self, caller: Caller, target: str, reason: str) -> int:
        """One more; how many there are."""
        targets = self._installs.setdefault((caller.tenant, caller.install), OrderedDict())
        self._installs.move_to_end((caller.tenant, caller.install))
        times = targets[target, reason] = targets.pop((target, reason), 0) + 1
        if len(targets) > EGRESS_DENIED_TARGETS_MAX_COUNT:
            targets.popitem(last=False)
        if len(self._installs) > EGRESS_DENIED_INSTALLS_MAX_COUNT:
            self._installs.popitem(last=False)
        return times

    def of(self, tenant: str, install: str) -> tuple[DeniedTarget, ...]:
        """What an install was denied, the latest last."""
        targets = self._installs.get((tenant, install), OrderedDict())
        return tuple(DeniedTarget(target, reason, times) for (target, reason), times in targets.items())


class Report:
    """Tells the decisions of one worker.

    Args:
        metrics: counts them.
        denied: counts denials by install and target.
    """

    def __init__(self, metrics: Metrics, denied: DeniedTargets) -> None:
        self._metrics, self._denied = metrics, denied

    def allowed(self, caller: Caller, origin: str) -> None:
        """A request goes out to `origin`."""
        self._tell(caller, "allowed", "granted", origin)

    def denied(self, caller: Caller, recorder: Recorder, denied: Denied, origin: str, why: str | None = None) -> None:
        """A request stays here.

        Args:
            origin: where to, or nothing when the URL does not say.
            why: for the log alone, when the operator may know more than the author.
        """
        times = self._denied.add(caller, origin, denied.reason)
        self._tell(caller, "denied", denied.reason, origin, detail=why or denied.detail, times=times)
        if origin:
            recorder.denied_target(origin, str(denied.reason), grantable=denied.would_allow is not None)
        recorder.incident(DENIED, f"http.fetch: {denied.reason.guest_error} ({denied.reason}): {denied.detail}")

    def observed(self, caller: Caller, recorder: Recorder, denied: Denied, origin: str) -> None:
        """A request goes out that would stay here, were the allowlist enforced."""
        times = self._denied.add(caller, origin, denied.reason)
        self._tell(caller, "observed", denied.reason, origin, detail=denied.detail, times=times)
        recorder.denied_target(origin, str(denied.reason), grantable=True, observed=True)
        recorder.incident(OBSERVED, f"http.fetch: let pass by EXT_EGRESS_MODE=observe: {denied.detail}")

    def failed(self, caller: Caller, recorder: Recorder, error: TransportError, origin: str) -> None:
        """A request was allowed and came to nothing."""
        self._tell(caller, "failed", error.failure, origin, detail=error.detail)
        message = f"http.fetch: transport ({error.failure}): {origin}: {error.detail}"
        if error.failure is Failure.RESPONSE_TOO_LARGE:
            recorder.incident(RESPONSE_TOO_LARGE, message)
        else:
            recorder.record("warn", "system", message)

    def uncounted(self, reason: Reason) -> None:
        """One more of what was told already: counted only, since a guest can repeat itself without end."""
        self._metrics.egress("denied", reason)

    def _tell(self, caller: Caller, verdict: Verdict, reason: str, origin: str, **more: str | int) -> None:
        self._metrics.egress(verdict, reason)
        line = _log.info if verdict == "allowed" else _log.warning
        line(
            f"egress_{verdict}",
            tenant=caller.tenant,
            extension=caller.extension,
            install=caller.install,
            request_id=caller.request_id,
            host=origin,
            verdict=verdict,
            reason=str(reason),
            **more,
        )

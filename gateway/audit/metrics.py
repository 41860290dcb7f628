"""What the execution log counts while it closes rows: calls, their time, their wait. Labels are bounded."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.store.platform.executions import Closing, Opening

_SECONDS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ExecutionMetrics:
    """The gateway's side of every call.

    Args:
        registry: what `/metrics` renders.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "ext_requests_total", "Calls of extensions by code and blame.", ("code", "blame"), registry=registry
        )
        self._seconds = Histogram(
            "ext_request_seconds", "From the opened row to the answer.", buckets=_SECONDS, registry=registry
        )
        self._queued = Histogram(
            "ext_queue_seconds", "Wait for a sandbox, as the runner says.", buckets=_SECONDS, registry=registry
        )
        self._undeclared = Counter(
            "ext_undeclared_total", "Calls of paths that the manifest does not declare.", registry=registry
        )
        self.unopened = Counter(
            "ext_audit_unopened_total", "Calls that ran without an opened row (best-effort).", registry=registry
        )
        self.dropped = Counter(
            "ext_audit_dropped_total", "Closings given up; their rows become lost.", registry=registry
        )
        self.lost = Counter("ext_audit_lost_total", "Rows whose caller died.", registry=registry)

    def closed(self, opening: Opening, closing: Closing) -> None:
        """Note one ended call."""
        self._requests.labels(closing.code or closing.state, closing.blame or "none").inc()
        self._seconds.observe(closing.duration_ms / 1000)
        self._queued.observe(closing.queue_ms / 1000)
        if not opening.endpoint:
            self._undeclared.inc()

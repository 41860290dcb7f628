"""The runner's Prometheus metrics: names are contracts, labels are bounded. Those of guests are in `guest_metrics`.

Several worker processes share one set through prometheus-client's multiprocess files; the supervisor sets
`PROMETHEUS_MULTIPROC_DIR` before any worker imports this module, and any worker can answer for all.
"""

from __future__ import annotations

import os
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BYTES: Final = tuple(float(1 << shift) for shift in range(20, 29))  # 1 MiB to 256 MiB


class RunnerMetrics:
    """What a runner counts."""

    def __init__(self) -> None:
        self._multiprocess = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._registry = CollectorRegistry()
        if self._multiprocess:
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]  # prometheus-client is not typed here
        own = None if self._multiprocess else self._registry
        self.requests = Counter("ext_requests_total", "Executions by outcome", ["code", "blame"], registry=own)
        self.request_seconds = Histogram(
            "ext_request_seconds", "From the first byte to the answer", registry=own, buckets=_SECONDS
        )
        self.queue_seconds = Histogram("ext_queue_seconds", "Waiting for a slot", registry=own, buckets=_SECONDS)
        self.guest_seconds = Histogram("ext_guest_seconds", "In the sandbox", registry=own, buckets=_SECONDS)
        self.guest_memory = Histogram(
            "ext_guest_memory_bytes", "Resident growth of one call", registry=own, buckets=_BYTES
        )
        self.guest_cpu = Counter("ext_guest_cpu_seconds_total", "Processor time of sandboxes in calls", registry=own)
        self.host_calls = Counter("ext_host_calls_total", "Host calls of guests", registry=own)
        self.host_call_seconds = Histogram(
            "ext_host_call_seconds",
            "Host calls that the runner answered; the others are answered in the sandbox",
            ["capability", "outcome"],
            registry=own,
            buckets=_SECONDS,
        )
        self.guest_samples_dropped = Counter(
            "ext_guest_samples_dropped_total", "Samples of guests that were not taken", ["reason"], registry=own
        )
        self.egress_bytes = Counter("ext_egress_bytes_total", "Bytes to and from granted hosts", registry=own)
        self._count_egress(own)
        self.sandboxes = Gauge(
            "ext_sandbox_workers",
            "Sandbox processes by state",
            ["state"],
            registry=own,
            multiprocess_mode="livesum",
        )
        self.cold_loads = Counter("ext_cold_loads_total", "Native code loaded, by where from", ["stage"], registry=own)
        self.cache_tampered = Counter(
            "ext_cache_tampered_total",
            "Stored or cached bytes that failed their check and were not used: alert on any",
            ["where"],
            registry=own,
        )
        self.incidents = Counter(
            "ext_incidents_total", "What was refused to a guest and stands in the call's record", ["code"], registry=own
        )
        self.debug_dropped = Counter("ext_debug_events_dropped_total", "Debug events nobody will read", registry=own)
        self.violations = Counter("ext_sandbox_violations_total", "Sandboxes that broke a rule", registry=own)
        self.repeated_violations = Counter(
            "ext_sandbox_repeated_violations_total",
            "Sandboxes of an install that had broken a rule within the hour: an attack, alert on any",
            registry=own,
        )
        self.deaths = Counter("ext_sandbox_deaths_total", "Sandboxes that calls have cost", ["cause"], registry=own)

    def _count_egress(self, own: CollectorRegistry | None) -> None:
        self.egress_decisions = Counter(
            "ext_egress_decisions_total",
            "Requests of guests, by what was decided about them",
            ["verdict"],
            registry=own,
        )
        self.egress_denied = Counter(
            "ext_egress_denied_total",
            "Requests of guests that were denied, or would be without EXT_EGRESS_MODE=observe",
            ["reason"],
            registry=own,
        )
        self.egress_failed = Counter(
            "ext_egress_failed_total",
            "Requests of guests that were allowed and got no answer",
            ["reason"],
            registry=own,
        )

    def count(self, stage: str) -> None:
        """One cold load that was served from `stage`: `disk`, `store`, `compiled`."""
        self.cold_loads.labels(stage).inc()

    def tampered(self, where: str) -> None:
        """Bytes from `disk` or `store` were not what they should be."""
        self.cache_tampered.labels(where).inc()

    def host_call(self, capability: str, outcome: str, took_s: float) -> None:
        """One host call that the runner answered; both words come from small sets."""
        self.host_call_seconds.labels(capability, outcome).observe(took_s)

    def sample_dropped(self, reason: str) -> None:
        """A guest's sample was not taken; the word comes from a small set."""
        self.guest_samples_dropped.labels(reason).inc()

    def egress(self, verdict: str, reason: str) -> None:
        """One decision about a guest's request; both words come from small sets."""
        self.egress_decisions.labels(verdict).inc()
        if verdict in ("denied", "observed"):
            self.egress_denied.labels(reason).inc()
        elif verdict == "failed":
            self.egress_failed.labels(reason).inc()

    def text(self) -> bytes:
        """The exposition of all workers of this runner."""
        return generate_latest(self._registry)

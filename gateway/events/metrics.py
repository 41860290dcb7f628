"""What the gateway counts about events: how many were taken, and what became of deliveries. Labels are bounded."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class EventMetrics:
    """One process's counters.

    Args:
        registry: what `/metrics` renders.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.published = Counter(
            "ext_events_published_total", "Events accepted, by who published.", ("publisher",), registry=registry
        )
        self.refused = Counter("ext_events_refused_total", "Events of extensions that were refused.", registry=registry)
        self.attempts = Counter(
            "ext_event_attempts_total", "Attempts to deliver, by what became of them.", ("outcome",), registry=registry
        )
        self.running = Gauge("ext_event_deliveries_running", "Deliveries under way in this gateway.", registry=registry)

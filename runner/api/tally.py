"""The account of one execution: its times and its meter, as the answer's `usage` and, once, in the metrics.

What an execution has used is known at every moment, so a refusal, a cancellation and a kill carry it as an answer does.
The numbers of `usage` and those added to the metrics are the same ones; the gateway writes `usage` into the record.
"""

from __future__ import annotations

import time

from runner.meter import Meter
from runner.metrics import RunnerMetrics
from shared.wire import Usage


class Tally:
    """Follows one execution; `close` it at its end, whatever the end was.

    Attributes:
        meter: what the sandbox and the capabilities count.
        cold: whether native code had to be loaded first.
    """

    __slots__ = ("_began_s", "_ended_s", "_metrics", "_queued_s", "_started_s", "cold", "meter")

    def __init__(self, metrics: RunnerMetrics) -> None:
        self._metrics = metrics
        self._started_s = time.perf_counter()
        self._queued_s: float | None = None
        self._began_s: float | None = None
        self._ended_s: float | None = None
        self.meter = Meter(metrics.host_call)
        self.cold = False

    @property
    def began(self) -> bool:
        """Whether a guest may have run."""
        return self._began_s is not None

    def queue(self) -> None:
        """It waits for a slot from now on."""
        self._queued_s = time.perf_counter()

    def begin(self) -> None:
        """It has a slot; the guest runs from now on."""
        self._began_s = time.perf_counter()

    def end(self) -> None:
        """The guest runs no more."""
        self._ended_s = time.perf_counter()

    def usage(self) -> Usage:
        """What it took so far."""
        meter = self.meter
        return Usage(
            duration_ms=round((time.perf_counter() - self._started_s) * 1000, 3),
            queue_ms=round(self._waited_s() * 1000, 3),
            cpu_ms=round(meter.cpu_us / 1000, 3),
            memory_peak_bytes=meter.memory_peak_bytes,
            egress_bytes=meter.egress_bytes,
            host_calls=meter.host_calls,
            cold=self.cold,
        )

    def close(self) -> None:
        """Add it to the metrics. A call that never ran has only waited."""
        metrics, meter = self._metrics, self.meter
        if self._queued_s is not None:
            metrics.queue_seconds.observe(self._waited_s())
        if self._began_s is None:
            return
        ended_s = self._ended_s if self._ended_s is not None else time.perf_counter()
        metrics.guest_seconds.observe(ended_s - self._began_s)
        metrics.guest_cpu.inc(meter.cpu_us / 1_000_000)
        metrics.guest_memory.observe(meter.memory_peak_bytes)
        metrics.host_calls.inc(meter.host_calls)
        metrics.egress_bytes.inc(meter.egress_bytes)

    def _waited_s(self) -> float:
        if self._queued_s is None:
            return 0.0
        return (self._began_s if self._began_s is not None else time.perf_counter()) - self._queued_s

"""The first and the last event of an execution: between them is everything it said, and the last one counts them.

A reader that has the last event and as many as it counts has seen all of them; one that has the first and, some time
after the deadline it names, no last one knows that the runner died.
"""

from __future__ import annotations

from runner.debug.recorder import Recorder
from shared.deadline import Deadline
from shared.debug_stream import EXECUTION_END, EXECUTION_START
from shared.wire import Http, Usage


def record_start(recorder: Recorder, http: Http, deadline: Deadline) -> None:
    """The first event: what was asked, without query, headers or body, which may hold what nobody should read."""
    if recorder.silent:
        return
    data = {"kind": EXECUTION_START, "timeout_ms": str(deadline.remaining_ms())}
    recorder.record("debug", "system", f"{http.method} {http.path}", data=data)


def record_end(recorder: Recorder, code: str, status: int, usage: Usage) -> None:
    """The last event; nothing is recorded after it.

    Args:
        code: `ok`, or the code of the refusal.
        status: the guest's, or the refusal's.
        usage: what it took, as far as it is known.
    """
    if recorder.silent:
        return
    data = {
        "kind": EXECUTION_END,
        "code": code,
        "status": str(status),
        "duration_ms": f"{usage.duration_ms:g}",
        "cpu_ms": f"{usage.cpu_ms:g}",
        "memory_peak_bytes": str(usage.memory_peak_bytes),
        "host_calls": str(usage.host_calls),
        "egress_bytes": str(usage.egress_bytes),
        "cold": "true" if usage.cold else "false",
        "events": str(recorder.count + 1),
    }
    message = f"{code} {status} in {usage.duration_ms:g} ms, {usage.cpu_ms:g} ms of CPU"
    recorder.record("info" if code == "ok" else "error", "system", message, data=data)
    recorder.close()

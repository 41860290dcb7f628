"""What one execution uses, counted while it runs: the numbers of its `usage`, of the metrics and of its record.

Who writes what:

    cpu_us, memory_peak_bytes   the sandbox's process as the kernel sees it, never what the sandbox says of itself
    host_calls                  what the sandbox says it was asked, and never less than the runner answered
    egress_bytes                whoever reaches a granted host: `call.meter.egress(size)`, as the bytes cross

All of it is counted as it happens, so that an execution which is stopped half-way has used what it has used
(decision 0011). One meter for each execution, on one event loop; nothing here blocks or raises.
"""

from __future__ import annotations

from collections.abc import Callable

SeenHostCall = Callable[[str, str, float], None]
"""Capability, outcome and seconds of one host call that the runner answered."""


def _unseen(_capability: str, _outcome: str, _took_s: float) -> None:
    return


class Meter:
    """Counts one execution.

    Args:
        seen: told of each host call the runner answers.

    Attributes:
        cpu_us: processor time of the sandbox's process during this call, all threads.
        memory_peak_bytes: the most the process was seen to hold beyond what it held when it was fresh.
        egress_bytes: bytes that crossed to and from granted hosts.
    """

    __slots__ = ("_answered", "_asked", "_seen", "cpu_us", "egress_bytes", "memory_peak_bytes")

    def __init__(self, seen: SeenHostCall = _unseen) -> None:
        self._seen = seen
        self._answered = 0
        self._asked = 0
        self.cpu_us = 0
        self.memory_peak_bytes = 0
        self.egress_bytes = 0

    @property
    def host_calls(self) -> int:
        """Host calls of the guest, those its sandbox answered by itself included."""
        return max(self._asked, self._answered)

    def egress(self, size_bytes: int) -> None:
        """Add what crossed the wire to or from a granted host.

        To be called for each piece in either direction: request line, headers and body as they are sent, response
        headers and body as they arrive, before any content coding is undone. What an attempt sent that failed later
        was sent all the same.
        """
        self.egress_bytes += max(0, size_bytes)

    def answered(self, capability: str, outcome: str, took_s: float) -> None:
        """One host call of the runner's ended.

        Args:
            capability: `cap:…`.
            outcome: one word of a small set: `ok`, `denied`, `failed`, `cancelled`, `error` or the case of a WIT error.
        """
        self._answered += 1
        self._seen(capability, outcome, took_s)

    def asked(self, host_calls: int) -> None:
        """How many host calls the sandbox says the guest made."""
        self._asked = host_calls

    def process(self, cpu_us: int, memory_peak_bytes: int) -> None:
        """What the process has used when the call ended."""
        self.cpu_us = max(0, cpu_us)
        self.memory_peak_bytes = max(0, memory_peak_bytes)

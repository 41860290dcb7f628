"""A closed-loop HTTP/1.1 load generator: `python -m tests.bench.load HOST PORT CONNECTIONS SECONDS < REQUESTS`.

Requests come on standard input, each as a little-endian u32 length and its raw bytes, and are sent as they are, in
turn; each connection sends the next one when the last answer is complete. Prints one JSON line. A process of its own, so that its work is not counted as the server's.
Bounded by its seconds; it talks to loopback only.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import sys
import time
from collections.abc import Iterator
from typing import Final

import msgspec
import uvloop

WARM_UP_SHARE: Final = 0.2  # of the time, not counted
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")


class Result(msgspec.Struct, frozen=True):
    """What was seen after the warm-up. Times in milliseconds."""

    answers: int
    failures: int
    seconds: float
    p50_ms: float
    p99_ms: float


class Connection(asyncio.Protocol):
    """One client in a closed loop."""

    def __init__(self, requests: Iterator[bytes], times: list[float], failures: list[int], until_s: float) -> None:
        self._requests, self._times, self._failures, self._until_s = requests, times, failures, until_s
        self._buffer = b""
        self._sent_s = 0.0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream socket has a full transport
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        self._sent_s = time.perf_counter()
        if self._sent_s >= self._until_s:
            self._transport.close()
            return
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, gap, rest = self._buffer.partition(b"\r\n\r\n")
        if not gap:
            return
        found = _LENGTH.search(head)
        if found is not None:
            if len(rest) < int(found[1]):
                return
        elif not rest.endswith(b"0\r\n\r\n"):  # chunked
            return
        self._times.append(time.perf_counter() - self._sent_s)
        if head[9:12] != b"200":
            self._failures.append(1)
        self._buffer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None or time.perf_counter() < self._until_s:
            self._failures.append(1)
        if not self.ended.done():
            self.ended.set_result(None)


async def run(host: str, port: int, connections: int, seconds: float, requests: list[bytes]) -> Result:
    """Load for `seconds` and say what was seen in the last four fifths."""
    loop = asyncio.get_running_loop()
    until_s = time.perf_counter() + seconds
    times: list[float] = []
    failures: list[int] = []
    turns = itertools.cycle(requests)
    made = [
        (await loop.create_connection(lambda: Connection(turns, times, failures, until_s), host, port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds * WARM_UP_SHARE)
    counted_from, started = len(times), time.perf_counter()
    await asyncio.wait({connection.ended for connection in made}, timeout=seconds + 30)
    elapsed = time.perf_counter() - started
    counted = sorted(times[counted_from:]) or [0.0]
    return Result(
        answers=len(counted),
        failures=len(failures),
        seconds=elapsed,
        p50_ms=counted[len(counted) // 2] * 1000,
        p99_ms=counted[min(len(counted) - 1, len(counted) * 99 // 100)] * 1000,
    )


def read_requests(data: bytes) -> list[bytes]:
    """The requests in `data`, as `measure` writes them."""
    found: list[bytes] = []
    while data:
        size = int.from_bytes(data[:4], "little")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def main() -> None:
    """Read the requests, run, print."""
    host, port, connections, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    result = uvloop.run(run(host, port, connections, seconds, read_requests(sys.stdin.buffer.read())))
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


if __name__ == "__main__":
    main()

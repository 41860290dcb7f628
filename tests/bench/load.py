"""A closed-loop HTTP/1.1 load generator: `python -m tests.bench.load HOST PORT CONNECTIONS SECONDS [once] < REQUESTS`.

Requests come on standard input, each as a little-endian u32 length and its raw bytes, and are sent as they are, in
turn, again and again, or each of them once; a connection sends the next one when the last answer is complete. Prints
one JSON line. A process of its own, so that its work is not counted as the server's. Bounded by its seconds; it talks
to loopback only.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec
import uvloop

from tests.bench.figures import percentile

WARM_UP_SHARE: Final = 0.2  # of the time, not counted; none where each request is sent once
ONCE: Final = "once"
LOST: Final = "lost"
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")


class Result(msgspec.Struct, frozen=True):
    """What was seen after the warm-up, and how many answers there were from the beginning. Times in milliseconds.

    Attributes:
        failures: how often there was another status than 200, by that status, or the connection was `lost`.
    """

    answers: int
    answers_in_all: int
    failures: dict[str, int]
    seconds: float
    p50_ms: float
    p99_ms: float


def is_whole(answer: bytes) -> bool:
    """Whether `answer` is complete: as long as its length says, or ended by an empty chunk."""
    head, gap, rest = answer.partition(b"\r\n\r\n")
    if not gap:
        return False
    found = _LENGTH.search(head)
    return len(rest) >= int(found[1]) if found is not None else rest.endswith(b"0\r\n\r\n")


class Connection(asyncio.Protocol):
    """One client in a closed loop."""

    def __init__(self, requests: Iterator[bytes], times: list[float], failures: Counter[str], until_s: float) -> None:
        self._requests, self._times, self._failures, self._until_s = requests, times, failures, until_s
        self._buffer = b""
        self._sent_s = 0.0
        self._closing = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream socket has a full transport
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        self._sent_s = time.perf_counter()
        request = next(self._requests, None) if self._sent_s < self._until_s else None
        if request is None:
            self._closing = True
            self._transport.close()
            return
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not is_whole(self._buffer):
            return
        self._times.append(time.perf_counter() - self._sent_s)
        if self._buffer[9:12] != b"200":
            self._failures[self._buffer[9:12].decode("latin-1")] += 1
        self._buffer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closing:
            self._failures[LOST] += 1
        if not self.ended.done():
            self.ended.set_result(None)


async def run(
    host: str, port: int, connections: int, seconds: float, requests: list[bytes], *, once: bool = False
) -> Result:
    """Load for `seconds` and say what was seen in the last four fifths; with `once`, from beginning to end."""
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    times: list[float] = []
    failures: Counter[str] = Counter()
    turns = iter(requests) if once else itertools.cycle(requests)
    made = [
        (await loop.create_connection(lambda: Connection(turns, times, failures, began + seconds), host, port))[1]
        for _ in range(connections)
    ]
    if not once:
        await asyncio.sleep(seconds * WARM_UP_SHARE)
        began = time.perf_counter()
    counted_from = 0 if once else len(times)
    await asyncio.wait({connection.ended for connection in made}, timeout=seconds + 30)
    counted = times[counted_from:]
    return Result(
        answers=len(counted),
        answers_in_all=len(times),
        failures=dict(failures),
        seconds=time.perf_counter() - began,
        p50_ms=percentile(counted, 50) * 1000 if counted else 0.0,
        p99_ms=percentile(counted, 99) * 1000 if counted else 0.0,
    )


def read_requests(data: bytes) -> list[bytes]:
    """The requests in `data`, as `measure` writes them."""
    found: list[bytes] = []
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def main() -> None:
    """Read the requests, run, print."""
    host, port, connections, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    requests, once = read_requests(sys.stdin.buffer.read()), sys.argv[5:] == [ONCE]
    result = uvloop.run(run(host, port, connections, seconds, requests, once=once))
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


if __name__ == "__main__":
    main()

"""Used tokens: a `jti` is good once for the whole runner, so the table stands in the supervisor.

Each worker has a socket to it. A question is 8 bytes of number, 8 of expiry, 32 of jti; the answer the number and one
byte. Questions are pipelined and answered in order; a worker asks while it decodes the request, so the round trip
costs no time of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import itertools
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

from shared.errors import Overloaded
from shared.limits import CLOCK_SKEW_S

_QUESTION: Final = struct.Struct("<QQ32s")
_ANSWER: Final = struct.Struct("<QB")
ANSWER_MAX_S: Final = 2.0  # a socket pair answers in 0.1 ms; two seconds mean the supervisor is gone


class ReplayTable:
    """The `jti`s seen, each kept until its token cannot be valid any more."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._seen: set[bytes] = set()
        self._by_expiry: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._seen)

    def first_use(self, key: bytes, expires_s: int) -> bool:
        """Remember `key` until `expires_s` plus the allowed skew; whether it is new."""
        now = self._clock()
        while self._by_expiry and self._by_expiry[0][0] < now:
            self._seen.discard(heapq.heappop(self._by_expiry)[1])
        if key in self._seen:
            return False
        self._seen.add(key)
        # A token is accepted until its expiry plus the skew, so that is how long it must be remembered.
        heapq.heappush(self._by_expiry, (expires_s + CLOCK_SKEW_S + 1, key))
        return True


class ReplayServer(asyncio.Protocol):
    """The supervisor's end of one worker's socket."""

    def __init__(self, table: ReplayTable) -> None:
        self._table = table
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream socket has a full transport

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        whole = len(data) - len(data) % _QUESTION.size
        self._buffer = data[whole:]
        answers = [
            _ANSWER.pack(number, self._table.first_use(key, expires_s))
            for number, expires_s, key in _QUESTION.iter_unpack(data[:whole])
        ]
        if self._transport is not None:
            self._transport.write(b"".join(answers))


class ReplayClient(asyncio.Protocol):
    """The worker's end. Make it with `connect`."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def connect(cls, connection: socket.socket) -> ReplayClient:
        """A client over a connected socket."""
        loop = asyncio.get_running_loop()
        _, client = await loop.create_unix_connection(cls, sock=connection)
        return client

    async def first_use(self, jti: str, expires_s: int) -> bool:
        """Whether `jti` is new. Raises `Overloaded` when the supervisor does not answer: never a silent yes."""
        number = next(self._numbers)
        if self._transport is None or self._transport.is_closing():
            raise Overloaded("used tokens cannot be checked right now", retry_after_s=1)
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        # Hashed: the caller chooses the jti, the table's keys have one length.
        key = hashlib.sha256(jti.encode()).digest()
        self._transport.write(_QUESTION.pack(number, max(0, expires_s), key))
        try:
            async with asyncio.timeout(ANSWER_MAX_S):
                return await future
        except TimeoutError as error:
            raise Overloaded("used tokens cannot be checked right now", retry_after_s=1) from error
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream socket has a full transport

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        whole = len(data) - len(data) % _ANSWER.size
        self._buffer = data[whole:]
        for number, first in _ANSWER.iter_unpack(data[:whole]):
            future = self._waiting.get(number)
            if future is not None and not future.done():
                future.set_result(bool(first))

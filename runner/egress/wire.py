"""The bytes of one connection: what arrives waits here until it is read, and everything that crosses is counted.

A protocol of our own instead of asyncio's streams, for three reasons: every piece is counted where it crosses, one sees
whether anything arrived that nobody asked for, and nothing here ever waits for a peer that does not read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

_HIGH_BYTES: Final = 256 * 1024  # waiting; then the peer is held back until somebody reads


def uncounted(_size_bytes: int) -> None:
    """Counts nothing: what crosses while a connection belongs to nobody."""


class Wire(asyncio.Protocol):
    """One connection, after TLS.

    Attributes:
        count: told the size of each piece in either direction; whoever uses the connection sets it.
    """

    def __init__(self) -> None:
        self.count: Callable[[int], None] = uncounted
        self._transport: asyncio.Transport | None = None
        self._arrived: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._paused = False
        self._over = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None

    # ---- called by the transport ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.count(len(data))
        self._arrived.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > _HIGH_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._over = True
        self._wake()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._over = True
        self._error = error
        self._wake()

    # ---- for whoever uses it --------------------------------------------------------------------------------

    @property
    def quiet(self) -> bool:
        """Whether it is open, nothing arrived that nobody asked for, and nothing that was written is still here."""
        transport = self._transport
        return transport is not None and not (self._over or self._arrived or transport.get_write_buffer_size())

    def write(self, data: bytes) -> None:
        """Send `data`, whenever the peer takes it."""
        if self._transport is not None and not self._over:
            self.count(len(data))
            self._transport.write(data)

    async def read(self) -> bytes:
        """The next piece; nothing once the peer has ended.

        Raises:
            OSError: the connection broke.
        """
        while not self._arrived:
            if self._error is not None:
                raise ConnectionResetError(str(self._error)) from self._error
            if self._over:
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = self._arrived.popleft()
        self._waiting_bytes -= len(data)
        if self._paused and self._waiting_bytes <= _HIGH_BYTES // 2 and self._transport is not None and not self._over:
            self._paused = False
            self._transport.resume_reading()
        return data

    def abort(self) -> None:
        """Close at once; what was not sent is not sent."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self._over = True
        self._arrived.clear()
        self.count = uncounted
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

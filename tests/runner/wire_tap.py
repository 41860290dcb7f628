"""A TCP proxy that counts the HTTP requests it passes on and can hold some of them back."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

_REQUEST = re.compile(rb"(GET|HEAD|POST|PUT) (\S+) HTTP/1\.1\r\n")
_READ_BYTES = 1 << 16


class Tap:
    """Counts `METHOD path` (without the query); requests whose line contains `hold` wait until it is emptied."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self.url = ""
        self.seen: Counter[str] = Counter()
        self.hold = ""
        self.held = 0
        self._released = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def count(self, part: str) -> int:
        """How many requests had `part` in their line."""
        return sum(number for line, number in self.seen.items() if part in line)

    def release(self) -> None:
        """Let go of what is held."""
        self.hold = ""
        self._released.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        passing = [
            asyncio.create_task(self._requests(reader, up_writer)),
            asyncio.create_task(self._answers(up_reader, writer)),
        ]
        try:
            await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in passing:
                one.cancel()
            await asyncio.gather(*passing, return_exceptions=True)
            up_writer.close()
            writer.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_READ_BYTES):
            for method, target in _REQUEST.findall(data):  # our clients send a request's head in one piece
                line = f"{method.decode()} {target.decode().partition('?')[0]}"
                self.seen[line] += 1
                if self.hold and self.hold in line:
                    self.held += 1
                    await self._released.wait()
            writer.write(data)
            await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()

    async def aclose(self) -> None:
        """Cut every connection."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def tapping(upstream: str) -> AsyncIterator[Tap]:
    """A tap in front of `upstream`, for the length of the block."""
    tap = Tap(upstream)
    server = await asyncio.start_server(tap.serve, "127.0.0.1", 0)
    tap.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield tap
    finally:
        server.close()
        tap.release()
        await tap.aclose()
        await server.wait_closed()

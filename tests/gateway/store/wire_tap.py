"""A wire between a client and a server that counts how often the client waited for an answer before it went on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
from psycopg.conninfo import conninfo_to_dict, make_conninfo

CHUNK_BYTES = 1 << 16


class Tap(msgspec.Struct):
    """What passed: `exchanges` rises when the client sends after the server did, or first of all."""

    url: str
    exchanges: int = 0
    answered: bool = True

    async def up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            self.exchanges += self.answered
            self.answered = False
            writer.write(data)
        writer.write_eof()

    async def down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            self.answered = True
            writer.write(data)


@contextlib.asynccontextmanager
async def tapped(url: str) -> AsyncIterator[Tap]:
    """A database behind a tap; its connections end with the block."""
    parts = conninfo_to_dict(url)
    running: set[asyncio.Task[None]] = set()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        upstream, downstream = await asyncio.open_connection(str(parts["host"]), int(str(parts["port"])))
        try:
            # Cancelled by the end of the block; on Python 3.11 a stream's task that ends so is reported as a fault.
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await asyncio.gather(tap.up(reader, downstream), tap.down(upstream, writer))
        finally:
            for end in (downstream, writer):
                end.close()
                with contextlib.suppress(ConnectionError):
                    await end.wait_closed()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    tap = Tap(make_conninfo(url, host="127.0.0.1", port=port))
    try:
        yield tap
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

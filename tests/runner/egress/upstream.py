"""A host out there: a real listener on loopback that counts its connections and keeps every byte it was sent."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Self

import msgspec


class Received(msgspec.Struct, frozen=True):
    """One request as it came over the wire."""

    line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for known, value in self.headers if known == name), None)


Answering = Callable[[Received, asyncio.StreamWriter], Awaitable[bool]]
"""Answers one request; whether the connection goes on."""


def answer(
    body: bytes = b"hello", status: int = 200, headers: tuple[tuple[str, str], ...] = (), *, length: bool = True
) -> bytes:
    """The bytes of one answer."""
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers)]
    lines += [f"content-length: {len(body)}"] if length else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def always(*parts: bytes, goes_on: bool = True) -> Answering:
    """Sends these bytes, whatever is asked."""

    async def send(_received: Received, writer: asyncio.StreamWriter) -> bool:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return goes_on

    return send


def redirecting(where: Callable[[Received], str | None], status: int = 302) -> Answering:
    """Redirects where a request is sent to, or answers it."""

    async def send(received: Received, writer: asyncio.StreamWriter) -> bool:
        location = where(received)
        writer.write(answer() if location is None else answer(b"", status, (("location", location),)))
        return True

    return send


class Upstream:
    """`async with Upstream(always(answer())) as upstream`.

    Attributes:
        port: where it listens.
        connections: how many were accepted; one without a request counts.
        requests: what was asked, in order.
        open: connections that have not ended.
    """

    def __init__(self, answering: Answering | None = None, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self._answering = answering or always(answer())
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = port
        self.connections = 0
        self.open = 0
        self.requests: list[Received] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(self.connections, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            goes_on = True
            while goes_on:
                received = await _read(number, reader)
                self.requests.append(received)
                goes_on = await self._answering(received, writer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            self.open -= 1
            writer.close()
            writer.transport.abort() if self._tls else None


async def _read(number: int, reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("utf-8", "surrogateescape")
    line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    headers = tuple((name.lower(), value.strip()) for name, _, value in (one.partition(":") for one in lines))
    length = next((int(value) for name, value in headers if name == "content-length"), 0)
    return Received(line, headers, await reader.readexactly(length), number)

"""The listener: HTTP/1.1 and nothing else, whatever a client proposes. Threat T45."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runner.listener import lifespan, listen, make_config


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers anything with one word."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A running listener."""
    listener = socket.create_server(("127.0.0.1", 0))
    found: int = listener.getsockname()[1]
    stop = asyncio.Event()
    serving = asyncio.create_task(listen(application, make_config(f"fd://{listener.detach()}", graceful_s=1), stop))
    yield found
    stop.set()
    await serving


async def said(port: int, request: bytes) -> bytes:
    """What comes back before the server closes, or its first answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(5):
        answer = await reader.read(4096)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_an_honest_request_is_answered_without_naming_the_server(port: int) -> None:
    answer = await said(port, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"server:" not in answer.lower()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n",
    ],
)
async def test_a_client_that_asks_for_http2_gets_no_http2(port: int, request_bytes: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_bytes)
    async with asyncio.timeout(5):
        answer = await reader.read()  # until the server closes
    writer.close()
    await writer.wait_closed()
    assert b"200" not in answer
    assert b"\x00\x00\x00\x04" not in answer  # the type of a SETTINGS frame, with which HTTP/2 begins


async def test_two_lengths_are_refused(port: int) -> None:
    answer = await said(port, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\nhello")
    assert answer.startswith(b"HTTP/1.1 400")

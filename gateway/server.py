"""How the gateway listens: Hypercorn, its defaults replaced by ones fit for hostile clients.

HTTP/1.1 only: HTTP/2 would bring rapid resets (threat T45), and a proxy in front speaks HTTP/1.1 to us anyway. A
connection whose request head is not complete in ten seconds is closed (threat T44); bodies have their own deadline.
No server header; no access log, since the execution log and our own lines carry more.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.asyncio import tcp_server
from hypercorn.config import Config
from hypercorn.events import Closed, Event
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H2CProtocolRequiredError, H2ProtocolAssumedError
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.limits import CLIENT_TAKES_NOTHING_MAX_MS, HEADER_BLOCK_MAX_BYTES, TIMEOUT_MAX_MS

_HEAD_MAX_S: Final = 10.0  # until a request's head is complete, from the connection or the last answer on
_DRAIN_MAX_S: Final = TIMEOUT_MAX_MS / 1000 + 5  # a call under way may still end
_BACKLOG: Final = 1024
_REQUEST_LINE_BYTES: Final = 8 * 1024


class _Http1Only(ProtocolWrapper):
    """Closes a connection that asks for HTTP/2, where Hypercorn would switch to it whatever is configured."""

    async def handle(self, event: Event) -> None:
        try:
            await self.protocol.handle(event)
        except (H2ProtocolAssumedError, H2CProtocolRequiredError):
            await self.send(Closed())


def listen(bind: str) -> socket.socket:
    """A listening socket: from here on nobody is refused, though answers wait until `serve_on` runs.

    Args:
        bind: `host:port`; port 0 takes any free one.

    Raises:
        OSError: the address cannot be bound.
    """
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. Without, the kernel asks a client that takes nothing for ever, and we hold its answer.
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, CLIENT_TAKES_NOTHING_MAX_MS)
        found.bind((host, int(port)))
        found.listen(_BACKLOG)
    except OSError as error:
        found.close()
        raise OSError(error.errno, f"cannot listen on {bind}: {error.strerror}") from error
    return found


async def serve(app: ASGIApp, bind: str, stop: asyncio.Event) -> None:
    """Listen on `bind` and serve `app` there until `stop` is set and what runs has finished. Raises `OSError`."""
    await serve_on(app, listen(bind), stop)


async def serve_on(app: ASGIApp, listener: socket.socket, stop: asyncio.Event) -> None:
    """Serve `app` on a listening socket, which is closed in the end, until `stop` is set and what runs has finished."""
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.alpn_protocols = ["http/1.1"]
    config.include_server_header = False
    config.h11_max_incomplete_size = HEADER_BLOCK_MAX_BYTES + _REQUEST_LINE_BYTES
    config.keep_alive_timeout = _HEAD_MAX_S
    config.graceful_timeout = _DRAIN_MAX_S
    config.backlog = _BACKLOG
    config.accesslog = None
    config.errorlog = None
    # Hypercorn looks this name up for each connection and offers no setting in its place.
    tcp_server.ProtocolWrapper = _Http1Only  # type: ignore[attr-defined]
    await hypercorn_serve(_Outermost(app), config, shutdown_trigger=stop.wait, mode="asgi")  # type: ignore[arg-type]


class _Outermost:
    """Answers the lifespan messages: what the applications share is opened and closed around both listeners."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


@asynccontextmanager
async def stop_signals() -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

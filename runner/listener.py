"""How this service listens: Hypercorn with its defaults replaced by ones fit for hostile clients.

HTTP/1.1 only (an h2 listener brings rapid resets, threat T45), no server header, bounded header size, deadlines on
reading and on idle connections, access logs off: our own lines carry more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from hypercorn.asyncio import serve, tcp_server
from hypercorn.config import Config
from hypercorn.events import Closed, Event
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H2CProtocolRequiredError, H2ProtocolAssumedError

from shared.limits import HEADER_BLOCK_MAX_BYTES

KEEP_ALIVE_S: Final = 10  # idle, and until a request's head is complete (threat T44); the gateway closes after 4 s
READ_S: Final = 60  # between two reads, also while a guest works: above the longest deadline of 30 s
SLOW_READ_S: Final = 330  # the same where a client may take five minutes to read one large file
BACKLOG: Final = 1024
REQUESTS_PER_CONNECTION: Final = 1_000_000  # Hypercorn's 1000 would cut a busy gateway's connection every second

Application = Callable[[Any, Any, Any], Awaitable[None]]


class _Http1Only(ProtocolWrapper):
    """Closes a connection that asks for HTTP/2, where Hypercorn would switch to it whatever is configured."""

    async def handle(self, event: Event) -> None:
        try:
            await self.protocol.handle(event)
        except (H2ProtocolAssumedError, H2CProtocolRequiredError):
            await self.send(Closed())


def make_config(
    bind: str, *, graceful_s: float, read_s: int = READ_S, certificate: str | None = None, key: str | None = None
) -> Config:
    """A Hypercorn configuration for one listener.

    Args:
        bind: `host:port`, or `fd://N` for a socket bound by the supervisor.
        graceful_s: how long answers under way may take after a stop was asked for.
        read_s: how long a connection may send nothing.
        certificate: PEM path; with `key`, the listener speaks TLS.
    """
    config = Config()
    config.bind = [bind]
    config.alpn_protocols = ["http/1.1"]
    config.include_server_header = False
    config.h11_max_incomplete_size = HEADER_BLOCK_MAX_BYTES
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.keep_alive_max_requests = REQUESTS_PER_CONNECTION
    config.read_timeout = read_s
    config.graceful_timeout = graceful_s
    config.shutdown_timeout = graceful_s
    config.backlog = BACKLOG
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn")  # its own handler would write lines that are not JSON
    config.certfile = certificate
    config.keyfile = key
    return config


async def listen(application: Application, config: Config, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then let what is under way finish."""
    # Hypercorn looks this name up for each connection and offers no setting in its place.
    tcp_server.ProtocolWrapper = _Http1Only  # type: ignore[attr-defined]
    await serve(application, config, shutdown_trigger=stop.wait)


@contextlib.asynccontextmanager
async def stopping() -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def lifespan(receive: Any, send: Any) -> None:
    """Answer ASGI's lifespan messages; our resources are opened and closed around the listeners instead."""
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return

"""HTTP sessions of a worker process, towards our own services only; guests' requests never pass through one.

Nothing of the environment reaches it: no proxy variables, no `.netrc`, no cookies. Every call gets its time from the
caller's `Deadline`; the session's own limits are a backstop.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Final

import aiohttp

from runner.settings import StoreSettings
from shared.limits import PREPARE_MAX_S, RUNNER_KEEPALIVE_S

CONNECT_MAX_S: Final = 1.0  # our services are one data centre away at most
CONNECTIONS_MAX: Final = 64  # of one worker, to all of our services together

TRANSPORT_ERRORS: Final = (aiohttp.ClientError, OSError, TimeoutError)
"""What an HTTP exchange raises when the network, not the answer, is at fault."""


@contextlib.asynccontextmanager
async def open_session(
    settings: StoreSettings, connections: int = CONNECTIONS_MAX
) -> AsyncIterator[aiohttp.ClientSession]:
    """The session, closed with its connections at the end of the block.

    Args:
        settings: whose certificates count.
        connections: how many there may be; whoever finds none free waits.

    Raises:
        ssl.SSLError: `EXT_INTERNAL_CA` holds no certificate.
    """
    context = ssl.create_default_context(cadata=settings.ext_internal_ca or None)
    connector = aiohttp.TCPConnector(ssl=context, limit=connections, keepalive_timeout=RUNNER_KEEPALIVE_S)
    timeout = aiohttp.ClientTimeout(total=PREPARE_MAX_S + 10, connect=CONNECT_MAX_S, sock_connect=CONNECT_MAX_S)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        headers={"user-agent": "alga-runner"},
    ) as session:
        yield session


async def read_bounded(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """The body of `response`, read no further than `max_bytes`.

    Raises:
        aiohttp.ClientPayloadError: it is longer, or ends early.
    """
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > max_bytes:
            raise aiohttp.ClientPayloadError(f"the answer is longer than {max_bytes} bytes")
        parts.append(part)
    return b"".join(parts)

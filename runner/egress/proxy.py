"""The way through the operator's proxy: one tunnel for each connection (`CONNECT`, RFC 9110 §9.3.6), for http as well.

The proxy is told an *address* that was checked here, never a name: it would look the name up again, and what it finds
then is what a guest could reach. So names are resolved by this runner even when only the proxy can reach them.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from runner.egress.failures import Failure, TransportError
from runner.egress.policy import Proxy

ANSWER_MAX_BYTES: Final = 16 * 1024  # of the proxy's answer to one CONNECT; a sentence and some headers
_END: Final = b"\r\n\r\n"


async def tunnel(proxy: Proxy, addresses: tuple[str, ...], port: int) -> socket.socket:
    """A socket that leads to `port` of the first of `addresses` that the proxy reaches.

    Raises:
        TransportError: the proxy cannot be reached, or reaches none of them.
    """
    refused = ""
    for address in addresses:
        reached = await _connected(proxy)
        try:
            refused = await _ask(reached, proxy, f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
        except BaseException:
            reached.close()
            raise
        if not refused:
            return reached
        reached.close()
    raise TransportError(Failure.PROXY, f"the operator's proxy does not lead there: {refused}")


async def _connected(proxy: Proxy) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        for family, kind, protocol, _, address in await loop.getaddrinfo(
            proxy.host, proxy.port, type=socket.SOCK_STREAM
        ):
            found = socket.socket(family, kind, protocol)
            try:
                found.setblocking(False)
                await loop.sock_connect(found, address)
            except OSError:
                found.close()
                continue
            except BaseException:
                found.close()
                raise
            return found
    except OSError as error:
        raise TransportError(Failure.PROXY, "the operator's proxy has no address") from error
    raise TransportError(Failure.PROXY, "the operator's proxy does not accept connections")


async def _ask(reached: socket.socket, proxy: Proxy, authority: str) -> str:
    """Nothing when the tunnel stands, else what the proxy said instead."""
    loop = asyncio.get_running_loop()
    credential = f"proxy-authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    asked = f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{credential}\r\n"
    try:
        await loop.sock_sendall(reached, asked.encode("ascii"))
        answer = b""
        while _END not in answer:
            piece = await loop.sock_recv(reached, 4096)
            answer += piece
            if not piece or len(answer) > ANSWER_MAX_BYTES:
                return "it gave no usable answer"
    except TimeoutError:
        raise
    except OSError:
        return "it broke the connection"
    status = answer.split(b" ", 2)[1:2]
    if not answer.startswith(b"HTTP/1.") or not status or len(status[0]) != 3 or not status[0].isdigit():
        return "it gave no usable answer"
    if not status[0].startswith(b"2"):
        return f"it answered {int(status[0])}"
    if not answer.endswith(_END):
        return "it sent something before it was asked"
    return ""

"""The two things a call wants of its client's connection: the whole body, and the moment it closes.

How large a body may be and how long it may take is decided before, by `gateway.middleware.bodies`.
"""

from __future__ import annotations

from starlette.types import Receive


class ClientGoneError(Exception):
    """The client closed the connection; there is nobody to answer."""


async def read(receive: Receive) -> bytes | None:
    """The body, or none when it is empty. Raises `ClientGoneError` when the client leaves before its end."""
    received = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        received += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(received) or None


async def gone(receive: Receive) -> None:
    """Return when the client has closed the connection. Call it after the body was read."""
    while (await receive())["type"] != "http.disconnect":
        continue

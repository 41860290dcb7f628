"""An ASGI application that answers one constant: the floor of everything served by Hypercorn."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Constant(msgspec.Struct, frozen=True):
    """An answer that is always the same."""

    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def constant_app(path: str = "") -> object:
    """The application.

    Args:
        path: of a file with an encoded `Constant`; without one a small JSON object is answered.
    """
    body = b'{"message":"hello"}'
    answer = Constant(((b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))), body)
    if path:
        answer = msgspec.msgpack.decode(Path(path).read_bytes(), type=Constant)
    start = {"type": "http.response.start", "status": 200, "headers": answer.headers}
    end = {"type": "http.response.body", "body": answer.body}

    async def app(scope: dict[str, object], receive: object, send: object) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):  # type: ignore[operator]
            continue
        await send(start)  # type: ignore[operator]
        await send(end)  # type: ignore[operator]

    return app

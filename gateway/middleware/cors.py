"""CORS (Fetch standard §3.2) for the origins an operator listed, exact match; nobody else gets a word of it.

Credentials are never allowed: what these doors take is a bearer token that a page sends itself, never a cookie, so a
foreign page gains nothing from a browser's session. Every answer says `vary: origin`, since it depends on it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import Forbidden

METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
REQUEST_HEADERS: Final = (
    b"accept, accept-language, authorization, content-type, if-match, if-none-match, traceparent, "
    b"x-idempotency-key, x-request-id"
)
PREFLIGHT_S: Final = b"600"  # what Chromium keeps at most is two hours; ten minutes let a removed origin go soon


class Cors:
    """Answers `OPTIONS`, and lets pages of listed origins read answers.

    Args:
        app: what answers everything else.
        origins: as browsers write them, `https://app.example.com`.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origin.encode() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Raises `Forbidden` for a preflight of an origin that is not listed."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin = _origin(scope)
        if scope["method"] == "OPTIONS":
            await _answer_options(send, self._granted(origin, preflight=True))
            return
        granted = self._granted(origin, preflight=False)

        async def with_grant(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *granted]}
            await send(message)

        await self._app(scope, receive, with_grant)

    def _granted(self, origin: bytes | None, *, preflight: bool) -> list[tuple[bytes, bytes]]:
        vary = (b"vary", b"origin")
        if origin is None or origin not in self._origins:
            if preflight and origin is not None:
                raise Forbidden("this origin is not listed in EXT_GATEWAY_ALLOWED_ORIGINS")
            return [vary]
        granted = [vary, (b"access-control-allow-origin", origin)]
        if not preflight:
            return [*granted, (b"access-control-expose-headers", b"*")]
        return [
            *granted,
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", REQUEST_HEADERS),
            (b"access-control-max-age", PREFLIGHT_S),
        ]


def _origin(scope: Scope) -> bytes | None:
    found = [value for name, value in scope["headers"] if name == b"origin"]
    return found[0] if len(found) == 1 else None


async def _answer_options(send: Send, granted: list[tuple[bytes, bytes]]) -> None:
    headers = [*granted, (b"allow", METHODS), (b"cache-control", b"no-store"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})

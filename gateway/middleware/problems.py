"""One place turns what is raised into an answer: our errors by their code, the router's by status, the rest as 500.

A refusal keeps the connection only when the request was read to its end; otherwise it says `connection: close`, so
that nobody sends the rest of a body that is not wanted. What is on its way already is read and thrown away for a
moment, since a socket closed over unread bytes resets the connection and takes the answer along (RFC 9112, 9.6).
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import problem
from gateway.middleware.request_id import note
from shared.errors import Internal, InvalidRequest, MethodNotAllowed, NotFound, PlatformError
from shared.limits import UNWANTED_BODY_MAX_BYTES, UNWANTED_BODY_MAX_MS

_log = structlog.get_logger(__name__)


class Problems:
    """Turns exceptions of the application into `application/problem+json`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or a lifespan that passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        try:
            # The router raises HTTPException instead of answering in plain text when it sees an application.
            await self._app({**scope, "app": self}, exchange.receive, exchange.send)
        except PlatformError as error:
            await exchange.refuse(scope, error)
        except HTTPException as error:
            await exchange.refuse(scope, _from_router(error), dict(error.headers or {}))
        except Exception:  # noqa: BLE001  # the last line of defence: logged whole, told to nobody
            _log.exception("unhandled_error", method=scope["method"], path=scope["path"])
            await exchange.refuse(scope, Internal("the platform failed; the request id finds it in the log"))


class _Exchange:
    """One request's two directions, and how far each has come."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._read = False
        self._started = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._read = self._read or message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        self._started = self._started or message["type"] == "http.response.start"
        await self._send(message)

    async def refuse(self, scope: Scope, error: PlatformError, further: dict[str, str] | None = None) -> None:
        if self._started:
            # Half an answer is out: it cannot be taken back. Leaving without its end makes the server cut it.
            _log.warning("answer_cut", code=error.code, path=scope["path"])
            return
        note(scope, code=error.code)
        body = problem.encode(error, scope["state"]["request_id"])
        headers = problem.headers(error, body)
        headers += [(name.lower().encode(), value.encode()) for name, value in (further or {}).items()]
        unwanted = not self._read and _announces_body(scope)
        if unwanted:
            headers.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": error.status, "headers": headers})
        answer = b"" if scope["method"] == "HEAD" else body
        await self._send({"type": "http.response.body", "body": answer, "more_body": unwanted})
        if unwanted:
            await self._throw_away()
            await self._send({"type": "http.response.body"})

    async def _throw_away(self) -> None:
        """Read what the client still sends, within bounds; it has its answer already."""
        left = UNWANTED_BODY_MAX_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UNWANTED_BODY_MAX_MS / 1000):
                while not self._read and left > 0:
                    left -= len((await self.receive()).get("body", b""))


def _announces_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


def _from_router(error: HTTPException) -> PlatformError:
    if error.status_code == 404:
        return NotFound("there is nothing at this path")
    if error.status_code == 405:
        return MethodNotAllowed("this path is not served with this method; `allow` says with which")
    return InvalidRequest(str(error.detail))

"""The internal listener's ASGI application: execute, reseal, liveness, readiness, metrics. Nothing else is reachable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from runner import problem
from runner.api.execute import ExecuteDoor, Receive, Scope, Send
from runner.api.reseal import ResealDoor
from runner.guest_metrics.exposition import GuestMetrics
from runner.listener import lifespan
from runner.metrics import CONTENT_TYPE, RunnerMetrics
from shared import ids
from shared.errors import MethodNotAllowed, NotFound, PlatformError

JSON_TYPE: Final = b"application/json"


class Readiness(msgspec.Struct, frozen=True):
    """What `/readyz` answers."""

    ready: bool
    draining: bool
    wall: dict[str, str]
    dependencies: dict[str, str]
    sandboxes: dict[str, int]


class InternalApp:
    """Routes by exact path."""

    def __init__(
        self,
        execute: ExecuteDoor,
        reseal: ResealDoor,
        metrics: RunnerMetrics,
        readiness: Callable[[], Awaitable[Readiness]],
        guests: GuestMetrics | None = None,
    ) -> None:
        self._posts: dict[str, Callable[[Scope, Receive, Send], Awaitable[None]]] = {
            "/v1/execute": execute,
            "/v1/reseal": reseal,
        }
        self._metrics, self._readiness, self._guests = metrics, readiness, guests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        try:
            await self._route(scope, receive, send)
        except PlatformError as error:
            headers = dict(scope["headers"])
            request_id = ids.request_id(headers.get(b"x-request-id", b"").decode("latin-1") or None)
            body = problem.encode(error, request_id)
            await send({"type": "http.response.start", "status": error.status, "headers": problem.headers(error, body)})
            await send({"type": "http.response.body", "body": body})

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        door = self._posts.get(path)
        if door is not None:
            if method != "POST":
                raise MethodNotAllowed("use POST")
            await door(scope, receive, send)
            return
        if path not in ("/healthz", "/readyz", "/metrics"):
            raise NotFound("this listener offers /v1/execute, /v1/reseal, /healthz, /readyz and /metrics")
        if method not in ("GET", "HEAD"):
            raise MethodNotAllowed("use GET")
        if path == "/healthz":
            await _send(send, 200, JSON_TYPE, b'{"status":"ok"}')
        elif path == "/metrics":
            guests = b"" if self._guests is None else await self._guests.text()
            await _send(send, 200, CONTENT_TYPE.encode(), self._metrics.text() + guests)
        else:
            readiness = await self._readiness()
            await _send(send, 200 if readiness.ready else 503, JSON_TYPE, msgspec.json.encode(readiness))


async def _send(send: Send, status: int, kind: bytes, body: bytes) -> None:
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

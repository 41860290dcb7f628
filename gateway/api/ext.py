"""`ANY /api/ext/{extension}/{path…}`: a call of an extension. Plain ASGI, since it decides on the raw request target."""

from __future__ import annotations

from functools import partial
from typing import Any

from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.context import GatewayContext
from gateway.middleware.cors import Cors
from gateway.middleware.problems import Problems
from gateway.middleware.request_id import note
from gateway.policy.endpoints import EndpointPolicy
from gateway.proxy.admission import Admission, Request
from gateway.proxy.answer import Answer
from gateway.proxy.body import ClientGoneError
from gateway.proxy.exchange import Exchange


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The door of this file. Refusals become answers inside CORS, so that a page may read them as well."""
    policy: EndpointPolicy = "advisory" if ctx.settings.endpoint_policy == "advisory" else "enforce"
    admission = Admission(ctx.identity, ctx.resolver, policy)
    exchange = Exchange(admission, ctx.dispatch, ctx.keyed)
    return [ExtensionRoute(Cors(Problems(ExtensionDoor(exchange)), ctx.settings.allowed_origins))]


class ExtensionRoute(BaseRoute):
    """Everything whose decoded path stands below `/api/ext/`; what of it is acceptable is decided on the raw path.

    Not a `Mount`: its pattern passes over a path with a line break in it, which would then be 404 instead of refused.

    Args:
        app: answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether this route serves the request."""
        below = scope["type"] in ("http", "websocket") and scope["path"].startswith("/api/ext/")
        return (Match.FULL if below else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it."""
        await self._app(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """No URL is ever built from this route."""
        raise NoMatchFound(name, path_params)


class ExtensionDoor:
    """Unwraps a request, has it executed, wraps the answer.

    Args:
        exchange: executes calls.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call. A client that went away is not answered; a WebSocket is not accepted."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        request = Request(
            request_id=scope["state"]["request_id"],
            method=scope["method"],
            raw_path=scope["raw_path"],
            raw_query=scope["query_string"],
            headers=tuple(scope["headers"]),
            receive=receive,
            note=partial(note, scope),
        )
        try:
            answer = await self._exchange.call(request)
        except ClientGoneError:
            return
        await _send(send, answer, with_body=scope["method"] != "HEAD")


async def _send(send: Send, answer: Answer, *, with_body: bool) -> None:
    headers = list(answer.headers)
    if answer.status not in (204, 304):  # RFC 9110 §8.6: no length there
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body if with_body else b""})

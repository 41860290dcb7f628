"""`x-request-id`: taken from the caller when harmless, else made; in the scope, in every log line, on every answer.

The id stands in `scope["state"]["request_id"]`, where Starlette's `request.state.request_id` finds it.
"""

from __future__ import annotations

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import ids

HEADER = b"x-request-id"


class RequestIds:
    """Outermost: whatever answers, answers with the id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or a lifespan that passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == HEADER), b"")
        request_id = ids.request_id(given.decode("latin-1"))

        async def with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message.get("headers", []) if name.lower() != HEADER]
                message = {**message, "headers": [*kept, (HEADER, request_id.encode())]}
            await send(message)

        state = {**scope.get("state", {}), "request_id": request_id}
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._app({**scope, "state": state}, receive, with_id)

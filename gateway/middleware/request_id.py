"""`x-request-id`: taken from the caller when harmless, else made; in the scope, in every log line, on every answer.

The id stands in `scope["state"]["request_id"]`, where Starlette's `request.state.request_id` finds it. Each request
leaves one line in the log when it is over; what `note` was told about it on the way stands in that line. The runner's
line and the guest's debug events have the same id.
"""

from __future__ import annotations

import time
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import ids

HEADER: Final = b"x-request-id"

_NOTES: Final = "log"
_PATH_MAX_CHARS: Final = 512  # of a line in the log; the query never stands there: it may hold what nobody should keep
_ASKED_ALL_THE_TIME: Final = frozenset({"/healthz", "/readyz", "/metrics", "/internal/state"})

_log = structlog.get_logger("gateway")


def note(scope: Scope, **found: str) -> None:
    """Have the line of this request say more: its tenant, its extension, the code of its refusal."""
    scope["state"].setdefault(_NOTES, {}).update(found)


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

        status = 0

        async def with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                kept = [(name, value) for name, value in message.get("headers", []) if name.lower() != HEADER]
                message = {**message, "headers": [*kept, (HEADER, request_id.encode())]}
            await send(message)

        notes: dict[str, str] = {}
        state = {**scope.get("state", {}), "request_id": request_id, _NOTES: notes}
        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app({**scope, "state": state}, receive, with_id)
            finally:
                if status >= 400 or scope["path"] not in _ASKED_ALL_THE_TIME:
                    _write(scope, status, time.perf_counter() - started, notes)


def _write(scope: Scope, status: int, elapsed_s: float, notes: dict[str, str]) -> None:
    """The line of one request; `status` is 0 when nobody was left to answer."""
    _log.info(
        "request",
        method=scope["method"],
        path=scope["path"][:_PATH_MAX_CHARS],
        status=status,
        duration_ms=round(elapsed_s * 1000, 3),
        **notes,
    )

"""How large a request body may be and how long it may take, before anything reads it.

What announces too much is refused before a byte is read; what sends more than it may, at the byte that exceeds; what
trickles, when its time is over. Routes that stream have a budget of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.deadline import Deadline
from shared.errors import InvalidRequest, PayloadTooLarge, RequestTimeout
from shared.limits import BODY_READ_MAX_MS, REQUEST_BODY_MAX_BYTES


class Budget(msgspec.Struct, frozen=True):
    """What one body may cost."""

    max_bytes: int = REQUEST_BODY_MAX_BYTES
    max_ms: int = BODY_READ_MAX_MS


class Bodies:
    """Enforces a budget on every request's body.

    Args:
        app: what reads it.
        special: (method, path) → the budget of a route that differs.
    """

    def __init__(self, app: ASGIApp, special: Mapping[tuple[str, str], Budget] | None = None) -> None:
        self._app = app
        self._special = dict(special or {})
        self._usual = Budget()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or a lifespan that passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        budget = self._special.get((scope["method"], scope["path"]), self._usual)
        _check_announced(scope, budget)
        await self._app(scope, _Counted(receive, budget).receive, send)


class _Counted:
    def __init__(self, receive: Receive, budget: Budget) -> None:
        self._receive = receive
        self._budget = budget
        self._deadline = Deadline.after_ms(budget.max_ms)
        self._size = 0
        self._ended = False

    async def receive(self) -> Message:
        if self._ended:
            return await self._receive()  # the wait for a disconnect has no end
        try:
            async with asyncio.timeout(self._deadline.remaining_s()):
                message = await self._receive()
        except TimeoutError as error:
            raise RequestTimeout(f"the body must arrive within {self._budget.max_ms} ms") from error
        self._size += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._size > self._budget.max_bytes:
            raise _too_large(self._budget)
        return message


def _check_announced(scope: Scope, budget: Budget) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                raise InvalidRequest("content-length must be digits")
            if len(value) > 18 or int(value) > budget.max_bytes:
                raise _too_large(budget)


def _too_large(budget: Budget) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body may have at most {budget.max_bytes} bytes", max_bytes=budget.max_bytes)

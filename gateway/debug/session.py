"""One answer of the debug stream, from its first byte to its last: the viewer inside, and everything that ends it.

It ends when the viewer leaves or takes nothing any more, when the gateway stops, after half an hour, when the
credential ends, and when a check a minute later finds that it is no longer good. Where somebody still listens, the
last event says why, so that a client knows whether to come again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final

import msgspec
from starlette.types import Receive, Send

from gateway.debug import sse
from gateway.debug.sse import State
from gateway.proxy.body import gone
from shared.errors import AccessPolicyUnavailable, PlatformError
from shared.limits import DEBUG_RECHECK_S, DEBUG_SEND_MAX_S, DEBUG_SESSION_MAX_S

Recheck = Callable[[], Awaitable[float | None]]
"""Looks at the credential again: when it ends (seconds since the epoch, `None`: not by itself). Raises when it may no
longer watch."""

Show = Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]
"""Given what sends bytes, shows the stream until cancelled."""

FAREWELL_MAX_S: Final = 1.0  # a viewer that does not take the last event by then will not miss it


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """How long things may take, in seconds."""

    session_s: float = DEBUG_SESSION_MAX_S
    recheck_s: float = DEBUG_RECHECK_S
    send_s: float = DEBUG_SEND_MAX_S


class Session:
    """One answer.

    Args:
        send, receive: the connection, its answer not begun.
        drain: set when the gateway stops.
        recheck: see `Recheck`.
        expires_at_s: when the credential ends.
        lengths: of the answer and its parts.
        wall: seconds since the epoch.
    """

    def __init__(
        self,
        send: Send,
        receive: Receive,
        *,
        drain: asyncio.Event,
        recheck: Recheck,
        expires_at_s: float | None,
        lengths: Lengths | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._send, self._receive, self._drain = send, receive, drain
        self._recheck, self._expires_at_s, self._wall = recheck, expires_at_s, wall
        self._lengths = lengths or Lengths()

    async def serve(self, show: Show) -> None:
        """Send the answer. `show` is given what sends bytes, and runs until it is cancelled."""
        await self._send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        reason = "restarting" if self._drain.is_set() else await self._until_over(show)
        if reason is not None:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(FAREWELL_MAX_S):
                    await self._send(_body(sse.OPENING + sse.status(reason)))
                    await self._send(_body(b"", last=True))

    async def write(self, data: bytes) -> None:
        """Send bytes. Raises `OSError` or `TimeoutError` when the viewer does not take them."""
        async with asyncio.timeout(self._lengths.send_s):
            await self._send(_body(data))

    async def _until_over(self, show: Show) -> State | None:
        """Why it is over; `None` when nobody listens any more."""
        ends = (self._show(show), self._left(), self._stopped(), self._timed_out(), self._credential())
        async with _racing(*ends) as tasks:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        reasons = [task.result() for task in done]
        return None if None in reasons else reasons[0]

    async def _show(self, show: Show) -> State | None:
        with contextlib.suppress(OSError, TimeoutError):  # the viewer is gone, or takes nothing
            await show(self.write)
        return None

    async def _left(self) -> State | None:
        await gone(self._receive)
        return None

    async def _stopped(self) -> State | None:
        await self._drain.wait()
        return "restarting"

    async def _timed_out(self) -> State | None:
        await asyncio.sleep(self._lengths.session_s)
        return "reconnect"

    async def _credential(self) -> State | None:
        """Wait until the credential is no longer good; an unanswered question is asked once more."""
        unanswered = False
        while True:
            await asyncio.sleep(self._until_next_check_s())
            if self._expires_at_s is not None and self._wall() >= self._expires_at_s:
                return "expired"
            try:
                self._expires_at_s = await self._recheck()
                unanswered = False
            except AccessPolicyUnavailable:
                if unanswered:
                    return "closed"
                unanswered = True
            except PlatformError:
                return "closed"

    def _until_next_check_s(self) -> float:
        if self._expires_at_s is None:
            return self._lengths.recheck_s
        return max(0.0, min(self._lengths.recheck_s, self._expires_at_s - self._wall()))


_HEADERS: Final = [
    (b"content-type", sse.CONTENT_TYPE),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-accel-buffering", b"no"),  # asks a proxy in front to pass every event on at once
]


def _body(data: bytes, *, last: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": not last}


@contextlib.asynccontextmanager
async def _racing(*work: Coroutine[Any, Any, State | None]) -> AsyncIterator[list[asyncio.Task[State | None]]]:
    tasks = [asyncio.create_task(coroutine) for coroutine in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

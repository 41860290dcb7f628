"""Follows the debug stream (`GET /api/ext-debug/stream`) across lost connections, restarts and the end of sessions.

The stream is asked for again from where it stopped (`Last-Event-ID`), after a pause that doubles from the server's
own wish up to half a minute and starts over with the first event that arrives. Only a refusal ends it: a credential
that is no longer valid does not become valid by asking again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final
from urllib.parse import urlencode

import msgspec

from gateway.cli.failures import CliError
from gateway.cli.rest import Gateway, RefusedError
from gateway.cli.sse import EventParser, ServerEvent, StreamFormatError
from shared.debug_event import Level, Stream
from shared.debug_stream import EXECUTION_END
from shared.limits import CLI_LOGS_QUIET_S, CLI_LOGS_SILENT_MAX_S, CLI_RECONNECT_MAX_S

PATH: Final = "/api/ext-debug/stream"
FIRST_PAUSE_S: Final = 2.0  # what the server says by default
_PASSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})  # of HTTP: the same request may succeed later


class LogLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`ExtDebugEvent` as the stream writes it; what a later release adds is passed over."""

    ts: int
    level: Level = "info"
    stream: Stream = "log"
    message: str = ""
    seq: int = 0
    tenant_id: str = ""
    extension_id: str = ""
    install_id: str = ""
    request_id: str = ""
    version_id: str = ""
    content_hash: str = ""
    truncated: bool = False
    data: dict[str, str] | None = None


def line_of(event: ServerEvent) -> LogLine | None:
    """The line in an event, `None` for an event of another kind. Raises `msgspec.MsgspecError` for one that is none."""
    if event.event != "log":
        return None
    return msgspec.convert(msgspec.json.decode(event.data), LogLine, strict=False)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which events.

    Attributes:
        extension_id: of which extension, in any form a call takes too; or
        install_id: of which install.
        request_id: only of this call.
        level: this and worse.
    """

    extension_id: str | None = None
    install_id: str | None = None
    request_id: str | None = None
    level: Level | None = None

    def query(self) -> str:
        """The query of the stream's address."""
        names = {
            "extensionId": self.extension_id,
            "installId": self.install_id,
            "requestId": self.request_id,
            "level": self.level,
        }
        return urlencode({name: value for name, value in names.items() if value is not None})


class Interrupted(msgspec.Struct, frozen=True):
    """The stream was lost and will be asked for again."""

    reason: str
    pause_s: float


class Follower:
    """One viewer of the stream.

    Args:
        gateway: with the credential of someone who holds `extension:debug`.
        wanted: which events.
        silent_max_s: nothing for this long, not even a heartbeat, means that the connection is lost.
        pause: waits so many seconds.
    """

    def __init__(
        self,
        gateway: Gateway,
        wanted: Wanted,
        *,
        silent_max_s: float = CLI_LOGS_SILENT_MAX_S,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._gateway = gateway
        self._wanted = wanted
        self._silent_max_s = silent_max_s
        self._pause = pause
        self._last_id = ""
        self._wish_s = FIRST_PAUSE_S
        self._failures = 0
        self._was_open = False

    async def once(self) -> AsyncGenerator[ServerEvent, None]:
        """The events of one connection, oldest first, from behind the last one that was seen.

        Raises:
            RefusedError: the gateway refused.
            CliError: it does not answer, or the connection was lost.
            StreamFormatError: what came is no event stream.
        """
        query, headers = self._wanted.query(), {"accept": "text/event-stream"}
        if self._last_id:
            headers["last-event-id"] = self._last_id
        parser = EventParser(self._last_id)
        async with self._gateway.stream(f"{PATH}?{query}" if query else PATH, headers, self._silent_max_s) as pieces:
            self._was_open = True
            async for piece in pieces:
                for event in parser.feed(piece):
                    self._last_id, self._failures = event.id, 0
                    yield event
                self._last_id = parser.last_id
                if parser.retry_ms is not None:
                    self._wish_s = parser.retry_ms / 1000

    async def for_ever(self) -> AsyncGenerator[ServerEvent | Interrupted, None]:
        """The events of one connection after the other, and a word about each time it was lost.

        Raises:
            RefusedError: the gateway refused for good.
            CliError: it does not answer and never did.
        """
        while True:
            reason, asked_s = "the stream ended", 0.0
            try:
                async with contextlib.aclosing(self.once()) as events:
                    async for event in events:
                        yield event
            except RefusedError as error:
                if error.status not in _PASSES:
                    raise
                reason, asked_s = str(error), error.retry_after_s
            except (CliError, StreamFormatError) as error:
                if not self._was_open:
                    raise  # an address nobody ever answered at is more likely wrong than down
                reason = str(error)
            pause_s = max(asked_s, self._next_pause_s())
            yield Interrupted(reason, pause_s)
            await self._pause(pause_s)

    async def lately(self, take: Callable[[ServerEvent], None], *, one_call: bool) -> None:
        """Give `take` what the stream replays. That comes at once, so a short silence is its end.

        Args:
            take: called with each event.
            one_call: only one call was asked for; then its end is the end too.

        Raises:
            RefusedError, CliError, StreamFormatError: as `once`.
        """
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            async with contextlib.aclosing(self.once()) as events, asyncio.timeout(CLI_LOGS_QUIET_S) as patience:
                async for event in events:
                    patience.reschedule(loop.time() + CLI_LOGS_QUIET_S)
                    take(event)
                    if one_call and _ends_a_call(event):
                        return

    def _next_pause_s(self) -> float:
        doubled = self._wish_s * (1 << min(self._failures, 10))
        self._failures += 1
        spread = random.uniform(0.8, 1.2)  # noqa: S311  # so that many viewers do not return at the same moment
        return min(doubled * spread, CLI_RECONNECT_MAX_S)


def _ends_a_call(event: ServerEvent) -> bool:
    try:
        line = line_of(event)
    except msgspec.MsgspecError:
        return False
    return line is not None and (line.data or {}).get("kind") == EXECUTION_END

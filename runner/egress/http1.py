"""One request and its answer over one connection: HTTP/1.1 by h11, which reads nothing that it was not asked to read.

Why not the client library of the other rooms: see decision 0015. Here every limit is held while bytes arrive: the header
block, the number of chunks, the body after decoding. Requests are written in one piece and never waited for, so an
upstream that answers before it has read everything is heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

import h11
import msgspec

from runner.egress.coding import ACCEPTED, Body, coding_of, too_large
from runner.egress.failures import Failure, TransportError
from runner.egress.wire import Wire, uncounted
from shared.egress_request import Headers
from shared.egress_url import Target
from shared.limits import (
    EGRESS_CHUNKS_MAX_COUNT,
    EGRESS_HEADER_BLOCK_MAX_BYTES,
    EGRESS_INTERIM_MAX_COUNT,
    EGRESS_RESPONSE_MAX_BYTES,
    HEADERS_MAX_COUNT,
)

USER_AGENT: Final = "alga-extensions"
_TURN: Final = 256  # chunks; then other tasks get a turn
_NO_BODY: Final = (204, 304)
_BODY_EXPECTED: Final = ("POST", "PUT", "PATCH")  # RFC 9110 §8.6: these say that there is none
_OF_THE_CONNECTION: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)  # RFC 9110 §7.6.1: not the guest's business


class Request(msgspec.Struct, frozen=True):
    """What goes out.

    Attributes:
        headers: checked, names in lower case; framing and `host` are added here.
    """

    method: str
    target: Target
    headers: Headers
    body: bytes


class Answer(msgspec.Struct, frozen=True):
    """What came back, decoded: header names in lower case, without those of the connection."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for known, value in self.headers if known == name), None)


class StaleError(Exception):
    """A kept connection ended before anything of the answer arrived: the request may be made again."""


class Connection:
    """One connection to one origin, for one request after the other.

    Attributes:
        opened_s: when, on the event loop's clock.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=EGRESS_HEADER_BLOCK_MAX_BYTES)
        self._used = False
        self._heard = False
        self.opened_s = asyncio.get_running_loop().time()

    @property
    def reusable(self) -> bool:
        """Whether the next request may go this way: the last one ended in order and nothing came behind it."""
        done = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        return done and self._http.trailing_data == (b"", False) and self._wire.quiet

    def close(self) -> None:
        """End it at once."""
        self._wire.abort()

    async def exchange(self, request: Request, count: Callable[[int], None] = uncounted) -> Answer:
        """Send `request` and read its answer. Afterwards ask `reusable`, or `close`.

        Args:
            count: told the size of each piece that crosses.

        Raises:
            StaleError: this was not the first request here, and nothing was answered.
            TransportError: there is no answer that could be handed on.
        """
        again, self._used, self._heard = self._used, True, False
        self._wire.count = count
        try:
            if again:
                self._http.start_next_cycle()
            self._send(request)
            return await self._receive(request)
        except (h11.ProtocolError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            if again and not self._heard:
                raise StaleError from error
            why = "what it answered is not HTTP/1.1" if self._heard else "it closed the connection without an answer"
            raise TransportError(Failure.BROKEN, why) from error
        finally:
            self._wire.count = uncounted

    # ---- out ------------------------------------------------------------------------------------------------

    def _send(self, request: Request) -> None:
        self._write(
            h11.Request(method=request.method, target=request.target.path.encode("ascii"), headers=_lines(request))
        )
        if request.body:
            self._write(h11.Data(data=request.body))
        self._write(h11.EndOfMessage())

    def _write(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._wire.write(data)

    # ---- in -------------------------------------------------------------------------------------------------

    async def _receive(self, request: Request) -> Answer:
        head = await self._head()
        pairs = [(name.decode("ascii"), _text(value)) for name, value in head.headers]
        bodiless = request.method == "HEAD" or head.status_code in _NO_BODY
        coding = "" if bodiless else coding_of([value for name, value in pairs if name == "content-encoding"])
        announced = next((int(value) for name, value in pairs if name == "content-length"), 0)
        if not bodiless and not coding and announced > EGRESS_RESPONSE_MAX_BYTES:
            raise too_large(EGRESS_RESPONSE_MAX_BYTES)
        body = await self._body(Body(coding))
        return Answer(head.status_code, _passed_on(pairs, decoded=bool(coding)), body)

    async def _head(self) -> h11.Response:
        for _ in range(EGRESS_INTERIM_MAX_COUNT + 1):
            event = await self._next()
            if isinstance(event, h11.Response | h11.InformationalResponse):
                raw = event.headers.raw_items()
                size = sum(len(name) + len(value) + 4 for name, value in raw)
                if size > EGRESS_HEADER_BLOCK_MAX_BYTES or len(raw) > HEADERS_MAX_COUNT:
                    raise _headers_too_large()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise TransportError(Failure.BROKEN, "it ended the connection without an answer")
        raise TransportError(Failure.BROKEN, f"it sent more than {EGRESS_INTERIM_MAX_COUNT} interim answers")

    async def _body(self, body: Body) -> bytes:
        for number in range(1, EGRESS_CHUNKS_MAX_COUNT + 1):
            event = await self._next()
            if isinstance(event, h11.EndOfMessage):
                return body.finish()
            if not isinstance(event, h11.Data):
                raise TransportError(Failure.BROKEN, "it ended the connection in the middle of its answer")
            body.feed(bytes(event.data))
            if number % _TURN == 0:
                await asyncio.sleep(0)
        raise TransportError(Failure.BROKEN, f"its answer comes in more than {EGRESS_CHUNKS_MAX_COUNT} pieces")

    async def _next(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                if error.error_status_hint == 431:  # its sign for `max_incomplete_event_size`
                    raise _headers_too_large() from error
                raise
            if event is not h11.NEED_DATA:
                return cast("h11.Event | type[h11.PAUSED]", event)
            data = await self._wire.read()
            self._heard = self._heard or bool(data)
            self._http.receive_data(data)


def _lines(request: Request) -> list[tuple[bytes, bytes]]:
    """The header lines: what only the platform may say first, then the guest's, then what the guest left open."""
    named = {name for name, _ in request.headers}
    lines = [(b"host", request.target.authority.encode("ascii"))]
    # Blanks around a value are not part of it (RFC 9110 §5.5).
    lines += [(name.encode("ascii"), value.strip(" \t").encode()) for name, value in request.headers]
    usual = (("user-agent", USER_AGENT), ("accept", "*/*"), ("accept-encoding", ACCEPTED))
    lines += [(name.encode("ascii"), value.encode("ascii")) for name, value in usual if name not in named]
    if request.body or request.method in _BODY_EXPECTED:
        lines.append((b"content-length", b"%d" % len(request.body)))
    return lines


def _passed_on(pairs: list[tuple[str, str]], *, decoded: bool) -> Headers:
    """The headers a guest may see; a body that was decoded has lost its coding and its length."""
    left_out = set(_OF_THE_CONNECTION)
    for name, value in pairs:
        if name == "connection":
            left_out |= {word.strip().lower() for word in value.split(",")}
    if decoded:
        left_out |= {"content-encoding", "content-length"}
    return tuple((name, value) for name, value in pairs if name not in left_out)


def _text(value: bytes) -> str:
    """A header value as text: UTF-8 when it is that, else one character a byte, so that nothing is lost."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _headers_too_large() -> TransportError:
    return TransportError(
        Failure.HEADERS_TOO_LARGE,
        f"the headers of the answer are more than {EGRESS_HEADER_BLOCK_MAX_BYTES} bytes or {HEADERS_MAX_COUNT} lines",
    )

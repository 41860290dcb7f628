"""The public listener: `GET|HEAD /ext-ui/{extension_id}/{content_hash}/{path}`, `/healthz`, and nothing else.

A plain ASGI callable: everything about a file was decided when its bundle was unpacked, so a warm answer is two
dictionary look-ups, a choice of form and a slice. The path is decoded once and looked up as it is; nothing is
normalised and no file system is asked, so there is nothing a `..` could climb (threat T48).

A single-page application routes in the browser: for a navigation to a path without an extension that names no file,
the entry document answers. Never for a missing script or stylesheet, which must fail visibly.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

from runner import problem
from runner.assets.index import Asset, Form, Pack
from runner.assets.negotiate import Span, choose, span, unchanged
from runner.assets.policy import Header
from shared.deadline import Deadline
from shared.errors import MethodNotAllowed, NotFound, PlatformError
from shared.ids import ContentHash, ExtensionId
from shared.limits import BUNDLE_NAME_MAX_BYTES

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

COLD_MAX_MS: Final = 30_000  # a browser waits for the first page of an extension that long
SEND_MAX_S: Final = 300.0  # 64 MiB at 2 Mbit/s; a client that reads slower lets go of its connection
PART_BYTES: Final = 256 << 10  # 256 KiB: what waits in memory for a slow reader

_URL: Final = re.compile(
    rb"/ext-ui/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})/sha256(?::|%3[Aa])([0-9a-f]{64})/(.*)"
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_PAGES: Final = frozenset({b"iframe", b"document"})
_WANTED: Final = frozenset({b"accept", b"accept-encoding", b"if-none-match", b"if-range", b"range", b"sec-fetch-dest"})
_GET_ONLY: Final[tuple[Header, ...]] = ((b"allow", b"GET, HEAD"),)
_NOTHING: Final = "nothing is served under this path"


class Live(Protocol):
    """Who knows which UIs are served."""

    async def check(self, extension: ExtensionId, content_hash: ContentHash) -> None:
        """Return when the pair is live. Raises `PlatformError`."""


class Uis(Protocol):
    """Who has the unpacked UIs."""

    async def get(self, content_hash: ContentHash, deadline: Deadline) -> Pack:
        """The UI of a bundle. Raises `PlatformError`."""


class AssetApp:
    """See the module.

    Args:
        live: which UIs are served.
        packs: the unpacked UIs.
    """

    def __init__(self, live: Live, packs: Uis) -> None:
        self._live = live
        self._packs = packs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3)."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _answer(self, scope: Scope, send: Send) -> None:
        method: str = scope["method"]
        try:
            async with asyncio.timeout(SEND_MAX_S):
                try:
                    if scope["raw_path"] == b"/healthz":
                        _only_get(method)
                        await _send(
                            send, 200, [(b"content-type", b"text/plain"), (b"cache-control", b"no-store")], b"ok"
                        )
                    else:
                        await self._serve(scope, method, send)
                except PlatformError as error:
                    await _refuse(send, error)
        except TimeoutError:
            return  # a reader this slow is cut off; the server closes what was not finished

    async def _serve(self, scope: Scope, method: str, send: Send) -> None:
        found = _URL.fullmatch(scope["raw_path"])
        if found is None:
            raise NotFound(_NOTHING)
        _only_get(method)
        content_hash = ContentHash(f"sha256:{found[2].decode()}")
        path = _decoded(found[3])
        await self._live.check(ExtensionId(found[1].decode()), content_hash)
        pack = await self._packs.get(content_hash, Deadline.after_ms(COLD_MAX_MS))
        asked = {name: value for name, value in scope["headers"] if name in _WANTED}
        asset = pack.assets.get(path)
        if asset is None:
            if not _is_navigation(path, asked):
                raise NotFound(_NOTHING)
            asset = pack.entry
        await _send_asset(send, pack, asset, asked, head=method == "HEAD")


def _only_get(method: str) -> None:
    if method not in {"GET", "HEAD"}:
        raise MethodNotAllowed("only GET and HEAD are offered here")


def _decoded(raw: bytes) -> str:
    """The path, percent-decoded once. Raises `NotFound` for what no bundle can contain."""
    data = unquote_to_bytes(raw) if b"%" in raw else raw
    try:
        path = data.decode()
    except UnicodeDecodeError as error:
        raise NotFound(_NOTHING) from error
    if len(data) > BUNDLE_NAME_MAX_BYTES or _CONTROL.search(path):
        raise NotFound(_NOTHING)
    return path


def _is_navigation(path: str, asked: dict[bytes, bytes]) -> bool:
    """Whether the browser is about to show what it asks for, at a route of the application rather than a file."""
    parts = path.removesuffix("/").split("/")
    if "." in parts[-1] or "%" in path or any(part in {"", ".", ".."} for part in parts[:-1]):
        return False
    return asked.get(b"sec-fetch-dest") in _PAGES or b"text/html" in asked.get(b"accept", b"")


async def _send_asset(send: Send, pack: Pack, asset: Asset, asked: dict[bytes, bytes], *, head: bool) -> None:
    form = choose(asset, asked.get(b"accept-encoding", b""))
    if b"if-none-match" in asked and unchanged(form, asked[b"if-none-match"]):
        await _send(send, 304, form.unchanged, b"")
        return
    if b"range" in asked and not head:
        plain = asset.forms["identity"]  # ranges of a compressed form would tie a client to our compressor
        if asked.get(b"if-range", plain.etag) == plain.etag:
            try:
                part = span(asked[b"range"], plain.length)
            except ValueError:
                await _send(send, 416, _beyond(plain), b"")
                return
            if part is not None:
                await _send_body(send, 206, _partial(plain, part), pack, plain.offset + part.first, part.length)
                return
    await _send_body(send, 200, form.found, pack, form.offset, 0 if head else form.length)


def _partial(plain: Form, part: Span) -> list[Header]:
    headers = [header for header in plain.found if header[0] != b"content-length"]
    last = part.first + part.length - 1
    headers.append((b"content-length", str(part.length).encode()))
    headers.append((b"content-range", f"bytes {part.first}-{last}/{plain.length}".encode()))
    return headers


def _beyond(plain: Form) -> list[Header]:
    return [
        (b"content-range", f"bytes */{plain.length}".encode()),
        (b"content-length", b"0"),
        (b"cache-control", b"no-store"),
    ]


async def _send_body(
    send: Send, status: int, headers: tuple[Header, ...] | list[Header], pack: Pack, offset: int, length: int
) -> None:
    if length <= PART_BYTES:
        await _send(send, status, headers, pack.read(offset, length))
        return
    await send({"type": "http.response.start", "status": status, "headers": headers})
    end = offset + length
    while offset < end:
        size = min(PART_BYTES, end - offset)
        body = pack.read(offset, size)
        offset += size
        await send({"type": "http.response.body", "body": body, "more_body": offset < end})


async def _send(send: Send, status: int, headers: tuple[Header, ...] | list[Header], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _refuse(send: Send, error: PlatformError) -> None:
    body = problem.encode(error)
    headers = problem.headers(error, body)
    if isinstance(error, MethodNotAllowed):
        headers.extend(_GET_ONLY)
    await _send(send, error.status, headers, body)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

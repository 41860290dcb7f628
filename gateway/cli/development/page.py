"""The page around an extension that is being written, on loopback: its frame, the frame's session, and what changes.

Who opens it needs the address with its key, which is printed in the author's terminal and drawn anew with each start: a
page of the web that guesses the port gets nothing, under whatever name it reaches this machine. The author's credential
stays in this process; what the browser gets is a session of the frame, as from any host application, and calls of the
frame are passed on with that session and nothing else.
"""

from __future__ import annotations

import asyncio
import html
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from typing import Any, Final

import msgspec
from aiohttp import web

from gateway.cli.failures import CliError
from gateway.cli.rest import JSON, Gateway, decoded
from gateway.cli.toolchains import BuildError
from gateway.console.theme import DARK
from shared.limits import CLI_CALL_MAX_S, REQUEST_BODY_MAX_BYTES

HEARTBEAT_S: Final = 15.0  # so that a page notices that we are gone
_PASSED: Final = ("accept", "authorization", "content-type")
_RETURNED: Final = ("content-type", "etag", "retry-after", "x-request-id")
_TYPES: Final = {"page.js": "text/javascript", "page.css": "text/css", "host.js": "text/javascript"}


class Bootstrap(msgspec.Struct, frozen=True):
    """What the gateway says about opening the frame, as far as it is looked at here."""

    session: dict[str, Any]
    themeTokens: dict[str, str]  # noqa: N815 - the member's name


class Page:
    """See the module. Made by `serving`.

    Args:
        gateway: with the author's credential.
        title: of the extension.
    """

    def __init__(self, gateway: Gateway, title: str) -> None:
        self._gateway = gateway
        self._title = title
        self._key = secrets.token_urlsafe(16)
        self._queues: set[asyncio.Queue[bytes]] = set()
        self._files = _read_files()
        self._extension = ""
        self._install = ""
        self._assets = ""
        self._state: dict[str, str] = {"state": "starting…", "problem": ""}
        self.port = 0

    @property
    def url(self) -> str:
        """Where the author finds it."""
        return f"{self.origin}/{self._key}/"

    @property
    def origin(self) -> str:
        """Who frames the extension."""
        return f"http://127.0.0.1:{self.port}"

    def shows(self, extension_id: str, install_id: str, assets: str) -> None:
        """Which extension it is, and at which origin its files are."""
        self._extension, self._install, self._assets = extension_id, install_id, assets

    def tell(self, state: str, problem: str = "") -> None:
        """Say on every open page how things stand."""
        self._state = {"state": state, "problem": problem}
        self._send("state", self._state)

    def reload(self) -> None:
        """Open the frame anew on every open page."""
        self._send("reload", {})

    def _send(self, event: str, data: dict[str, str]) -> None:
        for queue in self._queues:
            queue.put_nowait(_event(event, data))

    # ---- answers --------------------------------------------------------------------------------------------

    def application(self) -> web.Application:
        """Its routes, all of them behind the key."""
        app = web.Application(client_max_size=REQUEST_BODY_MAX_BYTES, middlewares=[self._guard])
        root = f"/{self._key}"
        app.router.add_get(f"{root}/", self._page)
        app.router.add_get(f"{root}/bootstrap", self._bootstrap)
        app.router.add_get(f"{root}/changes", self._changes)
        app.router.add_get(f"{root}/{{name}}", self._file)
        app.router.add_route("*", f"{root}/api/ext/{{extension}}/{{path:.*}}", self._call)
        return app

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.host not in (f"127.0.0.1:{self.port}", f"localhost:{self.port}"):
            raise web.HTTPMisdirectedRequest  # another name for this machine: somebody else's page (DNS rebinding)
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise web.HTTPForbidden
        answer = await handler(request)
        if not answer.prepared:
            answer.headers.update(self._headers())
        return answer

    def _headers(self) -> dict[str, str]:
        policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
            f"form-action 'none'; frame-ancestors 'none'; frame-src {self._assets or chr(39) + 'none' + chr(39)}"
        )
        return {
            "cache-control": "no-store",
            "content-security-policy": policy,
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
        }

    async def _page(self, _request: web.Request) -> web.Response:
        text = self._files["page.html"].decode().replace("{{title}}", html.escape(self._title, quote=True))
        text = text.replace("{{frames}}", self._assets)
        return web.Response(text=text, content_type="text/html")

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _TYPES:
            raise web.HTTPNotFound
        return web.Response(body=self._files[name], content_type=_TYPES[name], charset="utf-8")

    async def _bootstrap(self, _request: web.Request) -> web.Response:
        if not self._install:
            return _refused(503, "the extension is not installed yet")
        try:
            answer = await self._gateway.get(f"/api/ext-ui/bootstrap/{self._install}")
            found = decoded(answer, Bootstrap)
        except CliError as error:
            return _refused(502, error.what)
        opened = {
            "extensionId": self._extension,
            # A digest nobody has named yet: the files are read again.
            "contentHash": f"sha256:{secrets.token_hex(32)}",
            "allowedOrigin": self._assets,
            "session": found.session,
            "themeTokens": found.themeTokens,
            "darkThemeTokens": DARK,
        }
        return web.Response(body=msgspec.json.encode(opened), content_type=JSON)

    async def _changes(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/event-stream", **self._headers()})
        await answer.prepare(request)
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._queues.add(queue)
        try:
            await answer.write(_event("state", self._state))
            if self._install:
                await answer.write(_event("reload", {}))
            while True:
                piece = b": still here\n\n"
                with suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_S):
                        piece = await queue.get()
                await answer.write(piece)
        except ConnectionError:
            return answer  # the page was closed
        finally:
            self._queues.discard(queue)

    async def _call(self, request: web.Request) -> web.Response:
        """A call of the frame, with the frame's own session; ours is never put in its place."""
        if request.match_info["extension"] != self._extension or "authorization" not in request.headers:
            raise web.HTTPForbidden
        target = request.raw_path.removeprefix(f"/{self._key}")
        headers = {name: request.headers[name] for name in _PASSED if name in request.headers}
        body = await request.read() if request.can_read_body else None
        try:
            answer = await self._gateway.pass_on(request.method, target, headers, body, within_s=CLI_CALL_MAX_S)
        except CliError as error:
            return _refused(502, error.what)
        kept = {name: value for name, value in answer.headers.items() if name in _RETURNED or name.startswith("x-ext-")}
        return web.Response(status=answer.status, body=answer.body, headers=kept)


@asynccontextmanager
async def serving(page: Page, port: int) -> AsyncIterator[None]:
    """Serve `page` on loopback for the length of the block. Raises `OSError` when the port is taken."""
    runner = web.AppRunner(page.application(), shutdown_timeout=0.5, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        page.port = runner.addresses[0][1]
        yield
    finally:
        await runner.cleanup()


def _event(event: str, data: dict[str, str]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event.encode(), msgspec.json.encode(data))


def _refused(status: int, detail: str) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode({"detail": detail}), content_type=JSON)


def _read_files() -> dict[str, bytes]:
    """The page's files, and the SDK for pages around extensions. Raises `BuildError` when that was not built."""
    here = files("gateway.cli.development").joinpath("static")
    host = files("gateway").joinpath("sdk", "host", "dist", "index.js")
    if not host.is_file():
        raise BuildError(
            "this installation lacks the SDK of host pages",
            next_step="run `make venv` in a clone, or install the package from its wheel; --no-page goes without",
        )
    found = {name: here.joinpath(name).read_bytes() for name in ("page.html", "page.js", "page.css")}
    return {**found, "host.js": host.read_bytes()}

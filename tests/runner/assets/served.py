"""A real UI behind the real asset application, asked over ASGI or over a socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from runner.assets.app import AssetApp
from runner.assets.live import LiveUis
from runner.assets.packs import Packs
from runner.assets.policy import UiPolicy
from runner.bundles.archive import Archives
from runner.bundles.background import Background
from runner.bundles.cache import DiskCache
from runner.bundles.statements import Statements
from runner.clients.gateway import GatewayError
from runner.listener import listen, make_config
from shared.deadline import Deadline
from shared.ids import ContentHash, ExtensionId
from shared.keys import PrivateKey
from shared.trust import TrustStore
from tests.runner.memory_store import MemoryObjects
from tests.runner.published import PAGE, SCRIPT

EXTENSION = ExtensionId("7d3f6f5e-0000-4000-8000-000000000001")
KEY = PrivateKey.generate()
EVIL = b"<script>alert(document.domain)</script>"
FILES = {
    "ui/dist/index.html": PAGE,
    "ui/dist/app.js": SCRIPT,
    "ui/dist/deep/style.css": b"body { margin: 0 }",
    "ui/dist/ui/inner.js": b"'inner'",
    "ui/inner.js": b"'outer'",
    "ui/logo.png": b"\x89PNG" + bytes(5000),
    "ui/evil.html": EVIL,
    "ui/evil.svg": b"<svg xmlns='http://www.w3.org/2000/svg'>" + EVIL + b"</svg>",
    "ui/evil": EVIL,
    "ui/empty.txt": b"",
    "ui/caf\u00e9 1%.txt": b"named",
    "ui/large.bin": b"0123456789abcdef" * 50_000,
    "dist/main.wasm": b"\0asm",
    "wit/world.wit": b"package a:b;",
}
NAVIGATION = {"sec_fetch_dest": "iframe"}
POLICY = UiPolicy(frame_ancestors="https://app.example.com")


class Installed:
    """Both the feed and the gateway: what is in `pairs` is installed."""

    def __init__(self) -> None:
        self.pairs: set[str] = set()

    def ui_live(self, subject: str) -> bool:
        return subject in self.pairs

    def ui_gone(self, subject: str) -> bool:
        return False

    async def again(self) -> None:
        return None

    def silent_s(self) -> float:
        return 0.0

    async def ui_is_live(self, extension: ExtensionId, content_hash: ContentHash, deadline: Deadline) -> bool:
        raise GatewayError("not asked in these tests")


class Nobody(Installed):
    """A gateway that knows of no install."""

    async def ui_is_live(self, extension: ExtensionId, content_hash: ContentHash, deadline: Deadline) -> bool:
        return False


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes


class Site:
    """The application with its store; `get` asks it."""

    def __init__(self, app: AssetApp, store: MemoryObjects, installed: Installed, packs: Packs) -> None:
        self.app = app
        self.store = store
        self.installed = installed
        self.packs = packs

    def install(self, content_hash: ContentHash) -> str:
        """Make a bundle live; returns the beginning of its URLs."""
        self.installed.pairs.add(f"{EXTENSION}/{content_hash}")
        return f"/ext-ui/{EXTENSION}/{content_hash}/"

    async def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """One request over ASGI. Header names have `_` for `-`."""
        sent: list[dict[str, object]] = []

        async def send(message: object) -> None:
            assert isinstance(message, dict)
            sent.append(message)

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": b"", "more_body": False}

        given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "raw_path": path.encode(), "headers": given}
        await self.app(scope, receive, send)
        start, *bodies = sent
        assert start["type"] == "http.response.start"
        assert [body.get("more_body", False) for body in bodies] == [True] * (len(bodies) - 1) + [False]
        pairs = [(name.decode(), value.decode()) for name, value in start["headers"]]  # type: ignore[attr-defined]
        assert len(dict(pairs)) == len(pairs), "a header stands twice"
        return Answer(start["status"], dict(pairs), b"".join(body["body"] for body in bodies))  # type: ignore[arg-type,misc]


@contextlib.asynccontextmanager
async def site(
    root: Path, store: MemoryObjects, trust: TrustStore, policy: UiPolicy = POLICY, max_bytes: int = 1 << 26
) -> AsyncIterator[Site]:
    """A site whose node keeps its cache below `root`."""
    cache = DiskCache(root / "cache", max_bytes=1 << 26)
    await cache.open()
    installed = Nobody()
    async with Background() as background:
        statements = Statements(store, cache, trust, background)
        packs = Packs(statements, Archives(store, cache, statements), cache, policy, max_bytes=max_bytes)
        live = LiveUis(installed, installed)
        yield Site(AssetApp(live, packs), store, installed, packs)
        await live.aclose()
        await packs.aclose()
        await statements.aclose()


@contextlib.asynccontextmanager
async def listening(app: AssetApp, port: int) -> AsyncIterator[None]:
    """The application on a real Hypercorn listener."""
    stop = asyncio.Event()
    serving = asyncio.create_task(listen(app, make_config(f"127.0.0.1:{port}", graceful_s=1), stop))
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(ConnectionError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                await writer.wait_closed()
                break
            await asyncio.sleep(0.01)
    try:
        yield
    finally:
        stop.set()
        await serving


async def raw(port: int, request: bytes) -> tuple[int, bytes]:
    """Exactly these bytes to the listener; the status and the whole answer."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        await writer.drain()
        answer = await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return int(answer.split(b" ", 2)[1]), answer

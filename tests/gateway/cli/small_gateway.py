"""A gateway of a few lines for the command line's tests: a real HTTP server that answers what a test tells it to.

It runs in a thread with a loop of its own, since commands start their own loop; it keeps what it was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

Reply = web.StreamResponse
Handler = Callable[[web.Request], Awaitable[Reply]]


@dataclass
class Asked:
    """One request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass
class SmallGateway:
    """Routes by method and path without query; a route's value is called, or is the answer."""

    routes: dict[tuple[str, str], Handler | Callable[[], Reply]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def on(self, method: str, path: str, *answers: Callable[[], Reply]) -> None:
        """Answer with these, one after the other; the last one stays."""
        left = list(answers)
        self.routes[(method, path)] = lambda: (left.pop(0) if len(left) > 1 else left[0])()

    def stream(self, path: str, handler: Handler) -> None:
        """Leave a `GET` to a coroutine."""
        self.routes[("GET", path)] = handler

    def calls(self, method: str, path: str) -> list[Asked]:
        return [one for one in self.asked if (one.method, one.path.split("?")[0]) == (method, path)]

    async def answer(self, request: web.Request) -> Reply:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(Asked(request.method, request.raw_path, headers, body))
        route = self.routes.get((request.method, request.raw_path.split("?")[0]))
        if route is None:
            return refusal(404, "not_found", "there is nothing here")
        made = route(request) if asyncio.iscoroutinefunction(route) else route()  # type: ignore[call-arg]
        return await made if asyncio.iscoroutine(made) else made


def as_json(value: Any, status: int = 200, **headers: str) -> Callable[[], Reply]:
    """An answer in JSON."""
    data = msgspec.json.encode(value)
    return lambda: web.Response(body=data, status=status, content_type="application/json", headers=headers)


def refusal(status: int, code: str, detail: str, **members: Any) -> web.Response:
    """A problem (RFC 9457), as the gateway writes one."""
    headers = {"retry-after": "1"} if status == 429 else {}
    return web.Response(
        body=msgspec.json.encode({"code": code, "detail": detail, "status": status, "title": code, **members}),
        status=status,
        content_type="application/problem+json",
        headers=headers,
    )


def refusing(status: int, code: str, detail: str, **members: Any) -> Callable[[], Reply]:
    """A problem, made anew for each request."""
    return lambda: refusal(status, code, detail, **members)


def guest_answer(body: bytes, status: int = 200, content_type: str = "text/plain") -> Callable[[], Reply]:
    """What an extension answers."""
    headers = {"x-request-id": "req-1", "x-ext-app-colour": "blue"}
    return lambda: web.Response(body=body, status=status, content_type=content_type, headers=headers)


@contextlib.contextmanager
def serving() -> Iterator[SmallGateway]:
    """A gateway on a free port, until the end of the block."""
    gateway = SmallGateway()
    ready, loop = threading.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=_serve, args=(gateway, loop, ready), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield gateway
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _serve(gateway: SmallGateway, loop: asyncio.AbstractEventLoop, ready: threading.Event) -> None:
    asyncio.set_event_loop(loop)
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{tail:.*}", gateway.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    loop.run_until_complete(runner.setup())
    site = web.TCPSite(runner, "127.0.0.1", 0)
    loop.run_until_complete(site.start())
    gateway.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    ready.set()
    loop.run_forever()
    loop.run_until_complete(_close(runner))


async def _close(runner: web.AppRunner) -> None:
    """End whatever a test left waiting, then the server."""
    waiting = asyncio.all_tasks() - {asyncio.current_task()}
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await runner.cleanup()

"""A tiny real runner for tests: an HTTP server on loopback that checks the token and answers as it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from shared.errors import PlatformError, Unauthorized
from shared.keys import PublicKey
from shared.tokens import ExecuteClaims, Verifier, check_body
from shared.wire import MSGPACK, ErrorBody, ExecuteRequest, ExecuteResponse, Usage, decode_execute, encode_answer

Act = Callable[[ExecuteRequest], Awaitable[web.StreamResponse]]

USAGE = Usage(
    duration_ms=3.5, queue_ms=1.25, cpu_ms=2.5, memory_peak_bytes=4096, egress_bytes=7, host_calls=2, cold=True
)


class StubRunner:
    """Answers `POST /v1/execute`; the next act is taken from `acts`, else everything is echoed."""

    def __init__(self, gateway_key: PublicKey) -> None:
        self._verifier = Verifier([gateway_key], {"runner"})
        self.acts: list[Act] = []
        self.requests: list[ExecuteRequest] = []
        self.claims: list[ExecuteClaims] = []
        self.headers: list[dict[str, str]] = []
        self.targets: list[str] = []
        self.arrived = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.targets.append(f"{request.method} {request.raw_path}")
        body = await request.read()
        try:
            token = request.headers["authorization"].removeprefix("Bearer ")
            claims = self._verifier.verify(token, ExecuteClaims)
            check_body(claims, body)
        except Unauthorized as error:
            return refuse(error)
        asked = decode_execute(body, request.headers["content-type"])
        self.claims.append(claims)
        self.requests.append(asked)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.arrived.set()
        try:
            return await (self.acts.pop(0) if self.acts else echo)(asked)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        except DropError:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()


@contextlib.asynccontextmanager
async def stub_runner(gateway_key: PublicKey) -> AsyncIterator[StubRunner]:
    """A stub on a free port."""
    stub = StubRunner(gateway_key)
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", stub.handle)
    site_runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await site_runner.setup()
    site = web.TCPSite(site_runner, "127.0.0.1", 0)
    await site.start()
    stub.url = f"http://127.0.0.1:{site_runner.addresses[0][1]}"
    try:
        yield stub
    finally:
        await site_runner.cleanup()


def message(answer: ExecuteResponse, status: int = 200, **headers: str) -> web.Response:
    return web.Response(body=encode_answer(answer, MSGPACK), status=status, content_type=MSGPACK, headers=headers)


def refuse(error: PlatformError, **headers: str) -> web.Response:
    body = ErrorBody(code=error.code, message=error.detail, blame=error.blame.value, started=error.started)
    return message(ExecuteResponse(status=error.status, error=body, usage=USAGE), error.status, **headers)


async def echo(asked: ExecuteRequest) -> web.StreamResponse:
    """200 with what the guest saw, as JSON."""
    seen = {
        "method": asked.http.method,
        "path": asked.http.path,
        "query_string": asked.http.query_string,
        "headers": asked.http.headers,
        "body": None if asked.http.body is None else asked.http.body.decode("latin-1"),
    }
    return message(
        ExecuteResponse(
            status=200,
            header_list=(("content-type", "application/json"),),
            body=msgspec.json.encode(seen),
            usage=USAGE,
        )
    )


def answering(**fields: Any) -> Act:
    """A guest's answer with these fields."""

    async def act(_: ExecuteRequest) -> web.StreamResponse:
        return message(ExecuteResponse(**{"status": 200, "usage": USAGE, **fields}))

    return act


def refusing(error: PlatformError, **headers: str) -> Act:
    """The runner's own refusal."""

    async def act(_: ExecuteRequest) -> web.StreamResponse:
        return refuse(error, **headers)

    return act


def raw(body: bytes, status: int = 200, content_type: str = MSGPACK) -> Act:
    """Any bytes."""

    async def act(_: ExecuteRequest) -> web.StreamResponse:
        return web.Response(body=body, status=status, content_type=content_type)

    return act


async def hang(_: ExecuteRequest) -> web.StreamResponse:
    """Never answers; ends when the gateway goes away."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


class DropError(Exception):
    """Raised by an act to cut the connection without an answer."""


async def drop(_: ExecuteRequest) -> web.StreamResponse:
    """Closes the connection without an answer."""
    raise DropError

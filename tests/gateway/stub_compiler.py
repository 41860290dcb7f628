"""A tiny real compiler role for tests: an HTTP server on loopback that checks the token and answers as it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiohttp import web

from shared.errors import PlatformError, Unauthorized
from shared.keys import PublicKey
from shared.tokens import ExecuteClaims, Verifier, check_body
from shared.wire import PrepareRequest, PrepareResponse


class StubCompiler:
    """Answers `POST /v1/prepare`: digests it was told about are found, all others are not.

    Attributes:
        bundles: digest → what is in it, or the refusal.
        requests: what was asked, in order.
        gate: while cleared, answers wait.
    """

    def __init__(self, gateway_key: PublicKey) -> None:
        self._verifier = Verifier([gateway_key], {"compiler"})
        self.bundles: dict[str, PrepareResponse | PlatformError] = {}
        self.requests: list[PrepareRequest] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        try:
            claims = self._verifier.verify(request.headers["authorization"].removeprefix("Bearer "), ExecuteClaims)
            check_body(claims, body)
        except Unauthorized as error:
            return _problem(error)
        asked = msgspec.json.decode(body, type=PrepareRequest)
        if claims.op != "prepare" or claims.content_hash != asked.content_hash:
            return _problem(Unauthorized())
        self.requests.append(asked)
        self.asked.set()
        await self.gate.wait()
        found = self.bundles.get(asked.content_hash, PlatformError("no such bundle"))
        if isinstance(found, PlatformError):
            return _problem(found)
        return web.Response(body=msgspec.json.encode(found), content_type="application/json")


def _problem(error: PlatformError) -> web.Response:
    members: dict[str, Any] = {"code": error.code, "detail": error.detail, "status": error.status, **error.extra}
    return web.Response(status=error.status, body=msgspec.json.encode(members), content_type="application/problem+json")


@contextlib.asynccontextmanager
async def stub_compiler(gateway_key: PublicKey) -> AsyncIterator[StubCompiler]:
    """The server, on a free port."""
    found = StubCompiler(gateway_key)
    app = web.Application()
    app.router.add_post("/v1/prepare", found.handle)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        found.gate.set()
        await runner.cleanup()

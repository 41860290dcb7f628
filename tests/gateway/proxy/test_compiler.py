"""The way to the compiler: the token it gets, and what becomes of its answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import msgspec
import pytest
from aiohttp import web

from gateway.proxy.compiler import CompilerClient
from shared.errors import ArtefactUnavailable, BundleInvalid, ManifestInvalid, PlatformError
from shared.keys import PrivateKey
from tests.gateway.bundles import bundle
from tests.gateway.stub_compiler import StubCompiler

ONE = bundle()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as found:
        yield found


async def ask(session: aiohttp.ClientSession, url: str, key: PrivateKey) -> object:
    return await CompilerClient(session, url, key).prepare(ONE.digest, allow_unused_imports=True)


async def answered(session: aiohttp.ClientSession, key: PrivateKey, handler: Handler) -> object:
    """Ask a server that answers whatever `handler` says."""
    app = web.Application()
    app.router.add_post("/v1/prepare", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return await ask(session, f"http://127.0.0.1:{runner.addresses[0][1]}", key)
    finally:
        await runner.cleanup()


async def test_a_bundle_is_found(
    session: aiohttp.ClientSession, compiler: StubCompiler, gateway_key: PrivateKey
) -> None:
    compiler.bundles[ONE.digest] = ONE.found()
    assert await ask(session, compiler.url, gateway_key) == ONE.found()
    assert compiler.requests[0].allow_unused_imports


async def test_a_stranger_is_refused(
    session: aiohttp.ClientSession, compiler: StubCompiler, runner_key: PrivateKey
) -> None:
    with pytest.raises(PlatformError) as refused:
        await ask(session, compiler.url, runner_key)
    assert refused.value.code == "unauthorized"
    assert compiler.requests == []


async def test_a_refusal_keeps_its_code_and_its_place(
    session: aiohttp.ClientSession, compiler: StubCompiler, gateway_key: PrivateKey
) -> None:
    compiler.bundles[ONE.digest] = BundleInvalid("a link", path="ui/evil")
    with pytest.raises(BundleInvalid) as invalid:
        await ask(session, compiler.url, gateway_key)
    assert (invalid.value.detail, invalid.value.extra) == ("a link", {"path": "ui/evil"})
    violations = [{"path": "$.api", "code": "c", "message": "m"}]
    compiler.bundles[ONE.digest] = ManifestInvalid("wrong", path="$.api", violations=violations)
    with pytest.raises(ManifestInvalid) as wrong:
        await ask(session, compiler.url, gateway_key)
    assert wrong.value.extra == {"path": "$.api", "violations": violations}


async def html(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>", content_type="text/html")


async def error_page(_: web.Request) -> web.StreamResponse:
    return web.Response(status=502, text="Bad Gateway")


async def elsewhere(_: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"location": "http://127.0.0.1:9/"})


async def huge(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b'"' + b"x" * (5 << 20) + b'"')


async def another_digest(_: web.Request) -> web.StreamResponse:
    other = msgspec.structs.replace(ONE.found(), content_hash=bundle(salt="other").digest)
    return web.Response(body=msgspec.json.encode(other))


async def cut(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def silent(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3)
    return web.Response()


@pytest.mark.parametrize("handler", [html, error_page, elsewhere, huge, another_digest, cut, silent])
async def test_an_answer_that_is_none_means_try_later(
    session: aiohttp.ClientSession, gateway_key: PrivateKey, handler: Handler
) -> None:
    with pytest.raises(ArtefactUnavailable):
        await answered(session, gateway_key, handler)


async def test_a_compiler_that_is_away_means_try_later(session: aiohttp.ClientSession, gateway_key: PrivateKey) -> None:
    with pytest.raises(ArtefactUnavailable) as refused:
        await ask(session, "http://127.0.0.1:9", gateway_key)
    assert refused.value.retry_after_s == 5

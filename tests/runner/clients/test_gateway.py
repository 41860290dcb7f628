"""The runner's calls to the gateway, against a listener that answers what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from runner.clients import gateway as gateway_module
from runner.clients.gateway import GatewayClient, GatewayError
from runner.clients.http import open_session
from runner.clients.identity import Identity
from shared.deadline import Deadline
from shared.ids import ContentHash, ExtensionId
from shared.keys import PrivateKey
from shared.tokens import IdentityClaims, Verifier
from shared.wire import StateEntry
from tests.runner.conftest import store_settings

KEY = PrivateKey.generate()
EXTENSION = ExtensionId("7d3f6f5e-0000-4000-8000-000000000001")
HASH = ContentHash("sha256:" + "a" * 64)


def soon() -> Deadline:
    return Deadline.after_ms(5_000)


class Peer:
    """Answers every request alike and keeps what it saw."""

    def __init__(self) -> None:
        self.status = 200
        self.body: bytes = b""
        self.headers: dict[str, str] = {}
        self.seen: list[web.BaseRequest] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request)
        await self.gate.wait()
        return web.Response(status=self.status, body=self.body, headers=self.headers)


@pytest.fixture
async def peer() -> Peer:
    return Peer()


@pytest.fixture
async def base(peer: Peer) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(peer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield site.name.rstrip("/")
    peer.gate.set()
    await runner.cleanup()


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session(store_settings(tmp_path, "http://127.0.0.1:1")) as opened:
        yield opened


@pytest.fixture
def client(session: aiohttp.ClientSession, base: str) -> GatewayClient:
    return GatewayClient(session, base, Identity(KEY))


async def test_the_feed_is_decoded_and_unknown_members_are_ignored(client: GatewayClient, peer: Peer):
    peer.body = b'{"entries":[{"seq":8,"kind":"ui_live","subject":"e/h","new":1}],"last":9,"more":true}'
    found = await client.state(7, soon())
    assert found.entries == (StateEntry(seq=8, kind="ui_live", subject="e/h"),)
    assert found.last == 9
    assert peer.seen[0].path_qs == "/internal/state?after=7"


async def test_every_call_says_who_is_calling_with_a_fresh_token(client: GatewayClient, peer: Peer):
    peer.body = b'{"entries":[],"last":0}'
    await client.state(0, soon())
    await client.state(0, soon())
    verifier = Verifier([KEY.public], {"gateway"})
    claims = [
        verifier.verify(request.headers["authorization"].removeprefix("Bearer "), IdentityClaims)
        for request in peer.seen
    ]
    assert [claim.iss for claim in claims] == [KEY.key_id] * 2
    assert claims[0].jti != claims[1].jti


@pytest.mark.parametrize(("status", "live"), [(200, True), (204, True), (404, False)])
async def test_a_ui_is_live_or_not(client: GatewayClient, peer: Peer, status: int, live: bool):
    peer.status = status
    assert await client.ui_is_live(EXTENSION, HASH, soon()) is live
    assert peer.seen[0].path == f"/internal/ui/{EXTENSION}/{HASH}"


@pytest.mark.parametrize("status", [301, 401, 403, 500, 503])
async def test_any_other_status_is_neither(client: GatewayClient, peer: Peer, status: int):
    peer.status = status
    peer.headers = {"location": "/elsewhere"} if status == 301 else {}
    with pytest.raises(GatewayError):
        await client.ui_is_live(EXTENSION, HASH, soon())
    with pytest.raises(GatewayError):
        await client.state(0, soon())
    assert len(peer.seen) == 2, "redirects are not followed"


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"entries":"\xff"}', b'{"entries":[{"seq":1,"kind":"?","subject":""}],"last":1}']
)
async def test_an_answer_that_is_no_feed_is_an_error(client: GatewayClient, peer: Peer, body: bytes):
    peer.body = body
    with pytest.raises(GatewayError, match="not decodable"):
        await client.state(0, soon())


@pytest.mark.parametrize(("size", "accepted"), [(99, True), (100, True), (101, False)])
async def test_an_answer_is_read_no_further_than_its_limit(
    client: GatewayClient, peer: Peer, monkeypatch: pytest.MonkeyPatch, size: int, accepted: bool
):
    monkeypatch.setattr(gateway_module, "FEED_MAX_BYTES", 100)
    peer.body = b'{"entries":[],"last":1}'.ljust(size)
    if accepted:
        assert (await client.state(0, soon())).last == 1
    else:
        with pytest.raises(GatewayError):
            await client.state(0, soon())


async def test_a_gateway_that_hangs_costs_no_more_than_the_deadline(client: GatewayClient, peer: Peer):
    peer.gate.clear()
    async with asyncio.timeout(5):
        with pytest.raises(GatewayError, match="TimeoutError"):
            await client.state(0, Deadline.after_ms(30))


async def test_a_gateway_that_is_not_there_is_an_error(session: aiohttp.ClientSession, unused_tcp_port: int):
    client = GatewayClient(session, f"http://127.0.0.1:{unused_tcp_port}", Identity(KEY))
    with pytest.raises(GatewayError):
        await client.ui_is_live(EXTENSION, HASH, soon())


@pytest.mark.security
async def test_proxy_variables_of_the_environment_are_ignored(
    client: GatewayClient, peer: Peer, monkeypatch: pytest.MonkeyPatch
):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    peer.body = b'{"entries":[],"last":0}'
    assert (await client.state(0, soon())).last == 0


async def test_cookies_are_neither_kept_nor_sent(client: GatewayClient, peer: Peer):
    peer.headers = {"set-cookie": "a=b"}
    await client.ui_is_live(EXTENSION, HASH, soon())
    await client.ui_is_live(EXTENSION, HASH, soon())
    assert "cookie" not in peer.seen[1].headers

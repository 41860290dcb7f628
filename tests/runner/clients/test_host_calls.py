"""Host calls that the gateway answers, against a listener that answers what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from runner import problem
from runner.clients import host_calls
from runner.clients.host_calls import HostCallClient
from runner.clients.http import open_session
from shared.deadline import Deadline
from shared.errors import AccessPolicyUnavailable, Internal, PlatformError, StorageNotFound, StorageQuotaExceeded
from shared.storage import GET_PATH, StorageGet, StorageItem
from tests.runner.conftest import store_settings
from tests.runner.waiting import until

ASKED = StorageGet(namespace="n", key="k", timeout_ms=100)
ITEM = StorageItem(key="k", value=b"\x00v", revision=3)


class Gateway:
    """Answers every request alike and keeps what it saw."""

    def __init__(self) -> None:
        self.status, self.body = 200, msgspec.msgpack.encode(ITEM)
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.peers: set[object] = set()
        self.paths: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.drop = False

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.paths.append(request.path)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.bodies.append(await request.read())
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        await self.gate.wait()
        if self.drop:
            request.transport.abort()
        return web.Response(status=self.status, body=self.body)


@pytest.fixture
async def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def base(gateway: Gateway) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(gateway))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield site.name.rstrip("/")
    gateway.gate.set()
    await runner.cleanup()


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session(store_settings(tmp_path, "http://127.0.0.1:1")) as opened:
        yield opened


@pytest.fixture
def client(session: aiohttp.ClientSession, base: str) -> HostCallClient:
    return HostCallClient(session, base)


async def ask(client: HostCallClient, within_ms: int = 5000) -> StorageItem:
    deadline = Deadline.after_ms(within_ms)
    return await client.ask(GET_PATH, ASKED, StorageItem, host_token="token", request_id="r-1", deadline=deadline)


async def test_a_question_goes_out_with_the_calls_token_and_the_answer_comes_back(
    client: HostCallClient, gateway: Gateway
) -> None:
    assert await ask(client) == ITEM
    assert gateway.paths == [GET_PATH]
    assert msgspec.msgpack.decode(gateway.bodies[0], type=StorageGet) == ASKED
    (headers,) = gateway.headers
    assert headers["authorization"] == "Bearer token"
    assert headers["content-type"] == headers["accept"] == "application/msgpack"
    assert headers["x-request-id"] == "r-1"
    assert "cookie" not in headers


async def test_one_connection_serves_one_question_after_the_other(client: HostCallClient, gateway: Gateway) -> None:
    for _ in range(20):
        await ask(client)
    assert len(gateway.peers) == 1


@pytest.mark.parametrize("error", [StorageNotFound("none"), StorageQuotaExceeded("full"), AccessPolicyUnavailable()])
async def test_a_refusal_is_raised_by_its_code(client: HostCallClient, gateway: Gateway, error: PlatformError) -> None:
    gateway.status, gateway.body = error.status, problem.encode(error)
    with pytest.raises(type(error)) as refused:
        await ask(client)
    assert refused.value.detail == error.detail


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"\xc1"),
        (200, msgspec.msgpack.encode({"key": "k"})),
        (200, msgspec.msgpack.encode({"key": "k", "value": "text", "revision": 1})),
        (500, b"<html>"),
        (404, b""),
        (302, b""),
        (204, b""),
        (200, problem.encode(StorageNotFound())),
        (500, problem.encode(StorageNotFound())),
    ],
)
async def test_an_answer_that_makes_no_sense_is_the_platforms_fault(
    client: HostCallClient, gateway: Gateway, status: int, body: bytes
) -> None:
    gateway.status, gateway.body = status, body
    with pytest.raises(Internal):
        await ask(client)


async def test_an_answer_is_read_no_further_than_its_bound(
    client: HostCallClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(gateway.body)
    monkeypatch.setattr(host_calls, "ANSWER_MAX_BYTES", size)
    assert await ask(client) == ITEM
    monkeypatch.setattr(host_calls, "ANSWER_MAX_BYTES", size - 1)
    with pytest.raises(Internal):
        await ask(client)


async def test_a_connection_that_breaks_is_not_asked_again(client: HostCallClient, gateway: Gateway) -> None:
    await ask(client)
    gateway.drop = True
    with pytest.raises(Internal):
        await ask(client)
    assert len(gateway.paths) == 2


async def test_nobody_listening_is_the_platforms_fault(session: aiohttp.ClientSession) -> None:
    with pytest.raises(Internal, match="no usable answer"):
        await ask(HostCallClient(session, "http://127.0.0.1:1"))


async def test_waiting_ends_with_the_deadline_and_with_the_caller(client: HostCallClient, gateway: Gateway) -> None:
    gateway.gate.clear()
    with pytest.raises(Internal):
        await ask(client, within_ms=30)
    asked = asyncio.create_task(ask(client))
    await until(lambda: len(gateway.paths) == 2)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    gateway.gate.set()
    assert await ask(client) == ITEM

"""A whole gateway on loopback: real Hypercorn, real PostgreSQL, a stub runner behind it."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from yarl import URL

from deploy.local.ports import random_free
from gateway.app import create_public_app, open_gateway
from gateway.context import GatewayContext
from gateway.server import serve
from gateway.settings import load_settings
from shared.keys import PrivateKey
from tests.gateway.people import AUDIENCE, ISSUER, Host
from tests.gateway.seeds import Seed, seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.stub_runner import StubRunner, stub_runner

GATEWAY_KEY = PrivateKey(b"g" * 32)
HOST = Host()
USER = ("extension:read", "extension:write")
STRANGER = PrivateKey(b"s" * 32)
PUBLIC_BASE = "https://ui.example.com"
ORIGIN = "https://app.example.com"


class Answer(msgspec.Struct, frozen=True):
    """What a client got."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass(frozen=True)
class Served:
    """A running gateway and how to speak to it."""

    port: int
    stub: StubRunner
    ctx: GatewayContext
    database: DatabaseUrls
    session: aiohttp.ClientSession

    async def call(self, method: str, target: str, body: bytes | None = None, /, **headers: str) -> Answer:
        """One request with exactly this target; header names with `_` for `-`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        url = URL(f"http://127.0.0.1:{self.port}{target}", encoded=True)
        async with self.session.request(
            method, url, data=body and io.BytesIO(body), headers=sent, allow_redirects=False
        ) as response:
            return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read())

    async def raw(self, data: bytes) -> bytes:
        """Write these bytes, read until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        try:
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(database: DatabaseUrls, **env: str) -> AsyncIterator[Served]:
    """A gateway with these further settings."""
    async with stub_runner(GATEWAY_KEY.public) as stub:
        settings = load_settings({**_environment(database, stub.url), **env})
        port, stop = random_free(), asyncio.Event()
        async with open_gateway(settings) as ctx, aiohttp.ClientSession() as session:
            server = asyncio.create_task(serve(create_public_app(ctx), f"127.0.0.1:{port}", stop))
            try:
                await _listening(port)
                yield Served(port, stub, ctx, database, session)
            finally:
                await session.close()
                stop.set()
                await server


async def _listening(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                await writer.wait_closed()
                return


def _environment(database: DatabaseUrls, runner_url: str) -> dict[str, str]:
    return {
        "EXT_MODE": "local",
        "GATEWAY_DATABASE_URL": database.app,
        "GATEWAY_PLATFORM_DATABASE_URL": database.platform,
        "GATEWAY_JWT_KEYS": HOST.public_pem,
        "GATEWAY_JWT_AUDIENCE": AUDIENCE,
        "GATEWAY_JWT_ISSUER": ISSUER,
        "GATEWAY_SIGNING_KEY": GATEWAY_KEY.pem(),
        "GATEWAY_RUNNER_KEYS": STRANGER.public.pem(),
        "RUNNER_BASE_URL": runner_url,
        "RUNNER_PUBLIC_BASE": PUBLIC_BASE,
        "COMPILER_BASE_URL": "http://127.0.0.1:9",
        "SIGNING_TRUST_BUNDLE": STRANGER.public.pem(),
        "STORAGE_S3_ENDPOINT": "http://127.0.0.1:9",
        "STORAGE_S3_ACCESS_KEY": "nobody",
        "STORAGE_S3_SECRET_KEY": "nothing",
        "STORAGE_S3_BUCKET": "bundles",
        "EXT_GATEWAY_ALLOWED_ORIGINS": ORIGIN,
    }


def bearer(made: Seed, *permissions: str, **claims: object) -> str:
    """An authorization header of a user of the install's tenant: both of a user's permissions, or those named."""
    return f"Bearer {HOST.token(made.tenant_id, permissions=permissions or USER, **claims)}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(shared_database: DatabaseUrls) -> AsyncIterator[Served]:
    """The module's gateway."""
    async with serving(shared_database) as found:
        yield found


@pytest.fixture
def install(shared_database: DatabaseUrls, tenant: str) -> Seed:
    """An extension that this test's own tenant has installed."""
    return seed(shared_database, tenant)


@pytest.fixture
def live(served: Served) -> Served:
    """The module's gateway, its stub forgetful of earlier tests."""
    stub = served.stub
    for kept in (stub.acts, stub.requests, stub.claims, stub.headers, stub.targets):
        kept.clear()
    stub.arrived.clear()
    stub.cancelled.clear()
    return served


def is_problem(answer: Answer, status: int, code: str) -> None:
    """Asserts the one shape of every refusal."""
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert (problem["code"], problem["status"]) == (code, status)
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["detail"]
    assert answer.headers["cache-control"] == "no-store"

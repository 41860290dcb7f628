"""What the gateway's tests run against: a real PostgreSQL and a real S3, a fresh migrated database for each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import cache, partial

import msgspec
import pytest
from botocore.loaders import JSONFileLoader

from deploy.local.postgres import Postgres, postgres
from deploy.local.s3 import S3, s3
from gateway.app import create_internal_app, create_public_app, open_gateway
from gateway.context import GatewayContext
from gateway.settings import GatewaySettings, load_settings
from gateway.store.pool import Database, open_database
from shared.keys import PrivateKey
from shared.sealing import SealingKey
from tests.gateway.asgi import Client
from tests.gateway.people import AUDIENCE, ISSUER, Host
from tests.gateway.services import TEMPLATE, DatabaseUrls, held, make_template, urls
from tests.gateway.spares import Spares
from tests.gateway.stub_compiler import StubCompiler, stub_compiler


@pytest.fixture(scope="session", autouse=True)
def service_descriptions() -> Iterator[None]:
    """botocore reads the description of S3 anew for every client, which takes a fifth of a second; here once for all."""
    with pytest.MonkeyPatch.context() as patch:
        read = cache(partial(JSONFileLoader.load_file, JSONFileLoader()))
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: read(path))
        yield


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with held(postgres(tmp_path_factory.mktemp("postgres"), keep=False)) as server:
        asyncio.run(make_template(server))
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with held(s3(tmp_path_factory.mktemp("s3"), keep=False)) as server:
        yield server


@pytest.fixture(scope="session")
def spares(postgres_server: Postgres) -> Iterator[Spares]:
    with Spares(postgres_server.url, TEMPLATE) as found:
        yield found


@pytest.fixture
async def database(postgres_server: Postgres, spares: Spares) -> AsyncIterator[DatabaseUrls]:
    """A migrated database of this test's own."""
    name = await asyncio.to_thread(spares.take)
    yield urls(postgres_server, name)
    spares.give_back(name)


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Database]:
    async with open_database(database.app, database.platform, database.app) as found:
        yield found


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def gateway_key() -> PrivateKey:
    return PrivateKey(bytes([7]) * 32)


@pytest.fixture
def runner_key() -> PrivateKey:
    return PrivateKey(bytes([8]) * 32)


@pytest.fixture
def publisher_key() -> PrivateKey:
    return PrivateKey(bytes([9]) * 32)


@pytest.fixture
async def compiler(gateway_key: PrivateKey) -> AsyncIterator[StubCompiler]:
    async with stub_compiler(gateway_key.public) as found:
        yield found


@pytest.fixture
def environment(
    database: DatabaseUrls,
    s3_server: S3,
    compiler: StubCompiler,
    host: Host,
    gateway_key: PrivateKey,
    runner_key: PrivateKey,
    publisher_key: PrivateKey,
) -> dict[str, str]:
    """A complete environment of a local gateway."""
    return {
        "EXT_MODE": "local",
        "GATEWAY_BIND": "127.0.0.1:0",
        "GATEWAY_INTERNAL_BIND": "127.0.0.1:0",
        "GATEWAY_DATABASE_URL": database.app,
        "GATEWAY_PLATFORM_DATABASE_URL": database.platform,
        "GATEWAY_JWT_KEYS": host.public_pem,
        "GATEWAY_JWT_AUDIENCE": AUDIENCE,
        "GATEWAY_JWT_ISSUER": ISSUER,
        "GATEWAY_SIGNING_KEY": gateway_key.pem(),
        "GATEWAY_RUNNER_KEYS": runner_key.public.pem(),
        "GATEWAY_SEALING_PUBLIC_KEYS": SealingKey(bytes([6]) * 32).public.pem(),
        "RUNNER_BASE_URL": "http://127.0.0.1:9",
        "RUNNER_PUBLIC_BASE": "https://assets.example",
        "COMPILER_BASE_URL": compiler.url,
        "SIGNING_TRUST_BUNDLE": publisher_key.public.pem(),
        "STORAGE_S3_ENDPOINT": s3_server.endpoint,
        "STORAGE_S3_REGION": s3_server.region,
        "STORAGE_S3_ACCESS_KEY": s3_server.access_key,
        "STORAGE_S3_SECRET_KEY": s3_server.secret_key,
        "STORAGE_S3_BUCKET": s3_server.bucket,
        "STORAGE_S3_FORCE_PATH_STYLE": "1",
    }


@pytest.fixture
def settings(environment: dict[str, str]) -> GatewaySettings:
    return load_settings(environment)


@pytest.fixture
async def gateway(settings: GatewaySettings) -> AsyncIterator[GatewayContext]:
    async with open_gateway(settings) as ctx:
        yield ctx


@pytest.fixture
def strict_gateway_settings(settings: GatewaySettings) -> GatewaySettings:
    """The same gateway with a publisher's quotas, as in production."""
    return msgspec.structs.replace(settings, mode="production")


@pytest.fixture
def public(gateway: GatewayContext, host: Host) -> Client:
    """The public application, called by an administrator of tenant `acme`."""
    return Client(create_public_app(gateway), host.headers("acme"))


@pytest.fixture
def other(gateway: GatewayContext, host: Host) -> Client:
    """The same, called by an administrator of tenant `globex`."""
    return Client(create_public_app(gateway), host.headers("globex"))


@pytest.fixture
def internal(gateway: GatewayContext) -> Client:
    """The internal application, called by nobody in particular."""
    return Client(create_internal_app(gateway))

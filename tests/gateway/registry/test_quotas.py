"""What one publisher may do, so that the compiler and the store stay everyone's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.app import create_public_app, open_gateway
from gateway.settings import GatewaySettings
from shared.keys import PrivateKey
from shared.limits import PUBLISHER_PREPARING_MAX, PUBLISHER_VERSIONS_PER_HOUR_MAX
from tests.gateway.asgi import Client
from tests.gateway.bundles import bundle
from tests.gateway.people import Host
from tests.gateway.registry_flow import finalize, publish, refused
from tests.gateway.services import DatabaseUrls, owner
from tests.gateway.stub_compiler import StubCompiler

ACME = bundle()


@pytest.fixture
async def strict(strict_gateway_settings: GatewaySettings, host: Host) -> AsyncIterator[Client]:
    async with open_gateway(strict_gateway_settings) as ctx:
        yield Client(create_public_app(ctx), host.headers())


async def test_a_publisher_may_have_so_many_versions_under_way(
    strict: Client, compiler: StubCompiler, publisher_key: PrivateKey, database: DatabaseUrls
) -> None:
    compiler.bundles = {}  # everything is "not there yet": nothing finishes
    for number in range(PUBLISHER_PREPARING_MAX):
        assert (await finalize(strict, bundle(version=f"1.0.{number}"), publisher_key)).status == 202
    answer = await finalize(strict, bundle(version="2.0.0"), publisher_key)
    refused(answer, 429, "rate_limited")
    assert answer.header("retry-after") == "10"
    assert (await finalize(strict, bundle("globex.crm", publisher="globex"), publisher_key)).status == 202


async def test_a_publisher_may_publish_so_many_versions_an_hour(
    strict: Client, compiler: StubCompiler, publisher_key: PrivateKey
) -> None:
    for number in range(PUBLISHER_VERSIONS_PER_HOUR_MAX):
        await publish(strict, compiler, bundle(version=f"1.0.{number}"), publisher_key)
    refused(await finalize(strict, bundle(version="2.0.0"), publisher_key), 429, "rate_limited")


async def test_a_publisher_may_store_so_many_bytes(
    strict: Client, compiler: StubCompiler, publisher_key: PrivateKey, database: DatabaseUrls
) -> None:
    await publish(strict, compiler, ACME, publisher_key)
    async with owner(database.owner) as connection:
        await connection.execute("update extension_bundle set size_bytes = 5::bigint * 1024 * 1024 * 1024")
    refused(await finalize(strict, bundle(version="2.0.0"), publisher_key), 429, "quota_exceeded")

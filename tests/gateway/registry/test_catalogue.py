"""What an account finds in the registry."""

from __future__ import annotations

import msgspec
import pytest

from gateway.app import create_public_app
from gateway.context import GatewayContext
from shared.keys import PrivateKey
from shared.manifest import manifest_schema
from tests.gateway.asgi import Client
from tests.gateway.bundles import bundle
from tests.gateway.registry_flow import publish, refused
from tests.gateway.services import DatabaseUrls, owner
from tests.gateway.stub_compiler import StubCompiler

ACME = bundle()


async def test_a_list_is_walked_page_by_page(public: Client, compiler: StubCompiler, publisher_key: PrivateKey) -> None:
    names = [f"acme.app{number}" for number in range(5)]
    for name in names:
        await publish(public, compiler, bundle(name), publisher_key)
    seen, cursor = [], ""
    for expected in (2, 2, 1):
        page = (await public.get(f"/api/registry/extensions?limit=2{cursor}")).json()
        assert len(page["items"]) == expected
        seen += [item["name"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert seen == names


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "limit=-1", "cursor=!", "cursor=e30", "cursor=W10"]
)
async def test_a_page_that_cannot_be_is_refused(public: Client, query: str) -> None:
    refused(await public.get(f"/api/registry/extensions?{query}"), 400, "invalid_request")


async def test_others_find_an_extension_when_it_is_offered_to_them(
    public: Client, other: Client, compiler: StubCompiler, publisher_key: PrivateKey, database: DatabaseUrls
) -> None:
    await publish(public, compiler, ACME, publisher_key)

    async def listed(statement: str) -> list[str]:
        async with owner(database.owner) as connection:
            await connection.execute(statement)  # type: ignore[arg-type]
        return [item["name"] for item in (await other.get("/api/registry/extensions")).json()["items"]]

    assert await listed("select 1") == []
    assert await listed("update extension_registry set allowed_tenants = '{globex}'") == ["acme.crm"]
    assert await listed("update extension_registry set allowed_tenants = '{}', visibility = 'unlisted'") == []
    assert await listed("update extension_registry set visibility = 'public'") == []  # nobody approved the publisher
    assert await listed("update publisher set approved = true") == ["acme.crm"]


async def test_the_manifest_schema_is_there_for_editors(gateway: GatewayContext) -> None:
    answer = await Client(create_public_app(gateway)).get("/api/registry/schemas/manifest-v2.json")
    assert answer.status == 200
    assert answer.json() == msgspec.json.decode(msgspec.json.encode(manifest_schema()))

"""Staged archives nobody finalised are collected, object first; the others stay."""

from __future__ import annotations

from gateway.context import GatewayContext
from gateway.objects import keys
from gateway.registry import uploads
from shared.errors import BundleUnavailable
from tests.gateway.asgi import Client
from tests.gateway.registry_flow import upload
from tests.gateway.services import DatabaseUrls, owner


async def test_an_upload_is_collected_when_its_time_is_over_and_not_before(
    public: Client, gateway: GatewayContext, database: DatabaseUrls
) -> None:
    old, young = await upload(public, b"old"), await upload(public, b"young")
    assert await uploads.collect_expired(gateway.store, gateway.objects) == 0
    async with owner(database.owner) as connection:
        await connection.execute("update bundle_upload set expires_at = now() - interval '1 s' where id = %s", (old,))
    answer = await public.post(f"/api/registry/bundles/{old}/finalize", {})
    assert answer.status == 404
    assert await uploads.collect_expired(gateway.store, gateway.objects) == 1
    assert await gateway.objects.size(keys.staging(old)) is None
    assert await gateway.objects.size(keys.staging(young)) == 5
    async with owner(database.owner) as connection:
        cursor = await connection.execute("select id::text from bundle_upload")
        assert await cursor.fetchall() == [(young,)]


async def test_a_row_stays_while_its_object_cannot_be_removed(
    public: Client, gateway: GatewayContext, database: DatabaseUrls
) -> None:
    class Away:
        async def delete(self, key: str) -> None:
            raise BundleUnavailable

    await upload(public, b"old")
    async with owner(database.owner) as connection:
        await connection.execute("update bundle_upload set expires_at = now() - interval '1 s'")
    try:
        await uploads.collect_expired(gateway.store, Away())  # type: ignore[arg-type]
    except BundleUnavailable:
        assert await uploads.collect_expired(gateway.store, gateway.objects) == 1
    else:
        raise AssertionError("the failure was swallowed")

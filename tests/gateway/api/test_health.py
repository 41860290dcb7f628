"""Health: alive, ready, and why not."""

from __future__ import annotations

import msgspec

from gateway.app import create_internal_app, create_public_app, open_gateway
from gateway.context import GatewayContext
from gateway.settings import GatewaySettings
from tests.gateway.asgi import Client
from tests.gateway.services import DatabaseUrls, owner


async def test_a_gateway_with_everything_is_ready(gateway: GatewayContext) -> None:
    for app in (create_public_app(gateway), create_internal_app(gateway)):
        alive, ready = await Client(app).get("/healthz"), await Client(app).get("/readyz")
        assert (alive.status, alive.json()) == (200, {"alive": True})
        assert (ready.status, ready.json()) == (
            200,
            {"ready": True, "draining": False, "database": "ok", "objects": "ok"},
        )


async def test_a_draining_gateway_is_not_ready_but_alive(gateway: GatewayContext) -> None:
    client = Client(create_public_app(gateway))
    gateway.drain.set()
    ready = await client.get("/readyz")
    assert (ready.status, ready.json()["draining"]) == (503, True)
    assert (await client.get("/healthz")).status == 200


async def test_a_database_that_is_behind_is_not_ready(gateway: GatewayContext, database: DatabaseUrls) -> None:
    async with owner(database.owner) as connection:
        await connection.execute("delete from schema_migration where number = 5")
    ready = await Client(create_public_app(gateway)).get("/readyz")
    assert (ready.status, ready.json()["database"]) == (503, "older than this release: run the migrations")


async def test_an_object_store_that_is_away_is_told_and_no_reason_to_stop(settings: GatewaySettings) -> None:
    away = msgspec.structs.replace(settings, s3_endpoint="http://127.0.0.1:9")
    async with open_gateway(away) as ctx:
        ready = await Client(create_public_app(ctx)).get("/readyz")
    assert (ready.status, ready.json()["objects"]) == (200, "degraded")


async def test_metrics_are_there_for_the_cluster(internal: Client) -> None:
    answer = await internal.get("/metrics")
    assert answer.status == 200
    assert b"python_info" in answer.body

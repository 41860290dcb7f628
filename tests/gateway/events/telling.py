"""Extensions that publish and subscribe, seeded; and a look at what the database says of their events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import dict_row

from gateway.events.cloudevents import Submitted
from shared.events import CAPABILITY
from shared.tokens import HostClaims
from tests.gateway.seeds import MANIFEST, Seed, seed
from tests.gateway.services import DatabaseUrls

TOPIC = "invoice.paid"
DELIVERED_MAX_S = 15


def publisher(database: DatabaseUrls, tenant: str, **more: Any) -> Seed:
    """An install that may publish."""
    return seed(database, tenant, **{"caps": (CAPABILITY,), **more})


def subscriber(database: DatabaseUrls, tenant: str, *topics: str, handler: str = "/events", **more: Any) -> Seed:
    """An install whose manifest subscribes to these topics."""
    interests = [{"topic": topic, "handler": handler} for topic in topics]
    return seed(database, tenant, manifest={**MANIFEST, "events": interests}, **more)


def claims(made: Seed, *, hops: int = 0, generation: int = 1) -> HostClaims:
    """What the host token of a running guest of this install says."""
    return HostClaims(
        iss="gateway",
        aud="gateway",
        jti="j",
        iat=0,
        exp=0,
        tenant=made.tenant_id,
        extension=made.extension_id,
        install=made.install_id,
        request_id="r",
        caps=(CAPABILITY,),
        generation=generation,
        hops=hops,
    )


def submitted(**more: Any) -> Submitted:
    """An event of the host application."""
    return Submitted(**{"type": TOPIC, **more})


def kept(database: DatabaseUrls, tenant: str) -> list[dict[str, Any]]:
    """The tenant's events, oldest first."""
    return _rows(database, "select * from extension_event where tenant_id = %s order by created_at", tenant)


def deliveries(database: DatabaseUrls, tenant: str) -> list[dict[str, Any]]:
    """The tenant's deliveries, oldest first."""
    return _rows(database, "select * from extension_event_delivery where tenant_id = %s order by created_at", tenant)


def states(database: DatabaseUrls, tenant: str) -> list[str]:
    """What became of them."""
    return [row["state"] for row in deliveries(database, tenant)]


def change(database: DatabaseUrls, statement: str, *parameters: Any) -> int:
    """Do something as the database's owner; how many rows it was."""
    with psycopg.connect(database.owner, autocommit=True) as connection:
        return connection.execute(statement, parameters).rowcount  # type: ignore[arg-type]


def hurry(database: DatabaseUrls, tenant: str) -> None:
    """End every pause and lease of the tenant's deliveries, and tell the gateways."""
    change(
        database,
        "update extension_event_delivery set due_at = now() where tenant_id = %s and state = 'waiting'",
        tenant,
    )
    change(database, "select pg_notify('event_due', '')")


async def becomes(look: Callable[[], object], wanted: object) -> None:
    """Wait until another task or process has brought this about."""
    async with asyncio.timeout(DELIVERED_MAX_S):
        while (found := look()) != wanted:  # noqa: ASYNC110 - what is watched is a row
            await asyncio.sleep(0.02)
    assert found == wanted


def _rows(database: DatabaseUrls, statement: str, tenant: str) -> list[dict[str, Any]]:
    with psycopg.connect(database.owner, row_factory=dict_row) as connection:
        return connection.execute(statement, (tenant,)).fetchall()  # type: ignore[arg-type]

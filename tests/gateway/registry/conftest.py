"""Who acts in the registry's tests besides publishers and administrators: the platform's operator, and the clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from gateway.app import create_public_app
from gateway.context import GatewayContext
from tests.gateway.asgi import Client
from tests.gateway.people import Host
from tests.gateway.services import DatabaseUrls, owner


@pytest.fixture
def operator(gateway: GatewayContext, host: Host) -> Client:
    """The public application, called by the platform's operator, whose account owns nothing."""
    headers = host.headers("platform", permissions=("platform:admin",), sub="operator")
    return Client(create_public_app(gateway), headers)


Seize = Callable[[str, str], Awaitable[None]]


@pytest.fixture
def seize(gateway: GatewayContext, database: DatabaseUrls) -> Seize:
    """Gives a lease of upkeep to somebody, whoever has it: the gateway's own turns then pass."""

    async def given(name: str, holder: str) -> None:
        async with owner(database.owner) as connection:
            await connection.execute(
                """insert into upkeep_lease as u (name, holder, lease_until) values (%s, %s, now() + interval '1 hour')
                   on conflict (name) do update set holder = excluded.holder, lease_until = excluded.lease_until""",
                (name, holder),
            )

    return given

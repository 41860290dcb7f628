"""The brakes a gateway knows: heard from others within a poll, kept while the database is away."""

from __future__ import annotations

import asyncio

import pytest

from gateway.installs.resolved import ResolvedInstall
from gateway.policy.stops import Stops, open_stops
from gateway.store.platform import brakes
from gateway.store.pool import Database
from shared.brakes import Brake
from shared.errors import AccessPolicyUnavailable, Revoked
from shared.limits import STATE_POLL_S
from tests.gateway.services import DatabaseUrls, owner

INSTALL = ResolvedInstall(
    tenant_id="acme",
    install_id="11111111-1111-4111-8111-111111111111",
    extension_id="22222222-2222-4222-8222-222222222222",
    version_id="33333333-3333-4333-8333-333333333333",
    publisher="acme-labs",
    name="acme.crm",
    version="1.0.0",
    content_hash="sha256:" + "a" * 64,
    capabilities=("cap:log.emit",),
)


def stopped(stops: Stops) -> bool:
    try:
        stops.check(INSTALL)
    except Revoked:
        return True
    return False


async def pull(store: Database, brake: Brake) -> str:
    async with store.platform() as tx:
        return (await brakes.pull(tx, brake, reason="drill", by="test"))[0].id


async def release(store: Database, brake_id: str) -> None:
    async with store.platform() as tx:
        await brakes.release(tx, brake_id, "test")


async def becomes(stops: Stops, expected: bool) -> None:
    async with asyncio.timeout(STATE_POLL_S * 5):
        while stopped(stops) is not expected:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("brake", "expected"),
    [
        (Brake("all"), True),
        (Brake("tenant", "acme"), True),
        (Brake("tenant", "globex"), False),
        (Brake("version", INSTALL.version_id), True),
        (Brake("version", INSTALL.install_id), False),
        (Brake("publisher", "acme-labs"), True),
        (Brake("publisher", "acme"), False),
        (Brake("capability", "cap:log.emit"), True),
        (Brake("capability", "cap:http.fetch"), False),
    ],
    ids=lambda value: value.subject if isinstance(value, Brake) else str(value),
)
async def test_a_brake_stops_what_it_names_and_nothing_else(store: Database, brake: Brake, expected: bool) -> None:
    stops = Stops(store)
    await stops.refresh()
    assert not stopped(stops)
    brake_id = await pull(store, brake)
    await stops.refresh()
    assert stopped(stops) is expected
    await release(store, brake_id)
    await stops.again()
    assert not stopped(stops)


async def test_what_another_gateway_pulled_is_heard_within_a_poll_and_so_is_its_release(store: Database) -> None:
    async with open_stops(store) as stops:
        brake_id = await pull(store, Brake("tenant", "acme"))
        await becomes(stops, True)
        await release(store, brake_id)
        await becomes(stops, False)


async def test_a_brake_that_was_pulled_before_the_start_stops_the_first_call(store: Database) -> None:
    await pull(store, Brake("all"))
    async with open_stops(store) as stops:
        assert stopped(stops)


async def test_while_the_database_is_away_what_was_pulled_stays_pulled(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_stops(store) as stops:
        await pull(store, Brake("all"))
        await stops.refresh()

        async def away(*_: object) -> list[str]:
            raise AccessPolicyUnavailable

        monkeypatch.setattr(brakes, "pulled", away)
        await stops.again()
        assert stopped(stops)
        with pytest.raises(AccessPolicyUnavailable):
            await stops.refresh()


async def test_a_brake_nobody_here_understands_hides_no_other(store: Database, database: DatabaseUrls) -> None:
    async with owner(database.owner) as connection:
        await connection.execute(
            """insert into emergency_brake (scope, name, reason, pulled_by)
               values ('capability', 'of a later release', 'r', 'x'), ('tenant', 'acme', 'r', 'x')"""
        )
    stops = Stops(store)
    await stops.refresh()
    assert stopped(stops)

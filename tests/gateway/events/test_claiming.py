"""Claiming: every install's turn comes, wherever a claim begins to look, and nobody takes what another has."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from gateway.store.deliveries import Claim
from gateway.store.platform import events
from gateway.store.pool import Database, open_database
from tests.gateway.events.telling import TOPIC, change, subscriber
from tests.gateway.seeds import Seed
from tests.gateway.services import DatabaseUrls

FIRST, LAST = str(uuid.UUID(int=0)), str(uuid.UUID(int=2**128 - 1))


async def claim(store: Database, start: str = FIRST, **more: object) -> list[Claim]:
    """One claim."""
    about = {"limit": 16, "tenant_max": 8, "lease_s": 60, "full_installs": [], "running": {}, "start": start, **more}
    async with store.platform() as tx:
        return await events.claim(tx, **about)  # type: ignore[arg-type]


def waiting(database: DatabaseUrls, made: Seed, count: int = 1, age_s: int = 0) -> None:
    """So many deliveries that are due."""
    change(
        database,
        """with e as (
             insert into extension_event (tenant_id, id, source, topic, occurred_at, sha256, hops)
             select %s, gen_random_uuid(), '/host', 'x', now(), '', 1 from generate_series(1, %s) returning tenant_id, id
           ) insert into extension_event_delivery (tenant_id, event_id, install_id, due_at)
             select tenant_id, id, %s::uuid, now() - make_interval(secs => %s) from e""",
        made.tenant_id,
        count,
        made.install_id,
        age_s,
    )


@pytest.fixture
async def fresh(database: DatabaseUrls) -> list[Seed]:
    """Five installs of as many tenants, each with two deliveries."""
    made = [subscriber(database, f"t{number}", TOPIC) for number in range(5)]
    for one in made:
        waiting(database, one, 2)
    return made


async def test_wherever_it_begins_each_install_gives_one(
    store: Database, fresh: list[Seed], database: DatabaseUrls
) -> None:
    ids = sorted(one.install_id for one in fresh)
    for start in (FIRST, LAST, ids[0], ids[2], ids[4], str(uuid.uuid4())):
        assert sorted(one.install_id for one in await claim(store, start)) == ids
        change(database, "update extension_event_delivery set due_at = now()")


async def test_it_looks_at_so_many_installs_from_there_on_and_around(store: Database, fresh: list[Seed]) -> None:
    ids = sorted(one.install_id for one in fresh)
    found = await claim(store, ids[3], installs_max=3)
    assert sorted(one.install_id for one in found) == sorted([ids[3], ids[4], ids[0]])


async def test_what_is_claimed_nobody_else_claims_until_the_lease_ends(
    store: Database, fresh: list[Seed], database: DatabaseUrls
) -> None:
    urls = (database.app, database.platform, database.app)
    async with open_database(*urls) as other:
        rounds = await asyncio.gather(*(claim(one) for one in (store, other, store, other)))
    taken = [(one.install_id, one.event_id) for found in rounds for one in found]
    rest = [(one.install_id, one.event_id) for _ in range(2) for one in await claim(store)]
    assert len(taken + rest) == len(set(taken + rest)) == 10
    assert await claim(store) == []
    change(database, "update extension_event_delivery set due_at = now() - interval '1 second'")
    assert {one.attempt for one in await claim(store)} == {2}


async def test_tenants_take_turns_and_none_has_more_than_its_share(store: Database, database: DatabaseUrls) -> None:
    many = [subscriber(database, "many", TOPIC) for _ in range(6)]
    for one in many:
        waiting(database, one, age_s=1000)
    waiting(database, subscriber(database, "few", TOPIC))
    found = await claim(store, limit=2)
    assert {one.tenant_id for one in found} == {"many", "few"}
    assert len(await claim(store, tenant_max=4, running={"many": 2})) == 2
    assert await claim(store, tenant_max=4, running={"many": 4}) == []
    left = await claim(store, full_installs=[many[0].install_id, many[1].install_id])
    assert not {one.install_id for one in left} & {many[0].install_id, many[1].install_id}


@pytest.mark.parametrize("status", ["disabled", "uninstalled"])
async def test_of_an_install_that_rests_nothing_is_claimed(
    store: Database, database: DatabaseUrls, status: str
) -> None:
    waiting(database, subscriber(database, "acme", TOPIC, status=status))
    revoked = subscriber(database, "acme", TOPIC)
    change(database, "update extension_version set revoked_at = now() where id = %s", revoked.version_id)
    waiting(database, revoked)
    assert await claim(store) == []

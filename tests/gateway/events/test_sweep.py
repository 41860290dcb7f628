"""What is past its time goes, what is not stays, and nobody's event is seen on the way."""

from __future__ import annotations

import pytest

from gateway.events.sweep import events_sweep
from gateway.store.pool import Database
from shared.limits import (
    EVENT_DEAD_KEPT_DAYS,
    EVENT_DEAD_MAX_COUNT,
    EVENT_KEPT_S,
    EVENT_SWEEP_MAX_COUNT,
    EVENT_WAIT_MAX_DAYS,
)
from tests.gateway.events.telling import TOPIC, change, deliveries, kept, states, subscriber
from tests.gateway.services import DatabaseUrls

DAY_S = 86_400


def fill(database: DatabaseUrls, tenant: str, install_id: str | None, count: int, state: str, age_s: float) -> None:
    """Events of this age with a delivery each, in this state for as long."""
    change(
        database,
        """with e as (
             insert into extension_event (tenant_id, id, source, topic, occurred_at, sha256, hops, payload, created_at)
             select %s, gen_random_uuid(), '/host', 'x', now(), '', 1, 'p', now() - make_interval(secs => %s)
               from generate_series(1, %s) returning tenant_id, id, created_at
           ) insert into extension_event_delivery
               (tenant_id, event_id, install_id, state, due_at, created_at, finished_at)
             select tenant_id, id, %s::uuid, %s, created_at, created_at, case when %s <> 'waiting' then created_at end
               from e where %s::uuid is not null""",
        tenant,
        age_s,
        count,
        install_id,
        state,
        state,
        install_id,
    )


@pytest.mark.parametrize(("state", "most_s"), [("delivered", EVENT_KEPT_S), ("dead", EVENT_DEAD_KEPT_DAYS * DAY_S)])
async def test_ended_deliveries_go_with_their_events_when_their_time_is_over(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str, state: str, most_s: int
) -> None:
    made = subscriber(shared_database, tenant, TOPIC)
    fill(shared_database, tenant, made.install_id, 1, state, most_s + 60)
    fill(shared_database, tenant, made.install_id, 1, state, most_s - 60)
    await events_sweep(shared_store)()
    assert states(shared_database, tenant) == [state]
    assert len(kept(shared_database, tenant)) == 1


async def test_what_waited_too_long_becomes_a_dead_letter(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    made = subscriber(shared_database, tenant, TOPIC, status="disabled")
    fill(shared_database, tenant, made.install_id, 1, "waiting", EVENT_WAIT_MAX_DAYS * DAY_S + 60)
    fill(shared_database, tenant, made.install_id, 1, "waiting", EVENT_WAIT_MAX_DAYS * DAY_S - 60)
    await events_sweep(shared_store)()
    old, young = deliveries(shared_database, tenant)
    assert (old["state"], old["code"], young["state"]) == ("dead", "expired", "waiting")
    assert len(kept(shared_database, tenant)) == 2


async def test_an_event_without_deliveries_is_remembered_for_a_day(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    fill(shared_database, tenant, None, EVENT_SWEEP_MAX_COUNT + 1, "waiting", EVENT_KEPT_S + 60)
    fill(shared_database, tenant, None, 2, "waiting", EVENT_KEPT_S - 60)
    await events_sweep(shared_store)()
    assert len(kept(shared_database, tenant)) == 2


@pytest.mark.parametrize("count", [EVENT_DEAD_MAX_COUNT - 1, EVENT_DEAD_MAX_COUNT, EVENT_DEAD_MAX_COUNT + 1])
async def test_of_an_installs_dead_letters_the_newest_are_kept(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str, count: int
) -> None:
    made, other = (subscriber(shared_database, tenant, TOPIC) for _ in range(2))
    fill(shared_database, tenant, made.install_id, 1, "dead", 120)
    fill(shared_database, tenant, made.install_id, count - 1, "dead", 60)
    fill(shared_database, tenant, other.install_id, 1, "dead", 120)
    await events_sweep(shared_store)()
    found = deliveries(shared_database, tenant)
    assert len(found) == min(count, EVENT_DEAD_MAX_COUNT) + 1
    oldest_kept = min(row["finished_at"] for row in found if str(row["install_id"]) == made.install_id)
    newest = max(row["finished_at"] for row in found)
    assert ((newest - oldest_kept).total_seconds() > 30) is (count <= EVENT_DEAD_MAX_COUNT)

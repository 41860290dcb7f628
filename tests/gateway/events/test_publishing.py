"""Publishing: whose topics, how many, how far; committed with every delivery it leads to, or not at all."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from gateway.events.metrics import EventMetrics
from gateway.events.publishing import Publishing
from gateway.store.pool import Database, open_database
from shared.errors import Conflict, Forbidden, InvalidRequest, NotInstalled, PayloadTooLarge, RateLimited
from shared.limits import (
    EVENT_BACKLOG_MAX_COUNT,
    EVENT_HOPS_MAX,
    EVENT_PAYLOAD_MAX_BYTES,
    EVENTS_BATCH_MAX_COUNT,
    EVENTS_PER_MINUTE_MAX,
)
from tests.gateway.events.telling import TOPIC, change, claims, deliveries, kept, publisher, submitted, subscriber
from tests.gateway.services import DatabaseUrls


class Woken:
    """Counts how often deliveries became due."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
def publishing(shared_store: Database, woken: Woken) -> Publishing:
    return Publishing(shared_store, EventMetrics(CollectorRegistry()), woken)


# ---- extensions ---------------------------------------------------------------------------------------------


async def test_an_event_is_committed_with_a_delivery_for_each_install_that_subscribes(
    publishing: Publishing, shared_database: DatabaseUrls, tenant: str, woken: Woken
) -> None:
    made = publisher(shared_database, tenant)
    topic = f"{made.name}.created"
    first, second = subscriber(shared_database, tenant, topic), subscriber(shared_database, tenant, "x.y", topic)
    subscriber(shared_database, tenant, f"{topic}.later", made.name)
    event_id = await publishing.from_guest(claims(made), topic, b'{"a": 1.50}')
    (event,) = kept(shared_database, tenant)
    assert (str(event["id"]), event["topic"], event["payload"]) == (event_id, topic, b'{"a": 1.50}')
    assert event["source"] == f"/extensions/acme.{made.name}"
    assert (event["hops"], event["media_type"], str(event["install_id"])) == (1, "application/json", made.install_id)
    rows = deliveries(shared_database, tenant)
    assert {str(row["install_id"]) for row in rows} == {first.install_id, second.install_id}
    assert {(row["state"], row["attempt"]) for row in rows} == {("waiting", 0)}
    assert woken.times == 1


async def test_an_event_nobody_subscribes_to_is_accepted_and_its_payload_not_kept(
    publishing: Publishing, shared_database: DatabaseUrls, tenant: str, woken: Woken
) -> None:
    made = publisher(shared_database, tenant)
    await publishing.from_guest(claims(made), made.name, b"x")
    (event,) = kept(shared_database, tenant)
    assert (event["payload"], deliveries(shared_database, tenant), woken.times) == (None, [], 0)


async def test_another_tenants_subscription_is_none_of_its_business(
    publishing: Publishing, shared_database: DatabaseUrls, tenant: str
) -> None:
    made = publisher(shared_database, tenant)
    theirs = subscriber(shared_database, f"{tenant}-b", made.name, TOPIC)
    subscriber(shared_database, tenant, made.name, TOPIC, extension_of=theirs)
    await publishing.from_guest(claims(made), made.name, b"x")
    await publishing.from_host(tenant, [submitted()])
    assert len(deliveries(shared_database, tenant)) == 2
    assert deliveries(shared_database, f"{tenant}-b") == []
    assert kept(shared_database, f"{tenant}-b") == []


@pytest.mark.parametrize("status", ["disabled", "uninstalled"])
async def test_an_install_that_rests_does_not_get_what_is_published_meanwhile(
    publishing: Publishing, shared_database: DatabaseUrls, tenant: str, status: str
) -> None:
    made = publisher(shared_database, tenant)
    subscriber(shared_database, tenant, made.name, status=status)
    await publishing.from_guest(claims(made), made.name, b"x")
    assert deliveries(shared_database, tenant) == []


async def test_a_topic_must_be_the_extensions_name_or_stand_below_it(
    publishing: Publishing, shared_database: DatabaseUrls, tenant: str
) -> None:
    made = publisher(shared_database, tenant)
    for topic in (made.name, f"{made.name}.created", f"{made.name}.a.b-c_d"):
        await publishing.from_guest(claims(made), topic, b"")
    for topic in (f"{made.name}x", f"{made.name}-x.created", "com.acme", made.name.upper(), f"x.{made.name}"):
        with pytest.raises(Forbidden, match=f"may publish {made.name} and topics that begin with {made.name}. only"):
            await publishing.from_guest(claims(made), topic, b"")
    assert len(kept(shared_database, tenant)) == 3


@pytest.mark.parametrize("topic", ["", ".", "a..b", "a b", "a.é", "a/b", "a." + "b" * 199, "a\n"])
async def test_what_is_no_topic_is_refused_before_anybody_is_asked(
    publishing: Publishing, shared_database: DatabaseUrls, tenant: str, topic: str
) -> None:
    with pytest.raises(InvalidRequest, match="words of A-Z a-z 0-9 _ - separated by dots"):
        await publishing.from_guest(claims(publisher(shared_database, tenant)), topic, b"")


async def test_a_payload_may_have_so_many_bytes_and_not_one_more(
    publishing: Publishing, shared_database: DatabaseUrls, tenant: str
) -> None:
    made = publisher(shared_database, tenant)
    subscriber(shared_database, tenant, made.name)
    for size in (EVENT_PAYLOAD_MAX_BYTES - 1, EVENT_PAYLOAD_MAX_BYTES):
        await publishing.from_guest(claims(made), made.name, b"x" * size)
    with pytest.raises(PayloadTooLarge, match=f"at most {EVENT_PAYLOAD_MAX_BYTES} bytes"):
        await publishing.from_guest(claims(made), made.name, b"x" * (EVENT_PAYLOAD_MAX_BYTES + 1))
    assert len(kept(shared_database, tenant)) == 2


async def test_four_events_may_lead_to_each_other_and_not_a_fifth(
    publishing: Publishing, shared_database: DatabaseUrls, tenant: str
) -> None:
    made = publisher(shared_database, tenant)
    for hops in range(EVENT_HOPS_MAX):
        await publishing.from_guest(claims(made, hops=hops), made.name, b"")
    assert [row["hops"] for row in kept(shared_database, tenant)] == [1, 2, 3, 4]
    for hops in (EVENT_HOPS_MAX, EVENT_HOPS_MAX + 1):
        with pytest.raises(Forbidden, match=f"answer to {hops} events in a row, and at most 4"):
            await publishing.from_guest(claims(made, hops=hops), made.name, b"")
    assert len(kept(shared_database, tenant)) == 4


async def test_a_hundred_a_minute_whichever_gateway_takes_them(shared_database: DatabaseUrls, tenant: str) -> None:
    made, other = publisher(shared_database, tenant), publisher(shared_database, tenant)
    urls = (shared_database.app, shared_database.platform, shared_database.app)
    async with open_database(*urls) as one, open_database(*urls) as two:
        gateways = [Publishing(store, EventMetrics(CollectorRegistry()), Woken()) for store in (one, two)]

        async def attempt(number: int) -> int | None:
            try:
                await gateways[number % 2].from_guest(claims(made), made.name, b"")
            except RateLimited as error:
                assert "100 events a minute; there is room again in" in error.detail
                return error.retry_after_s
            return None

        found = [
            await asyncio.gather(*(attempt(number) for number in range(begin, begin + 10)))
            for begin in range(0, 120, 10)
        ]
        waits = [wait for batch in found for wait in batch if wait is not None]
        assert len(kept(shared_database, tenant)) == EVENTS_PER_MINUTE_MAX
        assert len(waits) == 120 - EVENTS_PER_MINUTE_MAX
        assert all(0 < wait <= 62 for wait in waits)
        await gateways[0].from_guest(claims(other), other.name, b"")


async def test_there_is_room_again_when_the_oldest_is_a_minute_old(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    made, now = publisher(shared_database, tenant), [100.0]
    publishing = Publishing(shared_store, EventMetrics(CollectorRegistry()), Woken(), lambda: now[0])
    for _ in range(EVENTS_PER_MINUTE_MAX):
        await publishing.from_guest(claims(made), made.name, b"")
    with pytest.raises(RateLimited) as refused:
        await publishing.from_guest(claims(made), made.name, b"")
    assert refused.value.retry_after_s is not None
    oldest = "id = (select id from extension_event where tenant_id = %s order by created_at limit 1)"
    change(
        shared_database,
        f"update extension_event set created_at = created_at - interval '1 minute' where {oldest}",
        tenant,
    )
    with pytest.raises(RateLimited):  # as long as it was told to wait, nobody is asked
        await publishing.from_guest(claims(made), made.name, b"")
    now[0] += refused.value.retry_after_s
    await publishing.from_guest(claims(made), made.name, b"")
    with pytest.raises(RateLimited):
        await publishing.from_guest(claims(made), made.name, b"")


async def test_an_install_that_changed_since_the_call_began_publishes_nothing(
    publishing: Publishing, shared_database: DatabaseUrls, tenant: str
) -> None:
    made = publisher(shared_database, tenant)
    with pytest.raises(Forbidden, match="changed, disabled or removed"):
        await publishing.from_guest(claims(made, generation=2), made.name, b"")
    bare = publisher(shared_database, tenant, caps=())
    with pytest.raises(Forbidden, match=r"cap:events\.publish is not granted"):
        await publishing.from_guest(claims(bare), bare.name, b"")
    gone = publisher(shared_database, tenant, status="uninstalled")
    with pytest.raises(NotInstalled):
        await publishing.from_guest(claims(gone), gone.name, b"")
    foreign = publisher(shared_database, f"{tenant}-b")
    with pytest.raises(NotInstalled):
        await publishing.from_guest(msgspec.structs.replace(claims(foreign), tenant=tenant), foreign.name, b"")
    assert kept(shared_database, tenant) == []


async def test_beyond_its_backlog_an_install_gets_dead_letters_and_the_publisher_does_not_notice(
    publishing: Publishing, shared_database: DatabaseUrls, tenant: str
) -> None:
    made = publisher(shared_database, tenant)
    slow, quick = (subscriber(shared_database, tenant, made.name) for _ in range(2))
    await publishing.from_guest(claims(made), made.name, b"")
    change(
        shared_database,
        """with e as (
             insert into extension_event (tenant_id, id, source, topic, occurred_at, sha256, hops)
             select %s, gen_random_uuid(), '/host', 'x', now(), '', 1 from generate_series(1, %s) returning tenant_id, id
           ) insert into extension_event_delivery (tenant_id, event_id, install_id) select tenant_id, id, %s from e""",
        tenant,
        EVENT_BACKLOG_MAX_COUNT - 2,
        slow.install_id,
    )
    for _ in range(2):
        await publishing.from_guest(claims(made), made.name, b"x")
    late = [row for row in deliveries(shared_database, tenant) if row["state"] == "dead"]
    assert [(str(row["install_id"]), row["code"]) for row in late] == [(slow.install_id, "backlog_full")]
    assert len([row for row in deliveries(shared_database, tenant) if str(row["install_id"]) == quick.install_id]) == 3


# ---- the host application -----------------------------------------------------------------------------------


async def test_a_batch_of_the_host_application_is_taken_in_its_order(
    publishing: Publishing, shared_database: DatabaseUrls, tenant: str, woken: Woken
) -> None:
    subscriber(shared_database, tenant, TOPIC)
    batch = [submitted(id="1", source="urn:example:billing"), submitted(id="1"), submitted(type="other", subject="é 1")]
    found = await publishing.from_host(tenant, batch)
    assert [(one.type, one.origin_id, one.repeated, one.deliveries) for one in found] == [
        (TOPIC, "1", False, 1),
        (TOPIC, "1", False, 1),
        ("other", None, False, 0),
    ]
    assert [one.source for one in found] == ["urn:example:billing", "/host", "/host"]
    assert len({one.id for one in found}) == 3
    assert {str(row["id"]) for row in kept(shared_database, tenant)} == {one.id for one in found}
    assert woken.times == 1


async def test_the_same_source_and_id_is_the_same_event_however_often_it_is_sent(
    publishing: Publishing, shared_database: DatabaseUrls, tenant: str
) -> None:
    subscriber(shared_database, tenant, TOPIC)
    (first,) = await publishing.from_host(tenant, [submitted(id="e-1", subject="s")])
    again = await asyncio.gather(*(publishing.from_host(tenant, [submitted(id="e-1", subject="s")]) for _ in range(5)))
    assert [(one.id, one.repeated, one.deliveries) for (one,) in again] == [(first.id, True, 0)] * 5
    assert (len(kept(shared_database, tenant)), len(deliveries(shared_database, tenant))) == (1, 1)
    (theirs,) = await publishing.from_host(f"{tenant}-b", [submitted(id="e-1", subject="s")])
    assert theirs.id != first.id
    assert not theirs.repeated


async def test_at_once_it_is_still_one_event(
    publishing: Publishing, shared_database: DatabaseUrls, tenant: str
) -> None:
    subscriber(shared_database, tenant, TOPIC)
    found = await asyncio.gather(*(publishing.from_host(tenant, [submitted(id="e-1")]) for _ in range(8)))
    assert sorted(one.repeated for (one,) in found) == [False] + [True] * 7
    assert len(deliveries(shared_database, tenant)) == 1


async def test_the_same_id_for_something_else_is_a_conflict_and_nothing_of_the_batch_is_kept(
    publishing: Publishing, shared_database: DatabaseUrls, tenant: str
) -> None:
    await publishing.from_host(tenant, [submitted(id="e-1")])
    with pytest.raises(Conflict, match="e-1 of /host was published before and said something else"):
        await publishing.from_host(tenant, [submitted(id="e-2"), submitted(id="e-1", subject="other")])
    assert [row["origin_id"] for row in kept(shared_database, tenant)] == ["e-1"]


async def test_the_host_application_may_use_any_topic_but_an_installed_extensions(
    publishing: Publishing, shared_database: DatabaseUrls, tenant: str
) -> None:
    made = publisher(shared_database, tenant, status="disabled")
    publisher(shared_database, f"{tenant}-b", name=f"{made.name}.theirs")
    for topic in (made.name, f"{made.name}.created", f"{made.name}.theirs"):
        with pytest.raises(Forbidden, match=f"a topic of the installed extension {made.name}, which alone"):
            await publishing.from_host(tenant, [submitted(), submitted(type=topic)])
    assert kept(shared_database, tenant) == []
    await publishing.from_host(tenant, [submitted(type=f"{made.name}x"), submitted(type="com")])


@pytest.mark.parametrize("count", [0, 1, EVENTS_BATCH_MAX_COUNT, EVENTS_BATCH_MAX_COUNT + 1])
async def test_a_batch_has_one_to_twenty_events(publishing: Publishing, tenant: str, count: int) -> None:
    batch = [submitted() for _ in range(count)]
    if 1 <= count <= EVENTS_BATCH_MAX_COUNT:
        assert len(await publishing.from_host(tenant, batch)) == count
    else:
        with pytest.raises(InvalidRequest, match="1 to 20 events"):
            await publishing.from_host(tenant, batch)


async def test_a_batch_names_each_source_and_id_once(publishing: Publishing, tenant: str) -> None:
    with pytest.raises(InvalidRequest, match="each source and id once"):
        await publishing.from_host(tenant, [submitted(id="1"), submitted(id="1")])

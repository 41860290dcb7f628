"""Events through the whole platform, with real guests in two languages: published, delivered, refused, dead, repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg.rows import dict_row

from deploy.local.record import Stack
from gateway.identity import api_keys
from shared.limits import EVENT_HOPS_MAX
from tests.system.acting import Answer, Visitor
from tests.system.event_keepers import PAID, SOURCES, Party, described, event_component, installed, name_of, offered
from tests.system.gateways import another_gateway

__all__ = ["event_component"]

pytestmark = [pytest.mark.guests, pytest.mark.timeout(300)]
every_guest = pytest.mark.parametrize("engine", SOURCES)


@pytest.fixture
async def extensions(admin: Visitor, event_component: Callable[[str], bytes], tmp_path: Path) -> dict[str, str]:
    """Both extensions in the registry, by language."""
    return {engine: await offered(admin, tmp_path, event_component(engine), described(engine)) for engine in SOURCES}


@pytest.fixture
async def parties(admin: Visitor, extensions: dict[str, str]) -> dict[str, Party]:
    """Both of them, installed by `acme`."""
    return {engine: await installed(admin, name_of(engine), extension) for engine, extension in extensions.items()}


@pytest.fixture
async def theirs(admin: Visitor, extensions: dict[str, str], stack: Stack) -> dict[str, Party]:
    """Both of them, installed by `globex`."""
    globex = admin.with_token(stack.tenant("globex").admin_token)
    return {engine: await installed(globex, name_of(engine), extension) for engine, extension in extensions.items()}


def host_of(visitor: Visitor, stack: Stack, tenant: str = "acme") -> Visitor:
    """The host application, which publishes with an API key of the tenant."""
    return visitor.with_token(publishing_key(stack, tenant))


def publishing_key(stack: Stack, tenant: str) -> str:
    """An API key that may publish events and nothing else."""
    made = api_keys.generate()
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        database.execute(
            "insert into api_key (id, tenant_id, secret_sha256, permissions) values (%s, %s, %s, '{events:publish}')",
            (made.id, tenant, made.secret_sha256),
        )
    return made.text


async def tell(host: Visitor, *events: dict[str, Any], base: str | None = None) -> Answer:
    """The host application publishes."""
    return await host.call(
        "POST",
        "/api/events",
        data=msgspec.json.encode(events),
        headers={"content-type": "application/cloudevents-batch+json"},
        base=base,
    )


@every_guest
async def test_what_one_guest_publishes_another_ones_handler_receives(
    engine: str, parties: dict[str, Party], theirs: dict[str, Party]
) -> None:
    other = next(one for one in SOURCES if one != engine)
    topic = f"{name_of(engine)}.created"
    assert await parties[engine].publish(topic, b'{"id": 7}') == {}
    assert await parties[engine].publish(topic, b"\x00\xff") == {}
    one, two = sorted(await parties[other].told(topic, 2), key=lambda found: found["data"] is None)
    assert (one["data"], one["payload"]) == ({"id": 7}, None)
    assert (two["data"], two["payload"]) == (None, [0, 255])
    for found in (one, two):
        assert found["source"] == f"/extensions/local.{name_of(engine)}"
        assert (found["tenant"], found["key"], found["times"]) == ("acme", found["id"], 1)
    assert await parties[engine].seen() == []  # it subscribes to the other's topic, not to this one
    for party in theirs.values():
        assert await party.seen() == []
        assert await party.deliveries("waiting", 0) == []
        assert await party.deliveries("delivered", 0) == []


@every_guest
async def test_what_it_may_not_publish_it_is_told_in_words(
    engine: str, parties: dict[str, Party], event_component: Callable[[str], bytes], admin: Visitor, tmp_path: Path
) -> None:
    name = name_of(engine)
    for topic in (PAID, f"{name}x", "tests"):
        told = await parties[engine].publish(topic)
        assert told == {"error": f"this extension may publish {name} and topics that begin with {name}. only"}
    assert "words of A-Z" in (await parties[engine].publish("a..b"))["error"]
    assert "at most 65536 bytes" in (await parties[engine].publish(name, b"x" * 65_537))["error"]
    about = described(engine, f"tests.eventless-{engine}")
    extension = await offered(admin, tmp_path, event_component(engine), about)
    bare = await installed(admin, about["name"], extension, ("cap:storage.kv",))
    assert await bare.publish(name) == {"error": "cap:events.publish is not granted to this install"}


@every_guest
async def test_events_that_lead_to_each_other_end_after_four(engine: str, parties: dict[str, Party]) -> None:
    topic = f"{name_of(engine)}.again"
    assert await parties[engine].publish(topic) == {}
    assert len(await parties[engine].told(topic, EVENT_HOPS_MAX)) == EVENT_HOPS_MAX
    async with asyncio.timeout(30):
        while not (refused := [one for one in await parties[engine].seen() if "refused" in one]):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    assert "answer to 4 events in a row, and at most 4 may lead to each other" in refused[0]["refused"]
    assert len(await parties[engine].told(topic, EVENT_HOPS_MAX)) == EVENT_HOPS_MAX


async def test_the_host_application_tells_every_extension_that_asked_and_only_its_own_tenants(
    parties: dict[str, Party], theirs: dict[str, Party], admin: Visitor, stack: Stack
) -> None:
    host = host_of(admin, stack)
    event = {"specversion": "1.0", "type": PAID, "source": "urn:host:billing", "id": "i-1", "data": {"total": 1}}
    answer = await tell(host, event)
    assert answer.status == 202, answer.body
    (item,) = answer.json()["items"]
    assert (item["repeated"], item["deliveries"], item["origin_id"]) == (False, 2, "i-1")
    (again,) = (await tell(host, event)).json()["items"]
    assert (again["id"], again["repeated"], again["deliveries"]) == (item["id"], True, 0)
    for party in parties.values():
        (found,) = await party.told(PAID, 1)
        assert (found["id"], found["source"], found["origin_id"]) == (item["id"], "urn:host:billing", "i-1")
        assert (found["data"], found["times"]) == ({"total": 1}, 1)
    for party in theirs.values():
        assert await party.seen() == []
    refused = await tell(host, {"type": f"{name_of('python')}.created"})
    assert (refused.status, refused.code) == (403, "forbidden")
    other = await tell(host_of(admin, stack, "globex"), {"type": PAID, "tenant": "acme"})
    assert (other.status, other.code) == (403, "tenant_mismatch")
    without = await tell(admin.with_token(stack.tenant("acme").user_token), event)
    assert (without.status, without.code) == (403, "forbidden")
    assert "events:publish" in without.json()["detail"]


@every_guest
async def test_a_handler_that_refuses_makes_a_dead_letter_which_can_be_redelivered(
    engine: str, parties: dict[str, Party], theirs: dict[str, Party], admin: Visitor, stack: Stack
) -> None:
    party = parties[engine]
    await party.mood(422)
    (item,) = (await tell(host_of(admin, stack), {"type": PAID, "data": "late"})).json()["items"]
    (dead,) = await party.deliveries("dead", 1)
    assert (dead["event_id"], dead["last_status"], dead["attempts"]) == (item["id"], 422, 1)
    assert [
        one["event_id"] for one in (await admin.get(f"/api/installs/{party.install_id}/events/dead")).json()["items"]
    ]
    stranger = theirs[engine]
    foreign = await stranger.visitor.post(f"/api/installs/{party.install_id}/events/dead/redeliver", None)
    assert (foreign.status, foreign.code) == (404, "not_installed")
    elsewhere = await stranger.redeliver(item["id"])
    assert (elsewhere.status, elsewhere.code) == (404, "not_found")
    await party.mood(204)
    assert (await party.redeliver(item["id"])).json() == {"redelivered": 1}
    (found,) = await party.told(PAID, 1)
    assert (found["id"], found["data"]) == (item["id"], "late")
    assert (await admin.get(f"/api/installs/{party.install_id}/events/dead")).json()["items"] == []
    assert (await party.redeliver(item["id"])).status == 404


async def test_a_handler_that_fails_is_tried_again_by_itself(
    parties: dict[str, Party], admin: Visitor, stack: Stack
) -> None:
    party = parties["quickjs"]
    await party.mood(503)
    await tell(host_of(admin, stack), {"type": PAID})
    async with asyncio.timeout(30):
        while not any(one["failures"] for one in await party.deliveries("waiting", 0)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
    await party.mood(204)
    (found,) = await party.told(PAID, 1)
    (delivery,) = await party.deliveries("delivered", 1)
    assert delivery["event_id"] == found["id"]
    assert delivery["attempts"] == delivery["failures"] + 1


async def test_nobody_but_the_platform_can_deliver(parties: dict[str, Party], admin: Visitor) -> None:
    party = parties["python"]
    body = {"specversion": "1.0", "id": "x", "source": "/host", "type": PAID, "time": "", "tenant": "acme"}
    answer = await admin.call(
        "POST",
        f"/api/ext/{party.install_id}/events",
        data=msgspec.json.encode(body),
        headers={"content-type": "application/json", "x-alga-trigger": "event"},
    )
    assert answer.status == 403
    assert await party.seen() == []


async def test_two_gateways_deliver_each_event_once(parties: dict[str, Party], admin: Visitor, stack: Stack) -> None:
    host = host_of(admin, stack)
    async with another_gateway(stack) as second:
        for number in range(20):
            base = second.url if number % 2 else None
            assert (await tell(host, {"type": PAID, "data": number}, base=base)).status == 202
        for party in parties.values():
            found = await party.told(PAID, 20)
            assert sorted(one["data"] for one in found) == list(range(20))
            assert {one["times"] for one in found} == {1}
            delivered = await party.deliveries("delivered", 20)
            assert {one["attempts"] for one in delivered} == {1}
    with psycopg.connect(stack.database_url, row_factory=dict_row) as database:
        rows = database.execute(
            "select count(*) as calls, count(distinct principal) as events from extension_execution_log"
            " where install_id = %s and principal_kind = 'event'",
            (parties["python"].install_id,),
        ).fetchone()
    assert rows is not None
    assert rows["calls"] >= rows["events"] >= 20

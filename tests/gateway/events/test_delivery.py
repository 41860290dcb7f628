"""Delivery: each subscriber gets each event at least once, whatever fails, and never an event of another tenant."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from shared.errors import GuestTrapped, Overloaded
from shared.limits import EVENT_ATTEMPTS_MAX, EVENT_INSTALL_DELIVERIES_MAX, EVENT_TENANT_DELIVERIES_MAX
from shared.tokens import HostClaims, Verifier
from shared.wire import ExecuteRequest
from tests.gateway import stub_runner as stubs
from tests.gateway.events.telling import (
    TOPIC,
    becomes,
    change,
    claims,
    deliveries,
    hurry,
    kept,
    publisher,
    states,
    submitted,
    subscriber,
)
from tests.gateway.seeds import rows
from tests.gateway.serving import GATEWAY_KEY, Served, bearer, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def tell(live: Served, tenant: str, **more: Any) -> str:
    """The host application publishes one event; its id."""
    (accepted,) = await live.ctx.events.publishing.from_host(tenant, [submitted(**more)])
    return accepted.id


async def test_the_handler_gets_the_event_with_its_id_as_key_and_a_word_no_client_can_send(
    live: Served, tenant: str
) -> None:
    subscriber(live.database, tenant, TOPIC, handler="/inbox", endpoint_policy="enforce")
    event_id = await tell(live, tenant, id="e-1", subject="invoice/7", data=msgspec.Raw(b'{"total": 1.50}'))
    await becomes(lambda: states(live.database, tenant), ["delivered"])
    (asked,) = live.stub.requests
    assert (asked.http.method, asked.http.path, asked.user) == ("POST", "/inbox", None)
    assert asked.http.headers["content-type"] == "application/cloudevents+json"
    assert asked.http.headers["x-idempotency-key"] == event_id
    assert asked.http.headers["x-alga-trigger"] == "event"
    event = msgspec.json.decode(asked.http.body or b"")
    assert event.pop("time").endswith("Z")
    assert event == {
        "specversion": "1.0",
        "id": event_id,
        "source": "/host",
        "type": TOPIC,
        "subject": "invoice/7",
        "tenant": tenant,
        "originid": "e-1",
        "datacontenttype": "application/json",
        "data": {"total": 1.5},
    }
    assert b'"data":{"total": 1.50}' in (asked.http.body or b"")
    await live.ctx.audit.flush()
    (row,) = rows(live.database, tenant)
    assert (row["principal"], row["principal_kind"]) == (f"event:{event_id}", "event")
    (delivery,) = deliveries(live.database, tenant)
    assert (delivery["attempt"], delivery["failures"], delivery["http_status"]) == (1, 0, 200)
    assert delivery["execution_id"] == row["id"]
    assert kept(live.database, tenant)[0]["payload"] is None  # everybody has it


async def test_a_client_cannot_pass_for_an_event(live: Served, tenant: str) -> None:
    made = subscriber(live.database, tenant, TOPIC)
    answer = await live.call(
        "POST",
        f"/api/ext/{made.install_id}/events",
        b"{}",
        authorization=bearer(made),
        x_alga_trigger="event",
        content_type="application/cloudevents+json",
    )
    assert answer.status == 200
    assert "x-alga-trigger" not in live.stub.requests[0].http.headers


async def test_the_hosts_token_of_the_call_counts_the_events_that_led_to_it(live: Served, tenant: str) -> None:
    made = publisher(live.database, tenant)
    subscriber(live.database, tenant, made.name)
    await live.ctx.events.publishing.from_guest(claims(made, hops=2), made.name, b"x")
    await becomes(lambda: states(live.database, tenant), ["delivered"])
    token = live.stub.requests[0].host_token
    assert token is not None
    assert Verifier([GATEWAY_KEY.public], {"gateway"}).verify(token, HostClaims).hops == 3


async def test_a_failure_is_tried_again_after_a_pause_until_it_is_a_dead_letter(live: Served, tenant: str) -> None:
    subscriber(live.database, tenant, TOPIC)
    failing = [stubs.answering(status=500), stubs.refusing(GuestTrapped("unreachable"))] * EVENT_ATTEMPTS_MAX
    live.stub.acts += failing[:EVENT_ATTEMPTS_MAX]
    await tell(live, tenant, data=msgspec.Raw(b"1"))
    for failures in range(1, EVENT_ATTEMPTS_MAX):
        await becomes(lambda: deliveries(live.database, tenant)[0]["failures"], failures)
        (row,) = deliveries(live.database, tenant)
        assert row["state"] == "waiting"
        hurry(live.database, tenant)
    await becomes(lambda: states(live.database, tenant), ["dead"])
    (row,) = deliveries(live.database, tenant)
    assert (row["failures"], row["attempt"]) == (EVENT_ATTEMPTS_MAX, EVENT_ATTEMPTS_MAX)
    assert (row["http_status"], row["code"], row["detail"]) == (None, "guest_trapped", "unreachable")
    bodies = {request.http.body for request in live.stub.requests}
    keys = {request.http.headers["x-idempotency-key"] for request in live.stub.requests}
    assert (len(live.stub.requests), len(bodies), len(keys)) == (EVENT_ATTEMPTS_MAX, 1, 1)
    assert kept(live.database, tenant)[0]["payload"] == b"1"


async def test_the_first_retry_comes_by_itself_within_moments(live: Served, tenant: str) -> None:
    subscriber(live.database, tenant, TOPIC)
    live.stub.acts.append(stubs.answering(status=503))
    await tell(live, tenant)
    await becomes(lambda: states(live.database, tenant), ["delivered"])
    assert deliveries(live.database, tenant)[0]["failures"] == 1


async def test_a_handler_that_says_the_event_is_wrong_makes_it_a_dead_letter_at_once(live: Served, tenant: str) -> None:
    subscriber(live.database, tenant, TOPIC)
    live.stub.acts.append(stubs.answering(status=422))
    await tell(live, tenant)
    await becomes(lambda: states(live.database, tenant), ["dead"])
    (row,) = deliveries(live.database, tenant)
    assert (row["http_status"], row["detail"], row["failures"]) == (422, "the handler answered 422", 1)


async def test_what_the_platform_could_not_begin_is_not_held_against_the_extension(live: Served, tenant: str) -> None:
    subscriber(live.database, tenant, TOPIC)
    live.stub.acts += [stubs.refusing(Overloaded("full"))] * 2
    await tell(live, tenant)
    await becomes(lambda: deliveries(live.database, tenant)[0]["code"], "overloaded")
    (row,) = deliveries(live.database, tenant)
    assert (row["state"], row["failures"], row["attempt"]) == ("waiting", 0, 1)
    hurry(live.database, tenant)
    await becomes(lambda: states(live.database, tenant), ["delivered"])


async def test_one_receivers_failure_is_not_the_others(live: Served, tenant: str) -> None:
    for _ in range(3):
        subscriber(live.database, tenant, TOPIC)
    live.stub.acts.append(stubs.answering(status=400))
    await tell(live, tenant)
    await becomes(lambda: sorted(states(live.database, tenant)), ["dead", "delivered", "delivered"])


async def test_a_disabled_install_keeps_its_deliveries_until_it_is_enabled(live: Served, tenant: str) -> None:
    made = subscriber(live.database, tenant, TOPIC)
    live.stub.acts.append(stubs.answering(status=503))
    await tell(live, tenant)
    await becomes(lambda: deliveries(live.database, tenant)[0]["failures"], 1)
    change(live.database, "update tenant_extension_install set status = 'disabled' where id = %s", made.install_id)
    count = len(live.stub.requests)
    hurry(live.database, tenant)
    other = subscriber(live.database, tenant, "second")
    await tell(live, tenant, type="second")  # when this one is there, the other was passed over
    await becomes(lambda: sorted(states(live.database, tenant)), ["delivered", "waiting"])
    assert [request.context.install_id for request in live.stub.requests[count:]] == [other.install_id]
    change(live.database, "update tenant_extension_install set status = 'enabled' where id = %s", made.install_id)
    live.ctx.resolver.forget(tenant)
    hurry(live.database, tenant)
    await becomes(lambda: states(live.database, tenant), ["delivered", "delivered"])


async def test_a_version_that_does_not_subscribe_any_more_is_not_called(live: Served, tenant: str) -> None:
    made = subscriber(live.database, tenant, TOPIC)
    live.stub.acts.append(stubs.answering(status=503))
    await tell(live, tenant)
    await becomes(lambda: deliveries(live.database, tenant)[0]["failures"], 1)
    change(live.database, "delete from extension_event_subscription where version_id = %s", made.version_id)
    hurry(live.database, tenant)
    await becomes(lambda: states(live.database, tenant), ["dead"])
    assert deliveries(live.database, tenant)[0]["code"] == "not_subscribed"
    assert len(live.stub.requests) == 1


class Together:
    """Holds guests until told, and counts the most there were at once, for each install and tenant."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.now: dict[str, int] = {}
        self.most: dict[str, int] = {}

    async def act(self, asked: ExecuteRequest) -> Any:
        names = (asked.context.install_id, asked.context.tenant_id)
        for name in names:
            self.now[name] = self.now.get(name, 0) + 1
            self.most[name] = max(self.most.get(name, 0), self.now[name])
        await self.go.wait()
        for name in names:
            self.now[name] -= 1
        return await stubs.echo(asked)


async def test_one_install_and_one_tenant_never_have_all_places_of_a_gateway(live: Served, tenant: str) -> None:
    busy = [subscriber(live.database, tenant, TOPIC) for _ in range(3)]
    quiet, theirs = f"{tenant}-b", Together()
    live.stub.acts += [theirs.act] * 31
    for _ in range(10):
        await live.ctx.events.publishing.from_host(tenant, [submitted()])
    await becomes(lambda: theirs.now.get(tenant), EVENT_TENANT_DELIVERIES_MAX)
    subscriber(live.database, quiet, TOPIC)
    await tell(live, quiet)
    await becomes(lambda: theirs.now.get(quiet), 1)
    theirs.go.set()
    await becomes(lambda: states(live.database, tenant), ["delivered"] * 30)
    await becomes(lambda: states(live.database, quiet), ["delivered"])
    assert theirs.most[tenant] == EVENT_TENANT_DELIVERIES_MAX
    assert max(theirs.most[made.install_id] for made in busy) <= EVENT_INSTALL_DELIVERIES_MAX


async def test_two_gateways_deliver_each_event_once(live: Served, tenant: str) -> None:
    first, second = (subscriber(live.database, tenant, TOPIC) for _ in range(2))
    async with serving(live.database) as other:
        for number in range(20):
            gateway = (live, other)[number % 2]
            await gateway.ctx.events.publishing.from_host(tenant, [submitted(id=str(number))])
        await becomes(lambda: set(states(live.database, tenant)), {"delivered"})
        requests = [*live.stub.requests, *other.stub.requests]
        assert other.stub.requests
    seen = [(request.context.install_id, request.http.headers["x-idempotency-key"]) for request in requests]
    assert len(seen) == len(set(seen)) == 40
    assert {install for install, _ in seen} == {first.install_id, second.install_id}


async def test_what_a_dead_gateway_left_is_delivered_when_its_lease_ends(live: Served, tenant: str) -> None:
    subscriber(live.database, tenant, TOPIC)
    live.stub.acts.append(stubs.hang)
    await tell(live, tenant)
    await live.stub.arrived.wait()
    hurry(live.database, tenant)  # as if the lease had ended
    await becomes(lambda: states(live.database, tenant), ["delivered"])
    assert deliveries(live.database, tenant)[0]["attempt"] == 2


async def test_an_uninstalled_extension_has_no_deliveries_left(live: Served, tenant: str) -> None:
    made = subscriber(live.database, tenant, TOPIC)
    await tell(live, tenant)
    await becomes(lambda: states(live.database, tenant), ["delivered"])
    answer = await live.call(
        "DELETE", f"/api/installs/{made.install_id}", authorization=bearer(made, "extension:admin")
    )
    assert answer.status == 200
    assert deliveries(live.database, tenant) == []

"""A gateway that ends: what it has begun ends first, or is handed to others at once."""

from __future__ import annotations

import asyncio

import pytest

from gateway.events import delivery
from tests.gateway import stub_runner as stubs
from tests.gateway.events.telling import TOPIC, becomes, deliveries, states, submitted, subscriber
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import serving


async def test_what_it_could_not_finish_is_there_for_others_at_once(
    shared_database: DatabaseUrls, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "EVENT_DRAIN_MAX_S", 0.05)
    subscriber(shared_database, tenant, TOPIC)
    async with serving(shared_database) as gateway:
        gateway.stub.acts.append(stubs.hang)
        await gateway.ctx.events.publishing.from_host(tenant, [submitted()])
        await gateway.stub.arrived.wait()
    (row,) = deliveries(shared_database, tenant)
    assert (row["state"], row["attempt"], row["failures"], row["code"]) == ("waiting", 1, 0, "interrupted")
    async with serving(shared_database):  # at once: the lease is not waited for
        await becomes(lambda: states(shared_database, tenant), ["delivered"])


async def test_what_it_can_finish_it_finishes(shared_database: DatabaseUrls, tenant: str) -> None:
    subscriber(shared_database, tenant, TOPIC)
    go = asyncio.Event()

    async def slow(asked: stubs.ExecuteRequest) -> stubs.web.StreamResponse:
        await go.wait()
        return await stubs.echo(asked)

    async with serving(shared_database) as gateway:
        gateway.stub.acts.append(slow)
        await gateway.ctx.events.publishing.from_host(tenant, [submitted()])
        await gateway.stub.arrived.wait()
        asyncio.get_running_loop().call_later(0.2, go.set)
    assert states(shared_database, tenant) == ["delivered"]


async def test_from_the_moment_it_is_asked_to_end_it_claims_nothing(shared_database: DatabaseUrls, tenant: str) -> None:
    subscriber(shared_database, tenant, TOPIC)
    async with serving(shared_database) as gateway:
        gateway.ctx.drain.set()
        ended = [task for task in asyncio.all_tasks() if task.get_name() == "event claims"]
        await asyncio.gather(*ended)
        await gateway.ctx.events.publishing.from_host(tenant, [submitted()])
    assert states(shared_database, tenant) == ["waiting"]
    assert deliveries(shared_database, tenant)[0]["attempt"] == 0


async def test_closing_leaves_no_task_behind(shared_database: DatabaseUrls) -> None:
    async with serving(shared_database):
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert {"event claims", "event listener", "event drain"} <= names
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("event")]


async def test_one_gateway_hears_what_another_one_took(
    shared_database: DatabaseUrls, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "EVENT_POLL_S", 600)  # so that nobody looks without having been told
    subscriber(shared_database, tenant, TOPIC)
    async with serving(shared_database) as gateway, serving(shared_database) as silent:
        silent.ctx.drain.set()
        async with asyncio.timeout(5):
            while len([task for task in asyncio.all_tasks() if task.get_name() == "event claims"]) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        (accepted,) = await silent.ctx.events.publishing.from_host(tenant, [submitted()])
        await becomes(lambda: states(shared_database, tenant), ["delivered"])
        assert [one.http.headers["x-idempotency-key"] for one in gateway.stub.requests] == [accepted.id]
        assert silent.stub.requests == []

"""Abuse that is noticed by the clock: what stops by itself, what an operator is told, and that a release is heeded."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.context import GatewayContext
from gateway.registry.abuse import SPEND_LEASE, AbuseMetrics, abuse_watch, spend_watch
from shared.keys import PrivateKey
from shared.registry_limits import (
    ABUSE_PUBLISHER_EGRESS_MAX_BYTES,
    ABUSE_SIGNATURE_FAILURES_MAX_COUNT,
    ABUSE_TENANT_CPU_MAX_S,
    ABUSE_TENANT_EGRESS_MAX_BYTES,
    ABUSE_VIOLATIONS_MAX_COUNT,
    ABUSE_VIOLATIONS_WINDOW_MINUTES,
)
from tests.gateway.asgi import Client
from tests.gateway.bundles import bundle
from tests.gateway.registry_flow import finalize, publish, refused
from tests.gateway.services import DatabaseUrls, owner
from tests.gateway.stub_compiler import StubCompiler

STRANGER = PrivateKey(bytes([66]) * 32)


class Watch:
    """The clock's turns, as often as a test wants them."""

    def __init__(self, gateway: GatewayContext, holder: str = "this test") -> None:
        self.registry = CollectorRegistry()
        metrics = AbuseMetrics(self.registry)
        self.turn = abuse_watch(gateway.store, metrics, limited=True)
        self.lenient = abuse_watch(gateway.store, metrics, limited=False)
        self.spend = spend_watch(gateway.store, metrics, holder)

    def open(self, kind: str) -> float | None:
        return self.registry.get_sample_value("ext_abuse_alerts_open", {"kind": kind})


@pytest.fixture
async def watch(gateway: GatewayContext, seize: Callable[[str, str], Awaitable[None]]) -> Watch:
    await seize(SPEND_LEASE, "this test")
    return Watch(gateway)


@pytest.fixture
async def crm(public: Client, compiler: StubCompiler, publisher_key: PrivateKey) -> dict[str, Any]:
    return await publish(public, compiler, bundle(), publisher_key)


async def log(database: DatabaseUrls, one: dict[str, Any], times: int, **columns: Any) -> None:
    """Rows of the execution log; `age_s` seconds old."""
    age_s = columns.pop("age_s", 1)
    values = {"tenant_id": "acme", "cpu_ms": 0, "egress_bytes": 0, "code": None} | columns
    async with owner(database.owner) as connection:
        await connection.execute(
            """insert into extension_execution_log
                 (id, tenant_id, request_id, registry_id, install_id, version_id, content_hash, method, deadline_at,
                  started_at, state, cpu_ms, egress_bytes, code)
               select gen_random_uuid(), %s, 'r', %s, %s, %s, 'sha256:', 'GET', now(),
                      now() - make_interval(secs => %s), 'guest_error', %s, %s, %s from generate_series(1, %s)""",
            (
                values["tenant_id"],
                one["extension_id"],
                str(uuid.uuid4()),
                one["version_id"],
                age_s,
                values["cpu_ms"],
                values["egress_bytes"],
                values["code"],
                times,
            ),
        )


async def brakes(operator: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await operator.get("/api/admin/brakes?active=true")).json()["items"]
    return found


async def alerts(operator: Client, query: str = "?active=true") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await operator.get(f"/api/admin/alerts{query}")).json()["items"]
    return found


async def test_a_version_whose_sandboxes_break_out_is_stopped_until_the_operator_releases_it(
    crm: dict[str, Any], operator: Client, database: DatabaseUrls, watch: Watch
) -> None:
    await log(database, crm, ABUSE_VIOLATIONS_MAX_COUNT - 1, code="sandbox_violation")
    await log(database, crm, 50, code="guest_aborted")
    await log(database, crm, 50, code="sandbox_violation", age_s=ABUSE_VIOLATIONS_WINDOW_MINUTES * 60 + 5)
    await watch.turn()
    assert await brakes(operator) == []
    await log(database, crm, 1, code="sandbox_violation")
    await watch.turn()
    await watch.turn()  # another gateway's
    (brake,) = await brakes(operator)
    assert (brake["subject"], brake["by"]) == (f"version:{crm['version_id']}", "platform:abuse")
    assert "sandbox_violation" in brake["reason"]
    (alert,) = await alerts(operator)
    assert (alert["kind"], alert["subject"], alert["brake_id"]) == (
        *("sandbox_violations", crm["version_id"]),
        brake["id"],
    )
    assert (alert["measured"], alert["allowed"]) == (ABUSE_VIOLATIONS_MAX_COUNT, ABUSE_VIOLATIONS_MAX_COUNT - 1)
    assert watch.open("sandbox_violations") == 1
    assert watch.registry.get_sample_value("ext_abuse_suspensions_total", {"kind": "sandbox_violations"}) == 1
    assert (await operator.delete(f"/api/admin/brakes/{brake['id']}")).status == 200
    await watch.turn()
    assert await brakes(operator) == []  # what came before the release was judged by a person
    assert await alerts(operator) == []
    assert watch.open("sandbox_violations") == 0
    await log(database, crm, ABUSE_VIOLATIONS_MAX_COUNT, code="sandbox_violation", age_s=0)
    await watch.turn()
    assert len(await brakes(operator)) == 1
    assert len(await alerts(operator, "")) == 2
    async with owner(database.owner) as connection:
        cursor = await connection.execute(
            "select tenant_id, actor from extension_audit_log where action = 'version.stopped'"
        )
        assert await cursor.fetchall() == [("acme", "platform:abuse")] * 2


async def test_a_publisher_that_keeps_guessing_is_suspended_until_the_operator_restores_it(
    crm: dict[str, Any],
    public: Client,
    operator: Client,
    database: DatabaseUrls,
    watch: Watch,
    publisher_key: PrivateKey,
) -> None:
    async with owner(database.owner) as connection:
        await connection.execute(
            """insert into publish_refusal (account, publisher, code)
               select 'acme', 'acme', 'signature_invalid' from generate_series(1, %s)""",
            (ABUSE_SIGNATURE_FAILURES_MAX_COUNT - 2,),
        )
        await connection.execute(
            """insert into publish_refusal (account, publisher, code, created_at)
               select 'acme', 'acme', 'x', now() - interval '61 minutes' from generate_series(1, 100)"""
        )
    refused(await finalize(public, bundle(version="2.0.0"), STRANGER), 422, "signature_untrusted_key")
    await watch.turn()
    assert await brakes(operator) == []
    refused(await finalize(public, bundle(version="2.0.0"), STRANGER), 422, "signature_untrusted_key")
    await watch.lenient()  # a developer's machine
    assert await brakes(operator) == []
    await watch.turn()
    assert [one["subject"] for one in await brakes(operator)] == ["publisher:acme"]
    refused(await finalize(public, bundle(version="2.0.0"), publisher_key), 403, "forbidden")
    (alert,) = await alerts(operator)
    assert (alert["kind"], alert["subject"], alert["measured"]) == (
        *("signature_failures", "acme"),
        ABUSE_SIGNATURE_FAILURES_MAX_COUNT,
    )
    assert (await operator.post("/api/admin/publishers/acme/restore", {"reason": "a typo"})).status == 200
    await watch.turn()
    assert (await brakes(operator), await alerts(operator)) == ([], [])


async def test_nobody_collects_refusals_for_somebody_elses_name(
    crm: dict[str, Any], public: Client, other: Client, database: DatabaseUrls
) -> None:
    refused(await finalize(other, bundle(version="3.0.0"), STRANGER), 422, "signature_untrusted_key")
    refused(await finalize(public, bundle(version="3.0.0"), STRANGER), 422, "signature_untrusted_key")
    async with owner(database.owner) as connection:
        cursor = await connection.execute("select account, publisher, code from publish_refusal order by id")
        assert await cursor.fetchall() == [
            ("globex", "", "signature_untrusted_key"),
            ("acme", "acme", "signature_untrusted_key"),
        ]


async def test_spending_above_a_limit_is_told_and_ends_with_the_hour(
    crm: dict[str, Any], operator: Client, database: DatabaseUrls, watch: Watch
) -> None:
    await log(database, crm, 1, cpu_ms=ABUSE_TENANT_CPU_MAX_S * 1000, egress_bytes=ABUSE_TENANT_EGRESS_MAX_BYTES)
    await log(database, crm, 1, cpu_ms=10**9, egress_bytes=10**15, age_s=3700)  # an hour ago
    await watch.spend()
    assert await alerts(operator) == []  # at the limit
    await log(database, crm, 1, cpu_ms=1, egress_bytes=ABUSE_PUBLISHER_EGRESS_MAX_BYTES)
    await watch.spend()
    told = {(one["kind"], one["subject_kind"], one["subject"]) for one in await alerts(operator)}
    assert told == {
        ("cpu_spend", "tenant", "acme"),
        ("egress_spend", "tenant", "acme"),
        ("egress_spend", "publisher", "acme"),
    }
    assert await brakes(operator) == []  # nobody is stopped for what it pays for
    cpu = watch.registry.get_sample_value("ext_abuse_hour_cpu_seconds", {"of": "tenant"})
    assert cpu == pytest.approx(ABUSE_TENANT_CPU_MAX_S + 0.001)
    await watch.spend()
    assert len(await alerts(operator, "")) == 3
    async with owner(database.owner) as connection:
        await connection.execute("delete from extension_execution_log")
    await watch.spend()
    assert await alerts(operator) == []


async def test_alerts_are_listed_newest_first_page_by_page(
    crm: dict[str, Any], operator: Client, database: DatabaseUrls, watch: Watch
) -> None:
    for number in range(3):
        tenant = f"t{number}"
        await log(database, crm, 1, tenant_id=tenant, cpu_ms=ABUSE_TENANT_CPU_MAX_S * 1000 + 1)
        await watch.spend()
    first = (await operator.get("/api/admin/alerts?limit=2")).json()
    second = (await operator.get(f"/api/admin/alerts?limit=2&cursor={first['next_cursor']}")).json()
    assert [one["subject"] for one in first["items"] + second["items"]] == ["t2", "t1", "t0"]


async def test_one_gateway_at_a_time_adds_up(
    crm: dict[str, Any], operator: Client, database: DatabaseUrls, gateway: GatewayContext, watch: Watch
) -> None:
    await watch.spend()
    await log(database, crm, 1, cpu_ms=ABUSE_TENANT_CPU_MAX_S * 1000 + 1)
    await Watch(gateway, "somebody else").spend()
    assert await alerts(operator) == []
    await watch.spend()
    assert len(await alerts(operator)) == 1

"""Calls that nobody asked for: what the runner is told, what the log keeps, and what becomes of every refusal."""

from __future__ import annotations

import asyncio

import pytest

from gateway.identity import principal
from gateway.proxy.unattended import Due, Outcome
from shared.errors import GuestTrapped, Overloaded
from shared.tokens import HostClaims, Verifier
from tests.gateway import stub_runner as stubs
from tests.gateway.seeds import MANIFEST, Seed, rows, seed
from tests.gateway.serving import GATEWAY_KEY, Served, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = {"endpoints": [{"method": "POST", "path": "/notes", "timeoutMs": 900, "schedulable": True}]}


def due(made: Seed, **fields: object) -> Due:
    return Due(
        **{  # type: ignore[arg-type]
            "tenant_id": made.tenant_id,
            "install_id": made.install_id,
            "kind": "schedule",
            "subject": "s-1",
            "method": "POST",
            "path": "/notes",
            "body": b'{"a":1}',
            **fields,
        }
    )


async def test_the_handler_gets_method_path_body_and_key_and_no_user(live: Served, install: Seed) -> None:
    outcome = await live.ctx.unattended.call(due(install, idempotency_key="sched:1:2"))
    assert (outcome.status, outcome.code, outcome.ok, outcome.started) == (200, None, True, True)
    (asked,) = live.stub.requests
    assert (asked.http.method, asked.http.path, asked.http.body) == ("POST", "/notes", b'{"a":1}')
    assert asked.http.headers["x-idempotency-key"] == "sched:1:2"
    assert asked.http.headers["content-type"] == "application/json"
    assert asked.user is None
    assert asked.context.tenant_id == install.tenant_id
    assert asked.providers == ("cap:context.read", "cap:log.emit")


async def test_the_hosts_token_says_how_many_events_led_here(live: Served, install: Seed) -> None:
    await live.ctx.unattended.call(due(install, kind="event", hops=3))
    (asked,) = live.stub.requests
    assert asked.host_token is not None
    assert Verifier([GATEWAY_KEY.public], {"gateway"}).verify(asked.host_token, HostClaims).hops == 3


async def test_only_headers_of_the_allowlist_reach_the_guest(live: Served, install: Seed) -> None:
    await live.ctx.unattended.call(due(install, headers=((b"content-type", b"text/x"), (b"cookie", b"s=1"))))
    headers = live.stub.requests[0].http.headers
    assert headers["content-type"] == "text/x"
    assert "cookie" not in headers


async def test_the_row_says_what_called_and_the_outcome_which_row_it_is(live: Served, install: Seed) -> None:
    outcome = await live.ctx.unattended.call(due(install))
    await live.ctx.audit.flush()
    (row,) = rows(live.database, install.tenant_id)
    assert (row["principal"], row["principal_kind"]) == ("schedule:s-1", "schedule")
    assert (row["state"], row["http_status"], row["endpoint"]) == ("ok", 200, "/notes")
    assert str(row["id"]) == outcome.execution_id


async def test_a_guests_refusal_is_its_answer_and_not_ours(live: Served, install: Seed) -> None:
    live.stub.acts.append(stubs.answering(status=503))
    outcome = await live.ctx.unattended.call(due(install))
    assert (outcome.status, outcome.code, outcome.ok, outcome.started) == (503, None, False, True)


async def test_a_trap_is_an_outcome_with_its_code(live: Served, install: Seed) -> None:
    live.stub.acts.append(stubs.refusing(GuestTrapped("unreachable")))
    outcome = await live.ctx.unattended.call(due(install))
    assert (outcome.status, outcome.code, outcome.detail) == (None, "guest_trapped", "unreachable")
    assert outcome.started
    await live.ctx.audit.flush()
    assert rows(live.database, install.tenant_id)[0]["state"] == "guest_error"


async def test_what_never_began_says_so(live: Served, install: Seed) -> None:
    live.stub.acts += [stubs.refusing(Overloaded("full"))] * 2
    outcome = await live.ctx.unattended.call(due(install))
    assert (outcome.code, outcome.started) == ("overloaded", False)
    assert outcome.execution_id is not None


async def test_an_endpoints_time_ends_the_call(live: Served, shared_database: object, tenant: str) -> None:
    quick = seed(live.database, tenant, manifest={**MANIFEST, "api": API})
    await live.ctx.unattended.call(due(quick))
    timeout_ms = live.stub.requests[0].limits.timeout_ms
    assert timeout_ms is not None
    assert 500 < timeout_ms <= 900


@pytest.mark.parametrize(
    ("columns", "code"), [({"status": "disabled"}, "extension_disabled"), ({"status": "uninstalled"}, "not_installed")]
)
async def test_an_install_that_may_not_run_is_not_called(
    live: Served, tenant: str, columns: dict[str, object], code: str
) -> None:
    resting = seed(live.database, tenant, **columns)
    outcome = await live.ctx.unattended.call(due(resting))
    assert (outcome.code, outcome.started, outcome.execution_id) == (code, False, None)
    assert live.stub.requests == []


async def test_another_tenants_install_is_absent(live: Served, install: Seed) -> None:
    outcome = await live.ctx.unattended.call(due(install, tenant_id="somebody-else"))
    assert (outcome.code, live.stub.requests) == ("not_installed", [])


@pytest.mark.parametrize("path", ["notes", "/a//b", "/../x", "/a\\b", "/a\x00b", ""])
async def test_a_path_that_could_be_read_in_two_ways_is_refused(live: Served, install: Seed, path: str) -> None:
    outcome = await live.ctx.unattended.call(due(install, path=path))
    assert (outcome.code, live.stub.requests) == ("invalid_path", [])


async def test_a_declared_path_is_escaped_for_the_guest(live: Served, install: Seed) -> None:
    await live.ctx.unattended.call(due(install, kind="event", path="/ereignis/müll"))
    assert live.stub.requests[0].http.path == "/ereignis/m%C3%BCll"


async def test_under_the_strict_policy_an_events_handler_is_called_though_no_endpoint_declares_it(
    live: Served, tenant: str
) -> None:
    strict = seed(live.database, tenant, endpoint_policy="enforce")
    assert (await live.ctx.unattended.call(due(strict, kind="event", path="/events"))).ok
    assert (await live.ctx.unattended.call(due(strict, path="/events"))).code == "endpoint_not_found"


@pytest.mark.parametrize(("method", "path"), [("POST", "/other"), ("GET", "/notes/7"), ("GET", "/notes")])
async def test_a_schedule_reaches_only_what_this_version_lets_be_scheduled(
    live: Served, install: Seed, method: str, path: str
) -> None:
    outcome = await live.ctx.unattended.call(due(install, method=method, path=path, body=None))
    assert (outcome.code, live.stub.requests) == ("endpoint_not_found", [])
    assert (await live.ctx.unattended.call(due(install, kind="event", method=method, path=path, body=None))).ok


async def test_cancelling_cancels_the_guest_and_closes_the_row(live: Served, install: Seed) -> None:
    live.stub.acts.append(stubs.hang)
    task = asyncio.create_task(live.ctx.unattended.call(due(install)))
    await live.stub.arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        await live.stub.cancelled.wait()
    await live.ctx.audit.flush()
    assert rows(live.database, install.tenant_id)[0]["state"] == "cancelled"


async def test_a_runner_that_cannot_be_reached_is_an_outcome(live: Served, install: Seed) -> None:
    async with serving(live.database, RUNNER_BASE_URL="http://127.0.0.1:9") as lonely:
        outcome = await lonely.ctx.unattended.call(due(install))
    assert (outcome.code, outcome.started) == ("bad_gateway", False)


async def test_who_calls_unattended_has_no_permission_and_is_nobody() -> None:
    caller = principal.unattended("acme", "event", "e-1")
    assert (caller.actor, caller.is_person, caller.permissions) == ("event:e-1", False, frozenset())


@pytest.mark.parametrize(("status", "ok"), [(199, False), (200, True), (299, True), (300, False), (None, False)])
async def test_success_is_200_to_299(status: int | None, ok: bool) -> None:
    assert Outcome(status=status).ok is ok

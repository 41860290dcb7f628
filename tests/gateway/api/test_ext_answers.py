"""`ANY /api/ext/{extension}/{path}`: which endpoints exist, and what comes back from a runner."""

from __future__ import annotations

import asyncio

import pytest

from shared import errors
from tests.gateway import stub_runner as stubs
from tests.gateway.seeds import MANIFEST, Seed, rows, seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import Served, bearer, is_problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _undeclared(live: Served) -> float:
    return live.ctx.metrics.get_sample_value("ext_undeclared_total") or 0


async def test_an_undeclared_path_passes_under_advisory_and_is_counted(live: Served, install: Seed) -> None:
    before = _undeclared(live)
    target = f"/api/ext/{install.install_id}/elsewhere"
    assert (await live.call("GET", target, authorization=bearer(install))).status == 200
    assert _undeclared(live) == before + 1
    await live.ctx.audit.flush()
    assert [row["endpoint"] for row in rows(live.database, install.tenant_id)] == [""]


async def test_an_install_may_enforce_its_declarations(
    live: Served, shared_database: DatabaseUrls, tenant: str
) -> None:
    strict = seed(shared_database, tenant, endpoint_policy="enforce")
    refused = await live.call("GET", f"/api/ext/{strict.install_id}/elsewhere", authorization=bearer(strict))
    is_problem(refused, 404, "endpoint_not_found")
    passed = await live.call("GET", f"/api/ext/{strict.install_id}/notes/7", authorization=bearer(strict))
    assert passed.status == 200


async def test_an_extension_without_a_component_has_nothing_to_call(
    live: Served, shared_database: DatabaseUrls, tenant: str
) -> None:
    made = seed(shared_database, tenant, manifest={**MANIFEST, "entry": None})
    answer = await live.call("GET", f"/api/ext/{made.install_id}/notes/7", authorization=bearer(made))
    is_problem(answer, 404, "endpoint_not_found")


# ---- what comes back --------------------------------------------------------------------------------------------------


CODES = [
    (errors.GuestTrapped("trap"), 502, "guest_trapped", "guest_error"),
    (errors.GuestTimeout("late"), 504, "guest_timeout", "guest_timeout"),
    (errors.GuestMemoryExceeded("big"), 502, "guest_memory_exceeded", "guest_error"),
    (errors.GuestResponseInvalid("odd"), 502, "guest_response_invalid", "guest_error"),
    (errors.GuestAborted("died"), 502, "guest_aborted", "guest_error"),
    (errors.SandboxViolation("no"), 502, "sandbox_violation", "guest_error"),
    (errors.ComponentInvalid("world"), 422, "component_invalid", "guest_error"),
    (errors.BundleUntrusted("digest"), 502, "bundle_untrusted", "upstream_error"),
    (errors.Revoked("gone"), 403, "revoked", "denied"),
    (errors.SecretUnavailable("key"), 502, "secret_unavailable", "upstream_error"),
    (errors.TenantOverConcurrency("share"), 429, "tenant_over_concurrency", "denied"),
    (errors.Overloaded("full", started=True), 503, "overloaded", "upstream_error"),
    (errors.Unauthorized("token"), 502, "bad_gateway", "upstream_error"),
    (errors.RoutingMismatch("headers"), 502, "bad_gateway", "upstream_error"),
    (errors.BundleNotFound("digest"), 502, "bad_gateway", "upstream_error"),
    (errors.InvalidRequest("shape"), 502, "bad_gateway", "upstream_error"),
]


@pytest.mark.parametrize(("error", "status", "code", "state"), CODES, ids=[error.code for error, *_ in CODES])
async def test_each_refusal_of_the_runner_has_its_answer_and_its_row(
    live: Served, install: Seed, error: errors.PlatformError, status: int, code: str, state: str
) -> None:
    live.stub.acts = [stubs.refusing(error, **{"retry-after": "3"})]
    answer = await live.call("GET", f"/api/ext/{install.install_id}/", authorization=bearer(install))
    is_problem(answer, status, code)
    if code != "bad_gateway":
        assert answer.headers["retry-after"] == "3"
    await live.ctx.audit.flush()
    (row,) = rows(live.database, install.tenant_id)
    assert (row["state"], row["http_status"], row["code"]) == (state, status, code)
    assert row["cpu_ms"] == stubs.USAGE.cpu_ms
    assert len(live.stub.requests) == 1


async def test_a_refusal_that_started_nothing_is_repeated_once(live: Served, install: Seed) -> None:
    live.stub.acts = [stubs.refusing(errors.CacheFull("full"))]
    answer = await live.call("POST", f"/api/ext/{install.install_id}/", b"x", authorization=bearer(install))
    assert answer.status == 200
    assert len(live.stub.requests) == 2
    await live.ctx.audit.flush()
    assert [row["state"] for row in rows(live.database, install.tenant_id)] == ["ok"]


@pytest.mark.parametrize(
    ("act", "status", "code"),
    [
        (stubs.drop, 502, "bad_gateway"),
        (stubs.raw(b"garbage"), 502, "bad_gateway"),
        (stubs.answering(body=bytes(10 * 1024 * 1024 + 1)), 502, "guest_response_invalid"),
        (stubs.answering(status=101), 502, "guest_response_invalid"),
        (stubs.answering(status=600), 502, "guest_response_invalid"),
        (stubs.answering(header_list=(("etag", "a\r\nset-cookie: b=c"),)), 502, "guest_response_invalid"),
    ],
    ids=["dropped", "garbage", "oversize", "101", "600", "header injection"],
)
async def test_an_answer_that_cannot_be_passed_on_is_a_problem(
    live: Served, install: Seed, act: stubs.Act, status: int, code: str
) -> None:
    live.stub.acts = [act]
    answer = await live.call("GET", f"/api/ext/{install.install_id}/", authorization=bearer(install))
    is_problem(answer, status, code)


async def test_a_guests_answer_is_filtered(live: Served, install: Seed) -> None:
    live.stub.acts = [
        stubs.answering(
            status=302,
            header_list=(
                ("set-cookie", "a=b"),
                ("clear-site-data", '"*"'),
                ("service-worker-allowed", "/"),
                ("access-control-allow-origin", "*"),
                ("content-security-policy", "default-src *"),
                ("x-request-id", "forged"),
                ("x-ext-platform-replay", "true"),
                ("x-ext-app-page", "2"),
                ("location", "/next"),
                ("cache-control", "public, max-age=60"),
            ),
        )
    ]
    answer = await live.call(
        "GET", f"/api/ext/{install.install_id}/", authorization=bearer(install), x_request_id="req-1"
    )
    headers = dict(answer.headers)
    del headers["date"]
    assert headers == {
        "ratelimit-policy": '"tenant";q=400;w=2, "install";q=200;w=2',
        "ratelimit": '"tenant";r=399;t=1, "install";r=199;t=1',
        "x-ext-app-page": "2",
        "location": "/next",
        "content-type": "application/octet-stream",
        "cache-control": "private, max-age=60",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'",
        "cross-origin-resource-policy": "same-origin",
        "content-length": "0",
        "vary": "origin",
        "x-request-id": "req-1",
    }


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_none(live: Served, install: Seed, status: int) -> None:
    live.stub.acts = [stubs.answering(status=status, body=b"ignored")]
    answer = await live.call("GET", f"/api/ext/{install.install_id}/", authorization=bearer(install))
    assert (answer.status, answer.body) == (status, b"")


async def test_a_client_that_leaves_cancels_the_guest_and_the_row_says_so(live: Served, install: Seed) -> None:
    live.stub.acts = [stubs.hang]
    call = asyncio.create_task(live.call("GET", f"/api/ext/{install.install_id}/", authorization=bearer(install)))
    async with asyncio.timeout(10):
        await live.stub.arrived.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await live.stub.cancelled.wait()
        while (found := rows(live.database, install.tenant_id))[0]["state"] == "open":
            await live.ctx.audit.flush()
            await asyncio.sleep(0.01)
    assert [(row["state"], row["http_status"]) for row in found] == [("cancelled", 499)]

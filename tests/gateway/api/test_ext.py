"""`ANY /api/ext/{extension}/{path}` through a real server: who may call what, and what passes in and out."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any

import pytest

from shared import errors
from shared.limits import REQUEST_BODY_MAX_BYTES
from tests.gateway import stub_runner as stubs
from tests.gateway.seeds import MANIFEST, Seed, rows, seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import HOST, ORIGIN, Answer, Served, bearer

pytestmark = pytest.mark.asyncio(loop_scope="module")

PORTAL = {**MANIFEST, "ui": {"type": "iframe", "entry": "ui/index.html", "hooks": {"clientPortalMenu": {"label": "N"}}}}


@pytest.fixture
def install(shared_database: DatabaseUrls, tenant: str) -> Seed:
    return seed(shared_database, tenant)


def _is_problem(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert (problem["code"], problem["status"]) == (code, status)
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["detail"]
    assert answer.headers["cache-control"] == "no-store"


# ---- the call -----------------------------------------------------------------------------------------------


async def test_a_call_reaches_the_guest_and_its_answer_the_client(live: Served, install: Seed) -> None:
    answer = await live.call(
        "POST",
        f"/api/ext/{install.install_id}/notes?x=1&y=%20",
        body=b"hello",
        authorization=bearer(install),
        content_type="text/plain",
        x_request_id="req-abc",
        cookie="session=1",
    )
    assert answer.status == 200
    assert answer.headers["x-request-id"] == "req-abc"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    seen = answer.json()
    assert (seen["method"], seen["path"], seen["query_string"], seen["body"]) == (
        "POST",
        "/notes",
        "x=1&y=%20",
        "hello",
    )
    assert seen["headers"]["x-alga-tenant"] == install.tenant_id
    assert seen["headers"]["x-alga-extension"] == install.extension_id
    assert seen["headers"]["x-request-id"] == "req-abc"
    assert not {"authorization", "cookie", "host", "connection", "content-length"} & set(seen["headers"])
    (asked,), (sent,) = live.stub.requests, live.stub.headers
    assert asked.providers == ("cap:context.read", "cap:log.emit")
    assert asked.user is not None
    assert (asked.user.user_id, asked.user.user_email) == ("user-1", "ada@acme.example")
    assert asked.limits.memory_mb == 32
    assert asked.limits.timeout_ms is not None
    assert 3000 < asked.limits.timeout_ms <= 4000
    assert sent["x-request-id"] == "req-abc"


@pytest.mark.parametrize("form", ["install_id", "extension_id", "name", "full"])
async def test_every_form_of_the_extensions_name_works(live: Served, install: Seed, form: str) -> None:
    reference = f"{install.publisher}.{install.name}" if form == "full" else getattr(install, form)
    answer = await live.call("GET", f"/api/ext/{reference}/notes/7", authorization=bearer(install))
    assert answer.json()["path"] == "/notes/7"


async def test_head_runs_as_get_and_loses_the_body_but_not_its_length(live: Served, install: Seed) -> None:
    target = f"/api/ext/{install.install_id}/notes/7"
    answer = await live.call("HEAD", target, authorization=bearer(install, "extension:read"))
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 50
    assert live.stub.requests[0].http.method == "GET"


async def test_the_row_of_a_call_says_what_happened(live: Served, install: Seed) -> None:
    target = f"/api/ext/{install.install_id}/notes/7?secret=1"
    await live.call("GET", target, authorization=bearer(install), x_request_id="req-row")
    await live.ctx.audit.flush()
    (row,) = rows(live.database, install.tenant_id)
    assert (row["state"], row["http_status"], row["endpoint"], row["method"]) == ("ok", 200, "/notes/:id", "GET")
    assert (row["request_id"], row["principal"], row["principal_kind"]) == ("req-row", "user:user-1", "session")
    assert (row["cpu_ms"], row["queue_ms"], row["memory_peak_bytes"], row["egress_bytes"], row["cold"]) == (
        stubs.USAGE.cpu_ms,
        stubs.USAGE.queue_ms,
        stubs.USAGE.memory_peak_bytes,
        stubs.USAGE.egress_bytes,
        True,
    )
    assert "secret" not in str(row)


async def test_a_declared_timeout_is_passed_on(live: Served, install: Seed) -> None:
    await live.call("GET", f"/api/ext/{install.install_id}/notes/7", authorization=bearer(install))
    timeout_ms = live.stub.requests[0].limits.timeout_ms
    assert timeout_ms is not None
    assert 1500 < timeout_ms <= 2000


# ---- who may ------------------------------------------------------------------------------------------------

READ, WRITE = "extension:read", "extension:write"


@pytest.mark.parametrize(
    ("method", "permissions", "status"),
    [
        ("GET", (READ,), 200),
        ("HEAD", (READ,), 200),
        ("GET", (WRITE,), 403),
        ("POST", (WRITE,), 200),
        ("PUT", (WRITE,), 200),
        ("PATCH", (WRITE,), 200),
        ("DELETE", (WRITE,), 200),
        ("POST", (READ,), 403),
        ("DELETE", (READ, "extension:admin"), 403),
        ("GET", ("extension:admin",), 403),
    ],
)
async def test_reading_needs_read_and_everything_else_write(
    live: Served, install: Seed, method: str, permissions: tuple[str, ...], status: int
) -> None:
    answer = await live.call(method, f"/api/ext/{install.install_id}/", authorization=bearer(install, *permissions))
    assert answer.status == status
    if status == 403 and method != "HEAD":
        _is_problem(answer, 403, "forbidden")
        assert answer.json()["permission"] == (READ if method == "GET" else WRITE)
    assert len(live.stub.requests) == (1 if status == 200 else 0)


async def test_no_credential_is_unauthenticated(live: Served, install: Seed) -> None:
    answer = await live.call("GET", f"/api/ext/{install.install_id}/")
    _is_problem(answer, 401, "unauthenticated")


def _bad_credentials(tenant: str) -> dict[str, str]:
    good = HOST.token(tenant)
    head, payload, signature = good.split(".")
    return {
        "foreign signature": f"Bearer {head}.{payload}.{signature[::-1]}",
        "alg none": f"Bearer eyJhbGciOiJub25lIn0.{payload}.",
        "expired": f"Bearer {HOST.token(tenant, exp=1)}",
        "no exp": f"Bearer {HOST.token(tenant, exp=...)}",
        "other audience": f"Bearer {HOST.token(tenant, aud='other')}",
        "other issuer": f"Bearer {HOST.token(tenant, iss='other')}",
        "no tenant name": f"Bearer {HOST.sign({**HOST.claims(tenant), 'tenant': 5})}",
        "bad tenant": f"Bearer {HOST.token('a/../b')}",
        "basic": "Basic dTpw",
        "garbage": "Bearer garbage",
        "two words": f"Bearer {good} x",
        "unknown api key": "Bearer ak_nobody_secretsecret",
    }


async def test_every_bad_credential_reads_the_same(live: Served, install: Seed) -> None:
    said = set()
    for name, value in _bad_credentials(install.tenant_id).items():
        answer = await live.call("GET", f"/api/ext/{install.install_id}/", authorization=value, x_request_id="req-1")
        assert answer.status == 401, name
        said.add(answer.body)
    assert len(said) == 1
    assert live.stub.requests == []


@pytest.mark.parametrize("name", ["x-alga-tenant", "x-tenant-id"])
async def test_a_tenant_header_may_agree_and_never_decides(live: Served, install: Seed, name: str) -> None:
    target, credential = f"/api/ext/{install.install_id}/", bearer(install)
    agreed = await live.call("GET", target, authorization=credential, **{name: install.tenant_id})
    assert agreed.status == 200
    other = await live.call("GET", target, authorization=credential, **{name: "globex"})
    _is_problem(other, 403, "tenant_mismatch")


async def test_another_tenants_install_reads_like_none(
    live: Served, shared_database: DatabaseUrls, install: Seed
) -> None:
    theirs = seed(shared_database, f"{install.tenant_id}-other")
    said = set()
    for reference in (theirs.install_id, theirs.extension_id, theirs.name, str(uuid.uuid4()), "com.nobody.has"):
        answer = await live.call("GET", f"/api/ext/{reference}/", authorization=bearer(install), x_request_id="req-1")
        _is_problem(answer, 404, "not_installed")
        said.add(answer.body)
    assert len(said) == 1


async def test_a_disabled_install_is_not_called(live: Served, shared_database: DatabaseUrls, tenant: str) -> None:
    off = seed(shared_database, tenant, status="disabled")
    answer = await live.call("GET", f"/api/ext/{off.install_id}/", authorization=bearer(off))
    _is_problem(answer, 404, "extension_disabled")


@pytest.mark.parametrize(
    ("portal", "client_id", "status"), [(True, "c1", 200), (True, None, 403), (False, "c1", 403), (False, None, 403)]
)
async def test_a_client_user_needs_a_portal_extension_and_a_client_id(
    live: Served, shared_database: DatabaseUrls, tenant: str, portal: bool, client_id: str | None, status: int
) -> None:
    made = seed(shared_database, tenant, manifest=PORTAL if portal else MANIFEST)
    credential = bearer(made, user_type="client", client_id=client_id)
    answer = await live.call("GET", f"/api/ext/{made.install_id}/", authorization=credential)
    assert answer.status == status
    if status == 200:
        user = live.stub.requests[0].user
        assert user is not None
        assert (user.user_type, user.client_id) == ("client", "c1")


async def _iframe_token(live: Served, install: Seed, *permissions: str) -> str:
    answer = await live.call(
        "GET", f"/api/ext-ui/bootstrap/{install.install_id}", authorization=bearer(install, *permissions)
    )
    assert answer.status == 200, answer.body
    found: str = answer.json()["session"]["token"]
    return f"Bearer {found}"


async def test_an_iframe_session_reaches_its_own_extension_in_every_form(live: Served, install: Seed) -> None:
    credential = await _iframe_token(live, install)
    for reference in (install.install_id, install.extension_id, install.name):
        answer = await live.call("POST", f"/api/ext/{reference}/notes", authorization=credential)
        assert answer.status == 200


async def test_an_iframe_session_learns_nothing_about_anything_else(
    live: Served, shared_database: DatabaseUrls, install: Seed
) -> None:
    neighbour = seed(shared_database, install.tenant_id)
    credential = await _iframe_token(live, install)
    said = set()
    for target in (
        f"/api/ext/{neighbour.install_id}/",
        f"/api/ext/{neighbour.name}/",
        f"/api/ext/{uuid.uuid4()}/",
        f"/api/ext-ui/bootstrap/{install.install_id}",
        "/api/installs",
    ):
        answer = await live.call("GET", target, authorization=credential, x_request_id="req-1")
        assert answer.status == 401, target
        said.add(answer.body)
    assert len(said) == 1
    assert live.stub.requests == []


async def test_an_iframe_session_has_no_permission_its_user_lacks(live: Served, install: Seed) -> None:
    credential = await _iframe_token(live, install, READ)
    assert (await live.call("GET", f"/api/ext/{install.install_id}/", authorization=credential)).status == 200
    refused = await live.call("POST", f"/api/ext/{install.install_id}/", authorization=credential)
    _is_problem(refused, 403, "forbidden")


@pytest.mark.parametrize("destination", ["script", "worker", "serviceworker"])
async def test_an_extension_cannot_be_loaded_as_code(live: Served, install: Seed, destination: str) -> None:
    answer = await live.call(
        "GET", f"/api/ext/{install.install_id}/a.js", authorization=bearer(install), sec_fetch_dest=destination
    )
    _is_problem(answer, 403, "forbidden")


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "QUERY"])
async def test_other_methods_are_not_offered(live: Served, install: Seed, method: str) -> None:
    answer = await live.call(method, f"/api/ext/{install.install_id}/", authorization=bearer(install))
    _is_problem(answer, 405, "method_not_allowed")


# ---- endpoint policy ----------------------------------------------------------------------------------------


async def test_an_undeclared_path_passes_under_advisory_and_is_counted(live: Served, install: Seed) -> None:
    count = lambda: live.ctx.metrics.get_sample_value("ext_undeclared_total") or 0  # noqa: E731
    before = count()
    target = f"/api/ext/{install.install_id}/elsewhere"
    assert (await live.call("GET", target, authorization=bearer(install))).status == 200
    assert count() == before + 1
    await live.ctx.audit.flush()
    assert [row["endpoint"] for row in rows(live.database, install.tenant_id)] == [""]


async def test_an_install_may_enforce_its_declarations(
    live: Served, shared_database: DatabaseUrls, tenant: str
) -> None:
    strict = seed(shared_database, tenant, endpoint_policy="enforce")
    refused = await live.call("GET", f"/api/ext/{strict.install_id}/elsewhere", authorization=bearer(strict))
    _is_problem(refused, 404, "endpoint_not_found")
    passed = await live.call("GET", f"/api/ext/{strict.install_id}/notes/7", authorization=bearer(strict))
    assert passed.status == 200


async def test_an_extension_without_a_component_has_nothing_to_call(
    live: Served, shared_database: DatabaseUrls, tenant: str
) -> None:
    made = seed(shared_database, tenant, manifest={**MANIFEST, "entry": None})
    answer = await live.call("GET", f"/api/ext/{made.install_id}/notes/7", authorization=bearer(made))
    _is_problem(answer, 404, "endpoint_not_found")


# ---- what comes back ----------------------------------------------------------------------------------------

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
    _is_problem(answer, status, code)
    if code != "bad_gateway":
        assert answer.headers["retry-after"] == "3"
    await live.ctx.audit.flush()
    (row,) = rows(live.database, install.tenant_id)
    assert (row["state"], row["http_status"], row["code"]) == (state, status, code)
    assert row["cpu_ms"] == stubs.USAGE.cpu_ms
    assert len(live.stub.requests) == 1


async def test_a_refusal_that_started_nothing_is_repeated_once(live: Served, install: Seed) -> None:
    live.stub.acts = [stubs.refusing(errors.CacheFull("full"))]
    answer = await live.call("POST", f"/api/ext/{install.install_id}/", body=b"x", authorization=bearer(install))
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
    _is_problem(answer, status, code)


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


# ---- sizes and shapes ---------------------------------------------------------------------------------------


async def test_a_body_may_be_as_large_as_the_limit(live: Served, install: Seed) -> None:
    live.stub.acts = [stubs.answering()]
    body = bytes(REQUEST_BODY_MAX_BYTES)
    target = f"/api/ext/{install.install_id}/notes"
    assert (await live.call("POST", target, body=body, authorization=bearer(install))).status == 200
    assert live.stub.requests[0].http.body == body


@pytest.mark.parametrize(
    "target",
    ["/a%2fb", "/a%5Cb", "/a%00b", "/../x", "/%2e%2e/x", "/a/./b", "/a%0d%0ab", "/a//b", "/%ff", "/%zz", "/a%7f"],
)
async def test_a_path_with_two_readings_is_refused(live: Served, install: Seed, target: str) -> None:
    answer = await live.call("GET", f"/api/ext/{install.install_id}{target}", authorization=bearer(install))
    _is_problem(answer, 400, "invalid_path")
    assert live.stub.requests == []


async def test_a_prefix_in_disguise_is_refused(live: Served, install: Seed) -> None:
    answer = await live.call("GET", f"/api/%65xt/{install.install_id}/", authorization=bearer(install))
    _is_problem(answer, 400, "invalid_path")


async def test_an_escaped_path_arrives_escaped_once(live: Served, install: Seed) -> None:
    target = f"/api/ext/{install.install_id}/a%20b/%25/c%3fd?q=%3F"
    answer = await live.call("GET", target, authorization=bearer(install))
    assert (answer.json()["path"], answer.json()["query_string"]) == ("/a%20b/%25/c%3Fd", "q=%3F")


# ---- CORS ---------------------------------------------------------------------------------------------------

PREFLIGHT = {"access_control_request_method": "POST", "access_control_request_headers": "authorization"}


async def test_a_preflight_of_a_listed_origin_is_answered_without_a_credential(live: Served, install: Seed) -> None:
    answer = await live.call("OPTIONS", f"/api/ext/{install.install_id}/", origin=ORIGIN, **PREFLIGHT)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers
    assert live.stub.requests == []


@pytest.mark.parametrize(
    "origin", ["https://app.example.com.evil", "http://app.example.com", "https://APP.example.com", "null", "*", ""]
)
async def test_any_other_origin_gets_no_cors_header(live: Served, install: Seed, origin: str) -> None:
    preflight = await live.call("OPTIONS", f"/api/ext/{install.install_id}/", origin=origin, **PREFLIGHT)
    answer = await live.call("GET", f"/api/ext/{install.install_id}/", origin=origin, authorization=bearer(install))
    assert preflight.status == 403
    assert answer.status == 200
    for found in (preflight, answer):
        assert not [name for name in found.headers if name.startswith("access-control-")]


async def test_answers_and_refusals_can_be_read_by_a_listed_origin(live: Served, install: Seed) -> None:
    for credential, status in (({"authorization": bearer(install)}, 200), ({}, 401)):
        answer = await live.call("GET", f"/api/ext/{install.install_id}/", origin=ORIGIN, **credential)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["vary"] == "origin"
        assert "access-control-allow-credentials" not in answer.headers


# ---- the server ---------------------------------------------------------------------------------------------


def _head(install: Seed, *lines: str, method: str = "POST", target: str | None = None) -> bytes:
    target = target or f"/api/ext/{install.install_id}/"
    head = [f"{method} {target} HTTP/1.1", "host: gateway", f"authorization: {bearer(install)}", *lines]
    return "\r\n".join([*head, "", ""]).encode()


@pytest.mark.parametrize(
    ("lines", "rest"),
    [
        (("content-length: 5", "transfer-encoding: chunked"), b"0\r\n\r\nSMUGGLED"),
        (("transfer-encoding: chunked",), b"5\r\nhelloXX0\r\n\r\n"),
        (("content-length: +5",), b"hello"),
        (("content-length: 5", "content-length: 6"), b"hello"),
        (("content-length: 5, 6",), b"hello"),
        (("content-length: 0x5",), b"hello"),
        (("transfer-encoding: xchunked",), b"5\r\nhello\r\n0\r\n\r\n"),
        (("transfer-encoding: chunked, identity",), b"5\r\nhello\r\n0\r\n\r\n"),
        (("transfer-encoding : chunked",), b"0\r\n\r\n"),
        (("content-length: 5", "x: a\x00b"), b"hello"),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, tuple) else "",
)
async def test_a_message_with_two_readings_never_becomes_two_requests(
    live: Served, install: Seed, lines: tuple[str, ...], rest: bytes
) -> None:
    smuggled = _head(install, method="GET", target=f"/api/ext/{install.install_id}/smuggled")
    said = await live.raw(_head(install, *lines) + rest + smuggled)
    assert len(re.findall(rb"HTTP/1\.1 \d{3}", said)) <= 1
    assert not said or re.match(rb"HTTP/1\.1 (400|501)", said), said
    assert live.stub.requests == []


async def test_ten_gigabytes_are_refused_before_they_are_sent(live: Served, install: Seed) -> None:
    for more in ((), ("expect: 100-continue",)):
        said = await live.raw(_head(install, f"content-length: {10**10}", *more))
        assert re.match(rb"(HTTP/1\.1 100 \r\n(.+\r\n)*\r\n)?HTTP/1\.1 413 ", said), said
        assert b"payload_too_large" in said


async def test_chunks_without_end_are_cut_at_the_limit(live: Served, install: Seed) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    writer.write(_head(install, "transfer-encoding: chunked"))
    chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while True:
            writer.write(chunk)
            await writer.drain()
            sent += 1 << 16

    flooding = asyncio.create_task(flood())
    try:
        async with asyncio.timeout(20):
            assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    finally:
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        writer.close()
    assert sent < REQUEST_BODY_MAX_BYTES * 2
    assert live.stub.requests == []


@pytest.mark.parametrize("target", ["@evil.example/api/ext/x/", "http://evil.example/api/ext/x/", "*"])
async def test_a_strange_target_changes_no_decision(live: Served, install: Seed, target: str) -> None:
    said = await live.raw(_head(install, "connection: close", method="GET", target=target))
    assert re.match(rb"HTTP/1\.1 40[04]", said)


async def test_the_host_header_changes_no_decision(live: Served, install: Seed) -> None:
    head = _head(install, "connection: close", method="GET").replace(b"host: gateway", b"host: a/?x=")
    said = await live.raw(head.replace(b"authorization", b"x-other"))
    assert re.match(rb"HTTP/1\.1 40[01]", said)


async def test_a_header_block_above_the_limit_is_refused(live: Served, install: Seed) -> None:
    fits = await live.call("GET", f"/api/ext/{install.install_id}/", authorization=bearer(install), x_filler="a" * 7000)
    assert fits.status == 200
    lines: list[Any] = [f"x-filler-{number}: {'a' * 4000}" for number in range(9)]
    said = await live.raw(_head(install, "connection: close", *lines, method="GET"))
    assert said.startswith(b"HTTP/1.1 431")

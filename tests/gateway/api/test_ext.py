"""`ANY /api/ext/{extension}/{path}` through a real server: the call itself, and who may make it."""

from __future__ import annotations

import uuid

import pytest

from tests.gateway import stub_runner as stubs
from tests.gateway.seeds import MANIFEST, Seed, rows, seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import HOST, Served, bearer, is_problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

PORTAL = {**MANIFEST, "ui": {"type": "iframe", "entry": "ui/index.html", "hooks": {"clientPortalMenu": {"label": "N"}}}}


async def test_a_call_reaches_the_guest_and_its_answer_the_client(live: Served, install: Seed) -> None:
    answer = await live.call(
        "POST",
        f"/api/ext/{install.install_id}/notes?x=1&y=%20",
        b"hello",
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


# ---- who may ----------------------------------------------------------------------------------------------------------


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
        is_problem(answer, 403, "forbidden")
        assert answer.json()["permission"] == (READ if method == "GET" else WRITE)
    assert len(live.stub.requests) == (1 if status == 200 else 0)


async def test_no_credential_is_unauthenticated(live: Served, install: Seed) -> None:
    answer = await live.call("GET", f"/api/ext/{install.install_id}/")
    is_problem(answer, 401, "unauthenticated")


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
    is_problem(other, 403, "tenant_mismatch")


async def test_another_tenants_install_reads_like_none(
    live: Served, shared_database: DatabaseUrls, install: Seed
) -> None:
    theirs = seed(shared_database, f"{install.tenant_id}-other")
    said = set()
    for reference in (theirs.install_id, theirs.extension_id, theirs.name, str(uuid.uuid4()), "com.nobody.has"):
        answer = await live.call("GET", f"/api/ext/{reference}/", authorization=bearer(install), x_request_id="req-1")
        is_problem(answer, 404, "not_installed")
        said.add(answer.body)
    assert len(said) == 1


async def test_a_disabled_install_is_not_called(live: Served, shared_database: DatabaseUrls, tenant: str) -> None:
    off = seed(shared_database, tenant, status="disabled")
    answer = await live.call("GET", f"/api/ext/{off.install_id}/", authorization=bearer(off))
    is_problem(answer, 404, "extension_disabled")


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
    is_problem(refused, 403, "forbidden")


@pytest.mark.parametrize("destination", ["script", "worker", "serviceworker"])
async def test_an_extension_cannot_be_loaded_as_code(live: Served, install: Seed, destination: str) -> None:
    answer = await live.call(
        "GET", f"/api/ext/{install.install_id}/a.js", authorization=bearer(install), sec_fetch_dest=destination
    )
    is_problem(answer, 403, "forbidden")


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "QUERY"])
async def test_other_methods_are_not_offered(live: Served, install: Seed, method: str) -> None:
    answer = await live.call(method, f"/api/ext/{install.install_id}/", authorization=bearer(install))
    is_problem(answer, 405, "method_not_allowed")

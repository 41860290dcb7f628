"""Bad input at the gateway's door: each refused with its code, and the next request works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from deploy.local.record import Stack
from shared.limits import REQUEST_BODY_MAX_BYTES
from tests.system.acting import Visitor

HELLO = "/api/ext/alga.samples.hello-quickjs/hello"


@pytest.fixture(autouse=True)
async def the_next_request_works(admin: Visitor) -> AsyncIterator[None]:
    """Whatever a test did, an honest call afterwards succeeds."""
    yield
    assert (await admin.get(HELLO)).status == 200


async def test_an_unknown_extension_is_not_installed(admin: Visitor) -> None:
    answer = await admin.get("/api/ext/nobody.knows/hello")
    assert (answer.status, answer.code) == (404, "not_installed")


async def test_another_tenants_install_looks_exactly_like_none(admin: Visitor, stack: Stack) -> None:
    theirs = stack.extension("hello-quickjs", "globex").install_id
    foreign = await admin.get(f"/api/ext/{theirs}/hello")
    missing = await admin.get("/api/ext/00000000-0000-4000-8000-000000000000/hello")
    assert (foreign.status, missing.status) == (404, 404)

    def shape(body: dict[str, str]) -> dict[str, str]:
        return {name: value for name, value in body.items() if name != "request_id"}

    assert shape(foreign.json()) == shape(missing.json())


@pytest.mark.parametrize(
    "path", ["/a%2fb", "/a%5cb", "/a%00b", "/../hello", "/a/../../hello", "/%2e%2e/hello", "/a%0ab", "/a\\b"]
)
async def test_tricks_in_the_path_are_refused_as_they_stand(admin: Visitor, path: str) -> None:
    answer = await admin.get(f"/api/ext/alga.samples.hello-quickjs{path}")
    assert (answer.status, answer.code) == (400, "invalid_path")


async def test_a_body_over_the_limit_is_refused(admin: Visitor) -> None:
    echo = "/api/ext/alga.samples.hello-quickjs/echo"
    answer = await admin.call("POST", echo, data=b"x" * (REQUEST_BODY_MAX_BYTES + 1))
    assert (answer.status, answer.code) == (413, "payload_too_large")


async def test_a_client_that_sends_a_whole_body_before_it_reads_gets_its_refusal_too(stack: Stack) -> None:
    at = urlsplit(stack.gateway_url)
    body = b"x" * (REQUEST_BODY_MAX_BYTES + 1)
    head = f"POST {HELLO} HTTP/1.1\r\nhost: {at.netloc}\r\ncontent-length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    writer.write(head.encode() + body)
    async with asyncio.timeout(30):
        await writer.drain()
        answer = await reader.read()  # to its end, which is one in good order and not a reset
    assert answer.startswith(b"HTTP/1.1 413 ")
    writer.close()
    await writer.wait_closed()


async def test_no_credential_and_a_bad_one_have_their_codes(nobody: Visitor, stack: Stack) -> None:
    answer = await nobody.get(HELLO)
    assert (answer.status, answer.code) == (401, "unauthenticated")
    for token in ("x", stack.tenant("acme").admin_token[:-4] + "AAAA", stack.runner_service_token):
        answer = await nobody.with_token(token).get(HELLO)
        assert (answer.status, answer.code) == (401, "invalid_session")


async def test_a_tenant_is_never_taken_from_a_header(admin: Visitor) -> None:
    answer = await admin.get(HELLO, headers={"x-alga-tenant": "globex"})
    assert (answer.status, answer.code) == (403, "tenant_mismatch")
    assert (await admin.get(HELLO, headers={"x-alga-tenant": "acme"})).json()["tenant"] == "acme"


async def test_a_script_element_cannot_load_a_guests_answer(admin: Visitor) -> None:
    answer = await admin.get(HELLO, headers={"sec-fetch-dest": "script"})
    assert answer.status == 403


async def test_a_user_without_the_permission_learns_which_one_is_missing(admin: Visitor, stack: Stack) -> None:
    user = admin.with_token(stack.tenant("acme").user_token)
    answer = await user.post("/api/installs", {"extension": "samples.hello-quickjs", "version": "1.0.0"})
    assert (answer.status, answer.code) == (403, "forbidden")
    assert "extension:" in answer.json()["detail"]


async def test_the_runner_refuses_whoever_comes_without_a_token(nobody: Visitor, stack: Stack) -> None:
    answer = await nobody.call("POST", "/v1/execute", data=b"{}", base=stack.runner_url)
    assert answer.status == 401
    assert answer.json()["error"]["code"] == "unauthorized"


async def test_the_public_listener_offers_assets_and_nothing_else(nobody: Visitor, stack: Stack) -> None:
    for path in ("/v1/execute", "/metrics", "/readyz", "/"):
        assert (await nobody.get(path, base=stack.runner_public_base)).status == 404


async def test_the_internal_routes_are_not_on_the_public_listener(admin: Visitor) -> None:
    for path in ("/internal/state?after=0", "/metrics"):
        assert (await admin.get(path)).status == 404

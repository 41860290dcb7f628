"""One shape for every refusal, and one body for every bad credential, on every door."""

from __future__ import annotations

import time

import pytest

from gateway.app import create_public_app
from gateway.context import GatewayContext
from tests.gateway.asgi import Client
from tests.gateway.people import Host

NOBODY = "11111111-1111-4111-8111-111111111111"

DOORS = [
    ("POST", "/api/registry/bundles"),
    ("POST", f"/api/registry/bundles/{NOBODY}/finalize"),
    ("GET", f"/api/registry/versions/{NOBODY}"),
    ("GET", "/api/registry/extensions"),
    ("POST", "/api/installs"),
    ("GET", "/api/installs"),
    ("GET", f"/api/installs/{NOBODY}"),
    ("DELETE", f"/api/installs/{NOBODY}"),
    ("POST", f"/api/installs/{NOBODY}/enable"),
    ("POST", f"/api/installs/{NOBODY}/disable"),
    ("GET", f"/api/installs/{NOBODY}/config"),
    ("PUT", f"/api/installs/{NOBODY}/config"),
    ("GET", "/api/ext/acme.crm/agreements"),
    ("GET", "/api/ext-ui/bootstrap/acme.crm"),
]


@pytest.fixture
def anyone(gateway: GatewayContext) -> Client:
    return Client(create_public_app(gateway))


@pytest.mark.security
@pytest.mark.parametrize(("method", "path"), DOORS)
async def test_every_door_asks_who_is_there(anyone: Client, method: str, path: str) -> None:
    answer = await anyone.request(method, path, headers={"content-type": "application/json"}, body=b"{}")
    assert (answer.status, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.header("www-authenticate") == "Bearer"


@pytest.mark.security
@pytest.mark.parametrize(("method", "path"), DOORS)
async def test_every_bad_credential_reads_the_same(anyone: Client, host: Host, method: str, path: str) -> None:
    bad = [
        b"Bearer x",
        b"Basic dXNlcjpwYXNz",
        f"Bearer {host.token(exp=int(time.time()) - 1)}".encode(),
        f"Bearer {host.token(aud='other')}".encode(),
        f"Bearer ak_{'0' * 16}_{'A' * 43}".encode(),
        f"Bearer {host.token()[:-4]}AAAA".encode(),
    ]
    bodies = set()
    for value in bad:
        answer = await anyone.request(
            method, path, headers=[(b"authorization", value), (b"x-request-id", b"same")], body=b""
        )
        assert answer.status == 401
        bodies.add(answer.body)
    good = f"Bearer {host.token()}".encode()
    twice = [(b"authorization", good), (b"authorization", good), (b"x-request-id", b"same")]
    bodies.add((await anyone.request(method, path, headers=twice)).body)
    assert len(bodies) == 1
    assert b"invalid_session" in bodies.pop()


async def test_a_refusal_has_one_shape(anyone: Client) -> None:
    answer = await anyone.get("/api/installs", x_request_id="my-id")
    assert answer.header("content-type") == "application/problem+json"
    assert answer.header("cache-control") == "no-store"
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("x-request-id") == "my-id"
    assert answer.body == (
        b'{"type":"urn:alga:error:unauthenticated","title":"A credential is needed","status":401,'
        b'"detail":"send Authorization: Bearer <session token or API key>","code":"unauthenticated",'
        b'"request_id":"my-id"}'
    )


async def test_a_path_that_is_none_and_a_method_that_is_none_are_refused_by_name(public: Client) -> None:
    nothing = await public.get("/nothing/here")
    assert (nothing.status, nothing.json()["code"]) == (404, "not_found")
    slash = await public.get("/api/installs/")
    assert (slash.status, slash.json()["code"]) == (404, "not_found")
    method = await public.request("PATCH", "/api/registry/extensions")
    assert (method.status, method.json()["code"]) == (405, "method_not_allowed")
    assert sorted((method.header("allow") or "").split(", ")) == ["GET", "HEAD"]
    several = await public.request("PATCH", "/api/installs")
    assert sorted((several.header("allow") or "").split(", ")) == ["GET", "HEAD", "POST"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", b"{}"),
        ("application/json", b"{"),
        ("application/json", b"[]"),
        ("application/json", b'{"extension": "\xff"}'),
        ("application/json", b'{"extension": "x", "unknown": 1}'),
        ("application/json", b'{"extension": "x", "config":' + b"[" * 100_000),
    ],
)
async def test_a_body_that_is_none_is_refused(public: Client, content_type: str, body: bytes) -> None:
    answer = await public.request("POST", "/api/installs", headers={"content-type": content_type}, body=body)
    assert (answer.status, answer.json()["code"]) == (400, "invalid_request")

"""`/api/keys`: made by administrators, shown once, listed without secrets, revoked at once, apart for each tenant."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.store import api_keys
from shared.call_limits import API_KEY_NAME_MAX_BYTES, API_KEYS_PER_TENANT_MAX
from tests.gateway.seeds import Seed, seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import Answer, Served, bearer, is_problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL = ("extension:admin", "extension:read", "extension:write")


async def send(live: Served, who: Seed, method: str, tail: str = "", body: Any = None, *permissions: str) -> Answer:
    data = None if body is None else msgspec.json.encode(body)
    headers = {"authorization": bearer(who, *(permissions or ALL)), "content_type": "application/json"}
    return await live.call(method, f"/api/keys{tail}", data, **headers)


async def made(live: Served, who: Seed, **more: Any) -> dict[str, Any]:
    answer = await send(live, who, "POST", body={"name": "ci", "permissions": ["extension:read"], **more})
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json()
    return found


async def test_a_made_key_calls_and_a_revoked_one_does_not(live: Served, install: Seed) -> None:
    key = await made(live, install)
    target = f"/api/ext/{install.install_id}/notes/7"
    assert (await live.call("GET", target, authorization=f"Bearer {key['key']}")).status == 200
    revoked = await send(live, install, "DELETE", f"/{key['key_id']}")
    assert (revoked.status, revoked.json()["revoked_at"] is not None) == (200, True)
    live.ctx.identity.api_keys.forget(key["key_id"])  # as the announcement does
    is_problem(await live.call("GET", target, authorization=f"Bearer {key['key']}"), 401, "invalid_session")
    assert (await send(live, install, "DELETE", f"/{key['key_id']}")).json() == revoked.json()


@pytest.mark.security
async def test_a_list_never_holds_a_secret(live: Served, install: Seed) -> None:
    key = await made(live, install, name="deploy")
    answer = await send(live, install, "GET")
    assert key["key"].rpartition("_")[2].encode() not in answer.body
    assert [(item["key_id"], item["name"], item["last_used_at"]) for item in answer.json()["items"]] == [
        (key["key_id"], "deploy", None)
    ]


@pytest.mark.security
async def test_a_key_holds_no_more_than_its_maker(live: Served, install: Seed) -> None:
    body = {"name": "x", "permissions": ["extension:publish", "extension:read"]}
    refused = await send(live, install, "POST", "", body)
    is_problem(refused, 403, "forbidden")
    assert refused.json()["permissions"] == ["extension:publish"]
    is_problem(
        await send(live, install, "POST", "", {"name": "x", "permissions": ["platform:admin"]}), 400, "invalid_request"
    )


@pytest.mark.security
async def test_only_administrators_and_only_of_the_tenant(
    live: Served, shared_database: DatabaseUrls, install: Seed
) -> None:
    key, other = await made(live, install), seed(shared_database, f"{install.tenant_id}-x")
    is_problem(await send(live, install, "GET", "", None, "extension:read"), 403, "forbidden")
    is_problem(await send(live, other, "DELETE", f"/{key['key_id']}"), 404, "not_found")
    assert (await send(live, other, "GET")).json()["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "permissions": ["extension:read"]},
        {"name": "x" * (API_KEY_NAME_MAX_BYTES + 1), "permissions": ["extension:read"]},
        {"name": "a\nb", "permissions": ["extension:read"]},
        {"name": "x", "permissions": []},
        {"name": "x", "permissions": ["extension:everything"]},
        {"name": "x", "permissions": ["extension:read"], "expires_at": "2020-01-01T00:00:00Z"},
        {"name": "x", "permissions": ["extension:read"], "expires_at": "2120-01-01T00:00:00"},
        {"name": "x", "permissions": ["extension:read"], "colour": "blue"},
    ],
)
async def test_what_is_no_key_is_refused(live: Served, install: Seed, body: dict[str, Any]) -> None:
    is_problem(await send(live, install, "POST", "", body), 400, "invalid_request")


async def test_a_tenant_has_so_many_good_keys_and_no_more(live: Served, install: Seed) -> None:
    async with live.ctx.store.tenant(install.tenant_id) as tx:
        for number in range(API_KEYS_PER_TENANT_MAX - 1):
            await api_keys.insert(
                tx,
                key_id=f"{number:016x}",
                tenant_id=install.tenant_id,
                name="n",
                secret_sha256=bytes(32),
                permissions=["extension:read"],
                created_by="test",
            )
    last = await made(live, install)
    body = {"name": "x", "permissions": ["extension:read"]}
    is_problem(await send(live, install, "POST", "", body), 409, "conflict")
    await send(live, install, "DELETE", f"/{last['key_id']}")
    await made(live, install)

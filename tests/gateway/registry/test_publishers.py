"""Publisher names: who owns one, what the operator may do with it, what it uses; two publishers race for one version."""

from __future__ import annotations

import asyncio

import pytest

from gateway.app import create_public_app, open_gateway
from gateway.settings import GatewaySettings
from shared.keys import PrivateKey
from shared.limits import PUBLISHER_PREPARING_MAX, PUBLISHER_STORED_MAX_BYTES, PUBLISHER_VERSIONS_PER_HOUR_MAX
from shared.registry_limits import PUBLISHERS_PER_ACCOUNT_MAX
from tests.gateway.asgi import Client
from tests.gateway.bundles import bundle
from tests.gateway.people import Host
from tests.gateway.registry_flow import finalize, install, publish, refused, upload
from tests.gateway.services import DatabaseUrls, owner
from tests.gateway.stub_compiler import StubCompiler

PATH = "/api/registry/publishers"


async def audited(database: DatabaseUrls) -> list[tuple[object, ...]]:
    """Tenant, actor and action of every row about a publisher."""
    async with owner(database.owner) as connection:
        cursor = await connection.execute(
            "select tenant_id, actor, action from extension_audit_log where subject_kind = 'publisher' order by id"
        )
        return list(await cursor.fetchall())


async def test_a_name_belongs_to_the_account_that_registered_it(
    public: Client, other: Client, database: DatabaseUrls, publisher_key: PrivateKey
) -> None:
    made = await public.post(PATH, {"name": "acme"})
    assert made.status == 201
    assert (made.json()["name"], made.json()["approved"], made.json()["suspended"]) == ("acme", False, False)
    assert (await public.post(PATH, {"name": "acme"})).status == 200
    refused(await other.post(PATH, {"name": "acme"}), 409, "conflict")
    refused(await finalize(other, bundle(), publisher_key), 403, "forbidden")
    assert [one["name"] for one in (await public.get(PATH)).json()["items"]] == ["acme"]
    assert (await other.get(PATH)).json() == {"items": [], "next_cursor": None}
    assert await audited(database) == [("acme", "user:user-1", "publisher.registered")]


@pytest.mark.parametrize("name", ["", "Acme", "a.b", "a" * 101, "a b"])
async def test_a_name_that_cannot_be_is_refused(public: Client, name: str) -> None:
    refused(await public.post(PATH, {"name": name}), 400, "invalid_request")


async def test_an_account_has_so_many_names(public: Client, database: DatabaseUrls) -> None:
    async with owner(database.owner) as connection:
        await connection.execute(
            "insert into publisher (name, owner_account) select 'p' || n, 'acme' from generate_series(1, %s) n",
            (PUBLISHERS_PER_ACCOUNT_MAX - 1,),
        )
    assert (await public.post(PATH, {"name": "last"})).status == 201
    refused(await public.post(PATH, {"name": "more"}), 429, "quota_exceeded")
    assert (await public.post(PATH, {"name": "last"})).status == 200
    first = (await public.get(f"{PATH}?limit=2")).json()
    second = (await public.get(f"{PATH}?limit=2&cursor={first['next_cursor']}")).json()
    names = [one["name"] for one in first["items"] + second["items"]]
    assert names == sorted(set(names))


async def test_a_publisher_sees_what_it_uses_and_may_use(
    strict_gateway_settings: GatewaySettings, host: Host, compiler: StubCompiler, publisher_key: PrivateKey
) -> None:
    async with open_gateway(strict_gateway_settings) as ctx:
        public = Client(create_public_app(ctx), host.headers())
        await publish(public, compiler, bundle(), publisher_key)
        (one,) = (await public.get(PATH)).json()["items"]
    assert one["usage"] == {
        "stored_bytes": len(bundle().data),
        "versions_last_hour": 1,
        "preparing": 0,
        "limits": {
            "stored_bytes": PUBLISHER_STORED_MAX_BYTES,
            "versions_per_hour": PUBLISHER_VERSIONS_PER_HOUR_MAX,
            "preparing": PUBLISHER_PREPARING_MAX,
        },
    }


async def test_where_nothing_is_limited_the_usage_says_so(public: Client) -> None:
    assert (await public.post(PATH, {"name": "acme"})).json()["usage"]["limits"] is None


async def test_two_publishers_race_for_one_version_and_one_wins(
    public: Client, compiler: StubCompiler, publisher_key: PrivateKey, database: DatabaseUrls
) -> None:
    racing = [bundle(salt="left"), bundle(salt="right")]
    for one in racing:
        compiler.bundles[one.digest] = one.found()
    uploads = [await upload(public, one.data) for one in racing]
    answers = await asyncio.gather(
        *(
            public.post(f"/api/registry/bundles/{upload_id}/finalize", {"signature": one.signature(publisher_key)})
            for upload_id, one in zip(uploads, racing, strict=True)
        )
    )
    assert sorted(answer.status for answer in answers) == [200, 409]
    loser = next(answer for answer in answers if answer.status == 409)
    winner = next(answer for answer in answers if answer.status == 200)
    refused(loser, 409, "version_exists")
    assert loser.json()["version_id"] == winner.json()["version_id"]


async def test_a_suspended_publisher_publishes_nothing_and_runs_nothing_until_it_is_restored(
    public: Client,
    operator: Client,
    compiler: StubCompiler,
    publisher_key: PrivateKey,
    database: DatabaseUrls,
) -> None:
    one = await publish(public, compiler, bundle(), publisher_key)
    assert (await install(public, one["extension_id"])).status == 201
    done = await operator.post("/api/admin/publishers/acme/suspend", {"reason": "stolen key"})
    assert (done.status, done.json()["suspended_reason"]) == (200, "stolen key")
    refused(await finalize(public, bundle(version="2.0.0"), publisher_key), 403, "forbidden")
    refused(await public.get(f"/api/ext/{one['extension_id']}/agreements/1"), 403, "revoked")
    (brake,) = (await operator.get("/api/admin/brakes?active=true")).json()["items"]
    assert (brake["subject"], brake["by"]) == ("publisher:acme", "user:operator")
    assert (await public.get(PATH)).json()["items"][0]["suspended"] is True
    again = await operator.post("/api/admin/publishers/acme/suspend", {"reason": "once more"})
    assert again.json()["suspended_reason"] == "stolen key"  # it was so already
    assert (await operator.post("/api/admin/publishers/acme/restore", {"reason": "new key"})).status == 200
    assert (await operator.get("/api/admin/brakes?active=true")).json()["items"] == []
    assert (await public.get(f"/api/ext/{one['extension_id']}/agreements/1")).json()["code"] != "revoked"
    await publish(public, compiler, bundle(version="2.0.0"), publisher_key)
    assert (await audited(database))[1:] == [
        ("platform", "user:operator", "publisher.suspended"),
        ("acme", "operator", "publisher.suspended"),
        ("platform", "user:operator", "publisher.restored"),
        ("acme", "operator", "publisher.restored"),
    ]


async def test_the_operator_lists_publishers_by_approval_and_by_words(
    public: Client, other: Client, operator: Client
) -> None:
    for client, name in ((public, "acme"), (public, "acme-labs"), (other, "globex")):
        await client.post(PATH, {"name": name})
    await operator.post("/api/admin/publishers/acme/approve", {"reason": "known"})

    async def listed(query: str) -> list[str]:
        return [one["name"] for one in (await operator.get(f"/api/admin/publishers{query}")).json()["items"]]

    assert await listed("") == ["acme", "acme-labs", "globex"]
    assert await listed("?approved=true") == ["acme"]
    assert await listed("?approved=false&q=acme") == ["acme-labs"]
    first = (await operator.get("/api/admin/publishers?limit=2")).json()
    assert await listed(f"?limit=2&cursor={first['next_cursor']}") == ["globex"]
    refused(await operator.get("/api/admin/publishers?approved=yes"), 400, "invalid_request")
    refused(await operator.post("/api/admin/publishers/nobody/approve", {"reason": "x"}), 404, "not_found")
    refused(await operator.post("/api/admin/publishers/acme/suspend", {"reason": " "}), 400, "invalid_request")

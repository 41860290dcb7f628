"""The operator's other doors: signing keys, who ran what, and that nobody else comes through any of them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.routing import Route

from gateway.api import admin, admin_brakes
from gateway.app import create_public_app
from gateway.context import GatewayContext
from gateway.identity import api_keys as fresh_keys
from gateway.identity.principal import PERMISSIONS
from gateway.store import api_keys
from shared.keys import PrivateKey
from tests.gateway.asgi import Client
from tests.gateway.bundles import bundle
from tests.gateway.people import Host
from tests.gateway.registry_flow import finalize, publish, refused
from tests.gateway.services import DatabaseUrls, owner
from tests.gateway.stub_compiler import StubCompiler

SOMEBODY = "00000000-0000-4000-8000-000000000000"


def doors(ctx: GatewayContext) -> list[tuple[str, str]]:
    """Method and path of every admin route of this room."""
    found = []
    for route in [*admin.routes(ctx), *admin_brakes.routes(ctx)]:
        assert isinstance(route, Route)
        path = route.path.replace("{name}", "acme").replace("{key_id}", "0" * 16).replace("{brake_id}", SOMEBODY)
        found += [(method, path) for method in sorted(route.methods or ()) if method != "HEAD"]
    return found


async def test_every_admin_route_refuses_what_a_tenant_holds(gateway: GatewayContext, host: Host) -> None:
    everything = tuple(sorted(PERMISSIONS - {"platform:admin"}))
    app, key = create_public_app(gateway), fresh_keys.generate()
    async with gateway.store.tenant("acme") as tx:
        await api_keys.insert(
            tx,
            key_id=key.id,
            tenant_id="acme",
            name="ci",
            secret_sha256=key.secret_sha256,
            permissions=list(everything),
            created_by="test",
        )
    people = {
        "administrator": Client(app, host.headers("acme", permissions=everything)),
        "API key": Client(app, {"authorization": f"Bearer {key.text}"}),
        "nobody": Client(app),
    }
    assert len(doors(gateway)) == 12
    for method, path in doors(gateway):
        for who, client in people.items():
            answer = await client.send_json(method, path, {"reason": "x", "scope": "all"})
            expected = (401, "unauthenticated") if who == "nobody" else (403, "forbidden")
            assert (answer.status, answer.json()["code"]) == expected, (method, path, who)
            if who != "nobody":
                assert answer.json()["permission"] == "platform:admin"


# ---- keys -------------------------------------------------------------------------------------------------------


async def test_a_key_is_revoked_for_good_and_signs_nothing_any_more(
    public: Client, operator: Client, publisher_key: PrivateKey, database: DatabaseUrls
) -> None:
    (one,) = (await operator.get("/api/admin/keys")).json()["items"]
    assert (one["key_id"], one["trusted"], one["revoked"], one["publishers"]) == (
        *(publisher_key.key_id, True, False),
        None,
    )
    path = f"/api/admin/keys/{publisher_key.key_id}/revoke"
    first = (await operator.post(path, {"reason": "lost"})).json()
    assert (await operator.post(path, {"reason": "again"})).json() == first
    assert (first["reason"], first["revoked_by"]) == ("lost", "user:operator")
    refused(await finalize(public, bundle(), publisher_key), 422, "signature_key_revoked")
    assert (await operator.post(f"/api/admin/keys/{'0' * 16}/revoke", {"reason": "seen elsewhere"})).status == 200
    keys = (await operator.get("/api/admin/keys?limit=1")).json()
    assert (keys["items"][0]["key_id"], keys["items"][0]["trusted"], keys["items"][0]["revoked"]) == (
        *("0" * 16, False),
        True,
    )
    assert (await operator.get(f"/api/admin/keys?cursor={keys['next_cursor']}")).json()["items"][0]["reason"] == "lost"
    async with owner(database.owner) as connection:
        cursor = await connection.execute("select kind, subject from state_feed order by seq")
        assert await cursor.fetchall() == [("revoked_key", publisher_key.key_id), ("revoked_key", "0" * 16)]
        cursor = await connection.execute("select action, subject_id from extension_audit_log where actor_kind <> 'x'")
        assert ("key.revoked", publisher_key.key_id) in await cursor.fetchall()


@pytest.mark.parametrize("key_id", ["0" * 15, "0" * 17, "G" * 16, "A" * 16])
async def test_what_is_no_key_id_is_refused(operator: Client, key_id: str) -> None:
    refused(await operator.post(f"/api/admin/keys/{key_id}/revoke", {"reason": "x"}), 400, "invalid_request")


# ---- who ran it -------------------------------------------------------------------------------------------------


async def ran(database: DatabaseUrls, tenant: str, version: str, install: str, *ages_s: int, state: str = "ok") -> None:
    async with owner(database.owner) as connection:
        for age_s in ages_s:
            await connection.execute(
                """insert into extension_execution_log (id, tenant_id, request_id, registry_id, install_id, version_id,
                                                        content_hash, method, deadline_at, started_at, state)
                   values (gen_random_uuid(), %s, 'r', %s, %s, %s, 'sha256:', 'GET', now(),
                           now() - make_interval(secs => %s), %s)""",
                (tenant, str(uuid.UUID(int=7)), install, version, age_s, state),
            )


async def test_who_ran_it_since_a_time_is_told_by_tenant_and_install(
    public: Client,
    operator: Client,
    compiler: StubCompiler,
    publisher_key: PrivateKey,
    database: DatabaseUrls,
) -> None:
    version = (await publish(public, compiler, bundle(), publisher_key))["version_id"]
    acme, globex, stranger = (str(uuid.uuid4()) for _ in range(3))
    await ran(database, "acme", version, acme, 5, 20, 3000)
    await ran(database, "acme", version, acme, 10, state="guest_error")
    await ran(database, "globex", version, globex, 30)
    await ran(database, "globex", str(uuid.uuid4()), stranger, 30)

    async def asked(query: str, since_s: int = 60) -> list[dict[str, Any]]:
        since = (datetime.now(UTC) - timedelta(seconds=since_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = await operator.get(f"/api/admin/executions?{query}&since={since}")
        assert answer.status == 200, answer.body
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    found = await asked(f"scope=version&name={version}")
    assert [(one["tenant_id"], one["install_id"], one["executions"], one["failed"]) for one in found] == [
        ("acme", acme, 3, 1),
        ("globex", globex, 1, 0),
    ]
    assert found[0]["first_at"] < found[0]["last_at"]
    assert found == await asked("scope=publisher&name=acme")
    assert [one["executions"] for one in await asked(f"scope=version&name={version}", 3600)] == [4, 1]
    assert len(await asked("scope=all")) == 3
    assert len(await asked("scope=tenant&name=globex")) == 2
    first = (await operator.get("/api/admin/executions?limit=2")).json()
    rest = (await operator.get(f"/api/admin/executions?limit=2&cursor={first['next_cursor']}")).json()
    assert (len(first["items"]), len(rest["items"]), rest["next_cursor"]) == (2, 1, None)
    async with owner(database.owner) as connection:  # "who ran it" must stay fast however long the log is
        await connection.execute("set enable_seqscan = off")
        cursor = await connection.execute(
            f"explain select count(*) from extension_execution_log where version_id = '{version}' and started_at > now()"
        )
        plan = " ".join(str(line[0]) for line in await cursor.fetchall())
    assert "version_id_started_at_idx" in plan


@pytest.mark.parametrize(
    "query",
    [
        "scope=everything",
        "scope=all&name=x",
        "scope=version",
        "scope=version&name=1.0",
        "scope=tenant&name=a%20b",
        "since=yesterday",
        "since=2026-01-01T00:00:00",
        "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
        "until=2026-02-01T00:00:01Z&since=2026-01-01T00:00:00Z",  # a second more than EXECUTIONS_SPAN_MAX_DAYS
        "cursor=WyJhIiwiYiIsImMiXQ",
    ],
)
async def test_a_question_that_cannot_be_answered_is_refused(operator: Client, query: str) -> None:
    refused(await operator.get(f"/api/admin/executions?{query}"), 400, "invalid_request")

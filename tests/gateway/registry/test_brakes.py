"""Emergency brakes: pulled, released and listed by the operator; what they do to calls, pages and the state feed."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.context import GatewayContext
from gateway.store.platform import feed
from shared.keys import PrivateKey
from tests.gateway.asgi import Answer, Client
from tests.gateway.bundles import bundle
from tests.gateway.registry_flow import install, publish, refused
from tests.gateway.services import DatabaseUrls, owner
from tests.gateway.stub_compiler import StubCompiler

PATH = "/api/admin/brakes"
ACME = bundle()


@pytest.fixture
async def crm(public: Client, other: Client, compiler: StubCompiler, publisher_key: PrivateKey) -> dict[str, Any]:
    """An extension that two tenants have installed."""
    one = await publish(public, compiler, ACME, publisher_key)
    extension = f"/api/registry/extensions/{one['extension_id']}"
    assert (await public.send_json("PATCH", extension, {"allowed_tenants": ["globex"]})).status == 200
    for client in (public, other):
        made = await install(client, one["extension_id"])
        assert made.status == 201
        one = one | {"install_id": made.json()["install_id"]}
    return one


async def pull(operator: Client, scope: str, **members: Any) -> Answer:
    return await operator.post(PATH, {"scope": scope, "reason": "drill"} | members)


async def stopped(client: Client, one: dict[str, Any]) -> bool:
    answer = await client.get(f"/api/ext/{one['extension_id']}/agreements/1")
    return bool(answer.json()["code"] == "revoked")


async def said(database: DatabaseUrls, after: int = 0) -> list[tuple[object, ...]]:
    async with owner(database.owner) as connection:
        cursor = await connection.execute(
            "select kind, subject from state_feed where seq > %s and kind not like '%%install' order by seq", (after,)
        )
        return list(await cursor.fetchall())


async def last(database: DatabaseUrls) -> int:
    async with owner(database.owner) as connection:
        row = await (await connection.execute("select coalesce(max(seq), 0) from state_feed")).fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


def scopes(one: dict[str, Any]) -> dict[str, str]:
    return {
        "all": "all",
        "version": f"version:{one['version_id']}",
        "publisher": "publisher:acme",
        "tenant": "tenant:acme",
        "capability": "capability:cap:log.emit",
    }


@pytest.mark.parametrize("scope", ["all", "version", "publisher", "tenant", "capability"])
async def test_a_brake_stops_calls_at_once_and_its_release_lets_them_run_again(
    crm: dict[str, Any], public: Client, other: Client, operator: Client, database: DatabaseUrls, scope: str
) -> None:
    subject, before = scopes(crm)[scope], await last(database)
    name = subject.partition(":")[2]
    made = await pull(operator, scope, **({"name": name} if name else {}))
    assert made.status == 201, made.body
    brake = made.json()
    assert (brake["subject"], brake["name"], brake["by"], brake["released_at"]) == (
        *(subject, name or None, "user:operator"),
        None,
    )
    assert await stopped(public, crm)
    assert await stopped(other, crm) is (scope != "tenant")
    pages = ("ui_gone", f"{crm['extension_id']}/{ACME.digest}")
    gone = [pages] if scope in {"all", "version", "publisher"} else []  # the other tenant still uses them
    assert await said(database, before) == [("brake", subject), *gone]
    done = await operator.delete(f"{PATH}/{brake['id']}")
    assert (done.status, done.json()["released_by"]) == (200, "user:operator")
    assert not await stopped(public, crm)
    live = [("ui_live", pages[1])] if scope != "capability" else []
    assert (await said(database, before))[1 + len(gone) :] == [("brake_released", subject), *live]


async def test_a_brake_on_every_tenant_that_uses_a_page_ends_it(
    crm: dict[str, Any], operator: Client, database: DatabaseUrls, gateway: GatewayContext
) -> None:
    async def live() -> bool:
        async with gateway.store.platform() as tx:
            return await feed.is_live(tx, crm["extension_id"], ACME.digest)

    first = await pull(operator, "tenant", name="acme")
    assert await live()
    await pull(operator, "tenant", name="globex")
    assert not await live()
    assert (await said(database))[-1][0] == "ui_gone"
    await operator.delete(f"{PATH}/{first.json()['id']}")
    assert await live()


async def test_pulling_twice_is_pulling_once(crm: dict[str, Any], operator: Client, database: DatabaseUrls) -> None:
    before = await last(database)
    first = await pull(operator, "version", name=crm["version_id"])
    again = await pull(operator, "version", name=crm["version_id"], reason="somebody else saw it too")
    assert (again.status, again.json()) == (200, first.json())
    assert [kind for kind, _ in await said(database, before)] == ["brake", "ui_gone"]
    for _ in range(2):
        assert (await operator.delete(f"{PATH}/{first.json()['id']}")).json()["released_at"] is not None
    assert [kind for kind, _ in await said(database, before)][2:] == ["brake_released", "ui_live"]
    anew = await pull(operator, "version", name=crm["version_id"])
    assert (anew.status, anew.json()["id"] == first.json()["id"]) == (201, False)
    async with owner(database.owner) as connection:
        cursor = await connection.execute(
            "select tenant_id, actor, action from extension_audit_log where subject_kind = 'brake' order by id"
        )
        rows = await cursor.fetchall()
    assert rows == [("platform", "user:operator", f"brake.{act}") for act in ("pulled", "released", "pulled")]


async def test_an_install_behind_a_brake_brings_no_page_back(
    crm: dict[str, Any], other: Client, operator: Client, database: DatabaseUrls
) -> None:
    await pull(operator, "publisher", name="acme")
    before = await last(database)
    await other.post(f"/api/installs/{crm['install_id']}/disable")
    await other.post(f"/api/installs/{crm['install_id']}/enable")
    assert "ui_live" not in [kind for kind, _ in await said(database, before)]


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"scope": "all", "name": "x"}, 400),
        ({"scope": "tenant"}, 400),
        ({"scope": "tenant", "name": "a b"}, 400),
        ({"scope": "capability", "name": "cap:none.such"}, 400),
        ({"scope": "version", "name": "1.0"}, 400),
        ({"scope": "version", "name": "00000000-0000-4000-8000-000000000000"}, 404),
        ({"scope": "publisher", "name": "nobody"}, 404),
        ({"scope": "install", "name": "x"}, 400),
        ({"scope": "all", "reason": ""}, 400),
    ],
    ids=str,
)
async def test_a_brake_that_would_stop_nothing_is_refused(
    operator: Client, database: DatabaseUrls, members: dict[str, Any], status: int
) -> None:
    answer = await operator.post(PATH, {"reason": "drill"} | members)
    assert answer.status == status
    assert await said(database) == []


async def test_brakes_are_listed_newest_first_page_by_page(operator: Client) -> None:
    made = [(await pull(operator, "tenant", name=f"t{number}")).json() for number in range(3)]
    await operator.delete(f"{PATH}/{made[0]['id']}")
    first = (await operator.get(f"{PATH}?limit=2")).json()
    second = (await operator.get(f"{PATH}?limit=2&cursor={first['next_cursor']}")).json()
    assert [one["name"] for one in first["items"] + second["items"]] == ["t2", "t1", "t0"]
    assert [one["name"] for one in (await operator.get(f"{PATH}?active=true")).json()["items"]] == ["t2", "t1"]
    assert [one["name"] for one in (await operator.get(f"{PATH}?active=false")).json()["items"]] == ["t0"]
    for path in (f"{PATH}/x", f"{PATH}/00000000-0000-4000-8000-000000000000"):
        refused(await operator.delete(path), 404, "not_found")


async def test_the_page_of_a_braked_extension_is_not_opened(
    crm: dict[str, Any], public: Client, operator: Client
) -> None:
    await pull(operator, "version", name=crm["version_id"])
    refused(await public.get(f"/api/ext-ui/bootstrap/{crm['extension_id']}"), 403, "revoked")

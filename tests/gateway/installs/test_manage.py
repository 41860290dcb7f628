"""Installs through the API: what changes, who learns of it, and what another tenant never sees."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.app import create_public_app
from gateway.context import GatewayContext
from gateway.settings import GatewaySettings
from gateway.store import notices
from shared.capabilities import DEFAULTS
from shared.keys import PrivateKey
from tests.gateway.asgi import Client
from tests.gateway.bundles import Bundle, bundle
from tests.gateway.people import Host
from tests.gateway.registry_flow import finalize, install, publish, refused
from tests.gateway.services import DatabaseUrls, owner
from tests.gateway.stub_compiler import StubCompiler

ASKING = bundle(
    "acme.sync",
    capabilities=["http.fetch", "storage.kv"],
    permissions={"egress": [{"host": "api.example.com", "reason": "to sync"}]},
    config={"type": "object", "properties": {"region": {"type": "string", "default": "emea"}}},
)


@pytest.fixture
async def ready(public: Client, compiler: StubCompiler, publisher_key: PrivateKey) -> dict[str, Any]:
    """A version of tenant `acme`, ready to be installed."""
    return await publish(public, compiler, ASKING, publisher_key)


async def rows(database: DatabaseUrls, statement: str) -> list[tuple[object, ...]]:
    async with owner(database.owner) as connection:
        return await (await connection.execute(statement)).fetchall()  # type: ignore[arg-type]


async def feed(database: DatabaseUrls) -> list[tuple[object, ...]]:
    return await rows(database, "select kind, subject from state_feed order by seq")


async def offer_to_all(database: DatabaseUrls) -> None:
    async with owner(database.owner) as connection:
        await connection.execute("update extension_registry set visibility = 'unlisted'")


# ---- installing ---------------------------------------------------------------------------------------------


async def test_an_install_grants_what_was_named_and_tells_everyone(
    public: Client, ready: dict[str, Any], database: DatabaseUrls
) -> None:
    grants = {"capabilities": ["http.fetch"], "withhold": ["user.read"], "egress": ["api.example.com"]}
    answer = await install(public, "acme.sync", grants=grants, config={"region": "apac"})
    assert answer.status == 201
    found = answer.json()
    assert (found["extension_id"], found["version_id"]) == (ready["extension_id"], ready["version_id"])
    assert (found["version"], found["status"], found["content_hash"]) == ("1.0.0", "enabled", ASKING.digest)
    assert found["asked"]["capabilities"] == ["cap:http.fetch", "cap:storage.kv"]
    assert found["asked"]["egress"] == [{"host": "api.example.com", "reason": "to sync"}]
    assert found["granted"] == {
        "capabilities": sorted({*DEFAULTS, "cap:http.fetch"} - {"cap:user.read"}),
        "egress": ["api.example.com"],
        "secrets": [],
    }
    install_id = found["install_id"]
    assert await feed(database) == [
        ("enabled_install", install_id),
        ("ui_live", f"{ready['extension_id']}/{ASKING.digest}"),
    ]
    assert await rows(database, "select action, actor from install_version_history") == [("install", "user:user-1")]
    audit = await rows(
        database, "select action, subject_id, detail::text from extension_audit_log order by id desc limit 1"
    )
    assert audit[0][:2] == ("install.created", install_id)
    assert "apac" not in str(audit[0][2])
    config = (await public.get(f"/api/installs/{install_id}/config")).json()
    assert config == {"config": {"region": "apac"}, "version": 1}
    assert (await public.get(f"/api/installs/{install_id}")).json()["granted"] == found["granted"]


@pytest.mark.parametrize("reference", ["acme.sync", "acme.acme.sync", "id"])
async def test_an_extension_is_named_by_id_or_name(public: Client, ready: dict[str, Any], reference: str) -> None:
    answer = await install(public, ready["extension_id"] if reference == "id" else reference, version="1.0.0")
    assert answer.status == 201
    assert answer.json()["granted"]["capabilities"] == list(DEFAULTS)


async def test_the_newest_version_is_installed_when_none_is_named(
    public: Client, ready: dict[str, Any], compiler: StubCompiler, publisher_key: PrivateKey
) -> None:
    await publish(public, compiler, bundle("acme.sync", "1.1.0"), publisher_key)
    assert (await install(public, "acme.sync")).json()["version"] == "1.1.0"


@pytest.mark.parametrize(
    ("members", "status", "code"),
    [
        ({"extension": "acme.nothing"}, 404, "not_found"),
        ({"extension": "11111111-1111-4111-8111-111111111111"}, 404, "not_found"),
        ({"version": "9.9.9"}, 404, "not_found"),
        ({"grants": {"capabilities": ["events.publish"]}}, 400, "invalid_request"),
        ({"grants": {"egress": ["evil.example.com"]}}, 400, "invalid_request"),
        ({"grants": {"withhold": ["context.read"]}}, 400, "invalid_request"),
        ({"grants": {"everything": True}}, 400, "invalid_request"),
        ({"config": {"region": 7}}, 400, "invalid_request"),
        ({"config": {"region": ["a"]}}, 400, "invalid_request"),
        ({"extension": 7}, 400, "invalid_request"),
    ],
)
async def test_an_install_that_cannot_be_is_refused_and_leaves_nothing(
    public: Client, ready: dict[str, Any], database: DatabaseUrls, members: dict[str, Any], status: int, code: str
) -> None:
    refused(await public.post("/api/installs", {"extension": "acme.sync"} | members), status, code)
    assert await rows(database, "select * from tenant_extension_install") == []
    assert await feed(database) == []


async def test_an_extension_is_installed_once(public: Client, ready: dict[str, Any]) -> None:
    first = (await install(public, "acme.sync")).json()
    again = await install(public, "acme.sync")
    refused(again, 409, "conflict")
    assert again.json()["install_id"] == first["install_id"]


async def test_a_version_that_is_not_ready_cannot_be_installed(
    public: Client, compiler: StubCompiler, publisher_key: PrivateKey
) -> None:
    assert (await finalize(public, bundle("acme.slow"), publisher_key)).status == 202
    refused(await install(public, "acme.slow", version="1.0.0"), 409, "conflict")
    refused(await install(public, "acme.slow"), 404, "not_found")


async def test_a_revoked_version_cannot_be_installed(
    public: Client, ready: dict[str, Any], database: DatabaseUrls
) -> None:
    async with owner(database.owner) as connection:
        await connection.execute("update extension_version set revoked_at = now()")
    refused(await install(public, "acme.sync", version="1.0.0"), 403, "revoked")


async def test_what_nobody_vouches_for_any_more_cannot_be_installed(
    public: Client, ready: dict[str, Any], publisher_key: PrivateKey, database: DatabaseUrls
) -> None:
    async with owner(database.owner) as connection:
        await connection.execute(
            "insert into state_feed (kind, subject) values ('revoked_key', %s)", (publisher_key.key_id,)
        )
    refused(await install(public, "acme.sync"), 422, "signature_key_revoked")


@pytest.mark.parametrize("permission", ["extension:read", "extension:publish"])
async def test_installing_needs_its_permission(gateway: GatewayContext, host: Host, permission: str) -> None:
    reader = Client(create_public_app(gateway), host.headers(permissions=(permission,)))
    answer = await install(reader, "acme.sync")
    refused(answer, 403, "forbidden")
    assert answer.json()["permission"] == "extension:admin"


# ---- changing -----------------------------------------------------------------------------------------------


async def test_disabling_and_enabling_are_told_once_each(
    public: Client, ready: dict[str, Any], database: DatabaseUrls
) -> None:
    one = (await install(public, "acme.sync")).json()
    path, ui = f"/api/installs/{one['install_id']}", f"{ready['extension_id']}/{ASKING.digest}"
    for action, status in (
        ("disable", "disabled"),
        ("disable", "disabled"),
        ("enable", "enabled"),
        ("enable", "enabled"),
    ):
        answer = await public.post(f"{path}/{action}")
        assert (answer.status, answer.json()["status"]) == (200, status)
    assert (await feed(database))[2:] == [
        ("disabled_install", one["install_id"]),
        ("ui_gone", ui),
        ("enabled_install", one["install_id"]),
        ("ui_live", ui),
    ]
    assert (await public.get(path)).json()["generation"] == one["generation"] + 2


async def test_a_ui_is_retired_only_when_nobody_has_it_enabled(
    public: Client, other: Client, ready: dict[str, Any], database: DatabaseUrls
) -> None:
    await offer_to_all(database)
    mine, theirs = (await install(public, "acme.sync")).json(), (await install(other, "acme.sync")).json()
    await public.post(f"/api/installs/{mine['install_id']}/disable")
    assert ("ui_gone",) not in [row[:1] for row in await feed(database)]
    answer = await other.delete(f"/api/installs/{theirs['install_id']}")
    assert answer.status == 200, answer.body
    assert (await feed(database))[-1][0] == "ui_gone"


async def test_uninstalling_keeps_the_data_and_installing_again_brings_them_back(
    public: Client, ready: dict[str, Any], database: DatabaseUrls
) -> None:
    first = (await install(public, "acme.sync", grants={"capabilities": ["storage.kv"]})).json()
    answer = await public.delete(f"/api/installs/{first['install_id']}")
    assert (answer.status, answer.json()["status"]) == (200, "uninstalled")
    kept = await rows(database, "select purge_after - now() > interval '29 days' from tenant_extension_install")
    assert kept == [(True,)]
    refused(await public.get(f"/api/installs/{first['install_id']}"), 404, "not_installed")
    refused(await public.delete(f"/api/installs/{first['install_id']}"), 404, "not_installed")
    assert (await public.get("/api/installs")).json()["items"] == []
    again = (await install(public, "acme.sync")).json()
    assert again["install_id"] == first["install_id"]
    assert again["granted"]["capabilities"] == list(DEFAULTS)  # consent was asked for again
    assert again["generation"] > first["generation"]
    assert [row[0] for row in await rows(database, "select action from install_version_history order by id")] == [
        "install",
        "uninstall",
        "install",
    ]


async def test_settings_are_replaced_and_counted(public: Client, ready: dict[str, Any], database: DatabaseUrls) -> None:
    one = (await install(public, "acme.sync")).json()
    path = f"/api/installs/{one['install_id']}/config"
    assert (await public.get(path)).json() == {"config": {"region": "emea"}, "version": 1}
    assert (await public.put(path, {"config": {"region": "apac"}})).json() == {
        "config": {"region": "apac"},
        "version": 2,
    }
    refused(await public.put(path, {"config": {"region": 7}}), 400, "invalid_request")
    refused(await public.put(path, {"region": "apac"}), 400, "invalid_request")
    assert (await public.get(path)).json() == {"config": {"region": "apac"}, "version": 2}
    assert (await public.get(f"/api/installs/{one['install_id']}")).json()["generation"] > one["generation"]
    audit = await rows(database, "select detail::text from extension_audit_log where action = 'install.configured'")
    assert "region" in str(audit)
    assert "apac" not in str(audit)


async def test_a_list_is_walked_page_by_page(public: Client, compiler: StubCompiler, publisher_key: PrivateKey) -> None:
    for number in range(3):
        one: Bundle = bundle(f"acme.app{number}")
        await publish(public, compiler, one, publisher_key)
        assert (await install(public, one.manifest["name"])).status == 201
    first = (await public.get("/api/installs?limit=2")).json()
    second = (await public.get(f"/api/installs?limit=2&cursor={first['next_cursor']}")).json()
    assert (len(first["items"]), len(second["items"]), second["next_cursor"]) == (2, 1, None)
    assert len({item["install_id"] for item in first["items"] + second["items"]}) == 3


# ---- other tenants ------------------------------------------------------------------------------------------


@pytest.mark.security
@pytest.mark.parametrize(
    ("method", "tail", "body"),
    [
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/enable", None),
        ("POST", "/disable", None),
        ("GET", "/config", None),
        ("PUT", "/config", {"config": {}}),
    ],
)
async def test_somebody_elses_install_is_as_absent_as_none(
    public: Client,
    other: Client,
    ready: dict[str, Any],
    database: DatabaseUrls,
    method: str,
    tail: str,
    body: object,
) -> None:
    mine = (await install(public, "acme.sync")).json()["install_id"]
    before = await rows(database, "select * from tenant_extension_install")
    theirs = await other.send_json(method, f"/api/installs/{mine}{tail}", body)
    nobodys = await other.send_json(method, f"/api/installs/11111111-1111-4111-8111-111111111111{tail}", body)
    odd = await other.send_json(method, f"/api/installs/not-an-id{tail}", body)
    refused(theirs, 404, "not_installed")
    for answer in (nobodys, odd):
        assert answer.json() | {"request_id": ""} == theirs.json() | {"request_id": ""}
    assert await rows(database, "select * from tenant_extension_install") == before
    assert (await other.get("/api/installs")).json()["items"] == []


async def test_an_extension_that_became_private_stays_with_who_has_it(
    public: Client, other: Client, ready: dict[str, Any], database: DatabaseUrls
) -> None:
    await offer_to_all(database)
    theirs = (await install(other, "acme.sync")).json()
    async with owner(database.owner) as connection:
        await connection.execute("update extension_registry set visibility = 'private'")
    assert (await other.get(f"/api/installs/{theirs['install_id']}")).status == 200


# ---- notices ------------------------------------------------------------------------------------------------


async def test_every_change_is_announced_to_other_gateways(
    public: Client, ready: dict[str, Any], settings: GatewaySettings
) -> None:
    changes = notices.changes(settings.database_direct_url)
    async with asyncio.timeout(10):
        assert await anext(changes) == notices.MayHaveMissed()
        one = (await install(public, "acme.sync")).json()
        path = f"/api/installs/{one['install_id']}"
        for action in (
            public.post(f"{path}/disable"),
            public.post(f"{path}/enable"),
            public.put(f"{path}/config", {"config": {}}),
            public.delete(path),
        ):
            await action
        expected = notices.InstallChanged(
            tenant_id="acme", registry_id=ready["extension_id"], install_id=one["install_id"]
        )
        for _ in range(5):
            assert await anext(changes) == expected
    await changes.aclose()  # type: ignore[attr-defined]

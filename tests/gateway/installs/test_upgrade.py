"""Upgrades: what grew waits for consent while the old version stays, everything else is installed at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.app import create_public_app
from gateway.context import GatewayContext
from gateway.settings import GatewaySettings
from gateway.store import notices
from shared.capabilities import DEFAULTS
from tests.gateway.asgi import Client
from tests.gateway.bundles import bundle
from tests.gateway.installs.versions import CONSENT, NAME, SAME, SMALL, WIDER, Life, asks
from tests.gateway.people import Host
from tests.gateway.registry_flow import finalize, refused


async def feed(life: Life) -> list[tuple[object, ...]]:
    return await life.rows("select kind, subject from state_feed order by seq")


# ---- at once ------------------------------------------------------------------------------------------------


async def test_a_version_that_asks_for_the_same_is_installed_at_once(life: Life) -> None:
    before = await life.begin(grants={"withhold": ["user.read"]})
    (version_id,) = await life.publish(SAME)
    found = await life.upgraded()
    assert (found["version"], found["version_id"], found["content_hash"]) == ("1.1.0", version_id, SAME.digest)
    assert found["upgrade"] is None
    assert found["granted"] == before["granted"]  # what was withheld stays withheld
    assert await life.history() == [("upgrade", "1.1.0"), ("install", "1.0.0")]
    extension = before["extension_id"]
    assert (await feed(life))[2:] == [
        ("ui_live", f"{extension}/{SAME.digest}"),
        ("ui_gone", f"{extension}/{SMALL.digest}"),
    ]
    audit = await life.rows(
        "select action, actor, detail->>'version' from extension_audit_log order by id desc limit 1"
    )
    assert audit == [("install.upgraded", "user:user-1", "1.1.0")]


async def test_a_version_that_asks_for_less_keeps_what_it_still_asks_for(life: Life) -> None:
    await life.begin(WIDER, grants=CONSENT)
    less = bundle(NAME, "3.0.0", capabilities=["http.fetch"])
    await life.publish(less)
    found = await life.upgraded()
    assert found["granted"] == {
        "capabilities": sorted([*DEFAULTS, "cap:http.fetch"]),
        "egress": [],
        "secrets": [],
    }


async def test_what_was_asked_for_and_denied_stays_denied_without_a_question(life: Life) -> None:
    await life.begin(WIDER)
    await life.publish(bundle(NAME, "2.1.0", **asks(WIDER)))
    found = await life.upgraded()
    assert found["version"] == "2.1.0"
    assert found["granted"] == {"capabilities": list(DEFAULTS), "egress": [], "secrets": []}


async def test_grants_that_come_with_an_upgrade_are_the_consent(life: Life) -> None:
    await life.begin()
    await life.publish(WIDER)
    found = await life.upgraded(grants=CONSENT)
    assert (found["version"], found["granted"]["egress"]) == ("2.0.0", ["api.example.com"])
    assert found["granted"]["secrets"] == ["token"]
    assert [action for action, _ in await life.history()] == ["upgrade", "install"]


async def test_a_call_under_way_keeps_its_token_unless_a_right_was_lost(life: Life) -> None:
    generation = (await life.begin())["generation"]
    await life.publish(SAME, WIDER, bundle(NAME, "3.0.0"))
    assert (await life.upgraded(version="1.1.0"))["generation"] == (await life.view())["generation"]
    same = (await life.view())["generation"]
    assert same == generation
    wider = await life.upgraded(version="2.0.0", grants=CONSENT)
    assert wider["generation"] == same
    assert (await life.upgraded(version="3.0.0"))["generation"] == same + 1


@pytest.mark.parametrize(
    ("members", "status", "code"),
    [
        ({"version": "1.0.0"}, 409, "conflict"),
        ({"version": "9.9.9"}, 404, "not_found"),
        ({"version": "2.0.0", "grants": {"egress": ["evil.example.com"]}}, 400, "invalid_request"),
        ({"version": "2.0.0", "grants": {"everything": True}}, 400, "invalid_request"),
        ({"version": "2.0.0", "consent": True}, 400, "invalid_request"),
        ({"version": 2}, 400, "invalid_request"),
    ],
)
async def test_an_upgrade_that_cannot_be_is_refused_and_changes_nothing(
    life: Life, members: dict[str, Any], status: int, code: str
) -> None:
    await life.begin()
    await life.publish(WIDER)
    before = await life.view()
    refused(await life.post("upgrade", members), status, code)
    assert await life.view() == before
    assert await life.history() == [("install", "1.0.0")]


async def test_a_version_that_was_revoked_is_not_installed(life: Life) -> None:
    await life.begin()
    await life.publish(SAME)
    await life.revoke("1.1.0")
    refused(await life.post("upgrade", {"version": "1.1.0"}), 403, "revoked")
    refused(await life.post("upgrade"), 409, "conflict")  # the newest that can be installed is installed


async def test_a_version_that_is_not_ready_is_not_installed(life: Life) -> None:
    await life.begin()
    assert (await finalize(life.client, bundle(NAME, "1.2.0"), life.key)).status == 202
    refused(await life.post("upgrade", {"version": "1.2.0"}), 409, "conflict")


async def test_a_version_nobody_vouches_for_is_not_installed(life: Life) -> None:
    await life.begin()
    await life.publish(SAME)
    await life.rows_of(f"insert into state_feed (kind, subject) values ('revoked_key', '{life.key.key_id}')")
    refused(await life.post("upgrade"), 422, "signature_key_revoked")


async def test_a_disabled_install_is_upgraded_and_stays_disabled(life: Life) -> None:
    before = await life.begin()
    await life.post("disable")
    await life.publish(SAME)
    assert (await life.upgraded())["status"] == "disabled"
    subject = f"{before['extension_id']}/{SAME.digest}"
    assert ("ui_live", subject) not in await feed(life)
    await life.post("enable")
    assert (await feed(life))[-1] == ("ui_live", subject)


async def test_an_upgrade_is_announced_to_other_gateways(life: Life, settings: GatewaySettings) -> None:
    one = await life.begin()
    await life.publish(SAME)
    changes = notices.changes(settings.database_direct_url)
    async with asyncio.timeout(10):
        assert await anext(changes) == notices.MayHaveMissed()
        await life.upgraded()
        assert await anext(changes) == notices.InstallChanged(
            tenant_id="acme", registry_id=one["extension_id"], install_id=life.id
        )
    await changes.aclose()  # type: ignore[attr-defined]


async def test_upgrades_at_once_are_made_one_after_the_other(life: Life) -> None:
    await life.begin()
    await life.publish(SAME, bundle(NAME, "1.2.0"))
    answers = await asyncio.gather(
        *(life.post("upgrade", {"version": version}) for version in ("1.1.0", "1.2.0") for _ in range(4))
    )
    assert {answer.status for answer in answers} <= {200, 409}
    actions = await life.history()
    assert len(actions) == 1 + sum(answer.status == 200 for answer in answers)
    assert (await life.view())["version"] == actions[0][1]


# ---- waiting ------------------------------------------------------------------------------------------------


async def test_a_version_that_asks_for_more_waits_while_the_old_one_stays(life: Life) -> None:
    before = await life.begin()
    (version_id,) = await life.publish(WIDER)
    answer = await life.post("upgrade")
    assert answer.status == 202
    found = answer.json()
    upgrade = found.pop("upgrade")
    assert found == {name: value for name, value in before.items() if name != "upgrade"}
    assert (upgrade["state"], upgrade["version_id"], upgrade["version"]) == ("pending_consent", version_id, "2.0.0")
    assert (upgrade["content_hash"], upgrade["requested_by"]) == (WIDER.digest, "user:user-1")
    assert upgrade["asked"]["egress"] == [HOST_ASK]
    assert upgrade["diff"]["grew"]
    assert upgrade["diff"]["capabilities"] == {"added": ["cap:http.fetch"], "removed": []}
    assert (await life.view())["upgrade"] == upgrade
    assert await life.history() == [("consent_asked", "2.0.0"), ("install", "1.0.0")]
    assert len(await feed(life)) == 2


HOST_ASK = {"host": "api.example.com", "reason": "to sync"}


async def test_consent_installs_what_waits_with_what_was_granted(life: Life) -> None:
    await life.begin()
    await life.publish(WIDER)
    await life.post("upgrade")
    answer = await life.post("consent", {"grants": CONSENT})
    assert answer.status == 200
    found = answer.json()
    assert (found["version"], found["upgrade"], found["granted"]["secrets"]) == ("2.0.0", None, ["token"])
    assert await life.history() == [("upgrade", "2.0.0"), ("consent_asked", "2.0.0"), ("install", "1.0.0")]
    refused(await life.post("consent", {"grants": CONSENT}), 409, "conflict")


async def test_consent_may_grant_less_than_is_asked_for(life: Life) -> None:
    await life.begin()
    await life.publish(WIDER)
    await life.post("upgrade")
    found = (await life.post("consent", {"grants": {}})).json()
    assert found["version"] == "2.0.0"
    assert found["granted"] == {"capabilities": list(DEFAULTS), "egress": [], "secrets": []}


async def test_consent_grants_nothing_that_is_not_asked_for(life: Life) -> None:
    await life.begin()
    await life.publish(WIDER)
    await life.post("upgrade")
    refused(await life.post("consent", {"grants": {"capabilities": ["storage.kv"]}}), 400, "invalid_request")
    refused(await life.post("consent", {}), 400, "invalid_request")
    assert (await life.view())["upgrade"]["version"] == "2.0.0"


async def test_a_newer_version_takes_the_place_of_the_one_that_waits(life: Life) -> None:
    await life.begin()
    await life.publish(WIDER)
    await life.post("upgrade")
    await life.publish(bundle(NAME, "3.0.0", **asks(WIDER), limits={"memoryMb": 128}))
    assert (await life.post("upgrade")).json()["upgrade"]["version"] == "3.0.0"
    refused(await life.post("consent", {"grants": CONSENT, "version": "2.0.0"}), 409, "conflict")
    assert (await life.post("consent", {"grants": CONSENT, "version": "3.0.0"})).json()["version"] == "3.0.0"


async def test_what_waits_can_be_declined(life: Life) -> None:
    before = await life.begin()
    await life.publish(WIDER)
    await life.post("upgrade")
    answer = await life.client.delete(f"/api/installs/{life.id}/consent")
    assert (answer.status, answer.json()["upgrade"]) == (200, None)
    assert await life.view() == before
    assert (await life.history())[0] == ("consent_declined", "2.0.0")
    refused(await life.client.delete(f"/api/installs/{life.id}/consent"), 409, "conflict")
    refused(await life.post("consent", {"grants": CONSENT}), 409, "conflict")


async def test_a_revoked_version_waits_no_more(life: Life) -> None:
    await life.begin()
    await life.publish(WIDER)
    await life.post("upgrade")
    await life.revoke("2.0.0")
    assert (await life.view())["upgrade"] is None
    refused(await life.post("consent", {"grants": CONSENT}), 409, "conflict")
    assert (await life.view())["version"] == "1.0.0"


@pytest.mark.parametrize("how", ["upgrade", "uninstall"])
async def test_whatever_changes_the_version_ends_the_waiting(life: Life, how: str) -> None:
    await life.begin()
    await life.publish(SAME, WIDER)
    await life.post("upgrade", {"version": "2.0.0"})
    if how == "upgrade":
        await life.upgraded(version="1.1.0")
    else:
        await life.client.delete(f"/api/installs/{life.id}")
    assert await life.rows("select * from tenant_extension_install_upgrade") == []


async def test_consent_once_given_need_not_be_given_again(life: Life) -> None:
    await life.begin(WIDER, grants=CONSENT)
    more: dict[str, Any] = asks(WIDER) | {"capabilities": ["http.fetch", "storage.kv"]}
    await life.publish(bundle(NAME, "2.1.0", **asks(WIDER)), bundle(NAME, "2.2.0", **more))
    assert (await life.upgraded(version="2.1.0"))["version"] == "2.1.0"
    diff = (await life.post("upgrade")).json()["upgrade"]["diff"]
    assert (diff["capabilities"]["added"], diff["egress"]["added"]) == (["cap:storage.kv"], [])


# ---- looking ------------------------------------------------------------------------------------------------


async def test_a_difference_can_be_looked_at_before(life: Life) -> None:
    await life.begin()
    await life.publish(WIDER, SAME)
    found = (await life.get("/diff?version=2.0.0")).json()
    assert (found["from_version"], found["to_version"], found["grew"]) == ("1.0.0", "2.0.0", True)
    assert found["secrets"]["added"][0]["name"] == "token"
    assert not (await life.get("/diff")).json()["grew"]  # the newest
    refused(await life.get("/diff?version=7.0.0"), 404, "not_found")
    assert (await life.view())["upgrade"] is None


async def test_a_deprecated_version_says_so(life: Life) -> None:
    assert (await life.begin())["deprecated"] is None
    await life.rows_of("update extension_version set deprecated_at = now(), deprecated_message = 'use 2'")
    assert (await life.view())["deprecated"]["message"] == "use 2"


@pytest.mark.parametrize(
    ("method", "tail"),
    [
        ("POST", "/upgrade"),
        ("POST", "/consent"),
        ("DELETE", "/consent"),
        ("POST", "/rollback"),
        ("PUT", "/grants"),
        ("GET", "/export"),
        ("DELETE", "?purge=true"),
    ],
)
async def test_changing_needs_its_permission(
    life: Life, gateway: GatewayContext, host: Host, method: str, tail: str
) -> None:
    await life.begin()
    reader = Client(create_public_app(gateway), host.headers(permissions=("extension:read",)))
    answer = await reader.send_json(method, f"/api/installs/{life.id}{tail}", {"grants": {}})
    refused(answer, 403, "forbidden")
    assert answer.json()["permission"] == "extension:admin"


@pytest.mark.parametrize("tail", ["/diff?version=1.0.0", "/history", "/grants"])
async def test_looking_needs_the_permission_to_read(life: Life, gateway: GatewayContext, host: Host, tail: str) -> None:
    await life.begin()
    for permissions, status in ((("extension:read",), 200), ((), 403)):
        reader = Client(create_public_app(gateway), host.headers(permissions=permissions))
        assert (await reader.get(f"/api/installs/{life.id}{tail}")).status == status


@pytest.mark.security
@pytest.mark.parametrize(
    ("method", "tail", "body"),
    [
        ("POST", "/upgrade", {}),
        ("POST", "/consent", {"grants": {}}),
        ("DELETE", "/consent", None),
        ("POST", "/rollback", {}),
        ("GET", "/diff", None),
        ("GET", "/history", None),
        ("GET", "/grants", None),
        ("PUT", "/grants", {}),
        ("GET", "/export", None),
        ("DELETE", "?purge=true", None),
    ],
)
async def test_somebody_elses_install_is_as_absent_as_none(
    life: Life, other: Client, method: str, tail: str, body: object
) -> None:
    await life.begin()
    await life.publish(WIDER)
    await life.post("upgrade")
    before = await life.view()
    theirs = await other.send_json(method, f"/api/installs/{life.id}{tail}", body)
    nobodys = await other.send_json(method, f"/api/installs/11111111-1111-4111-8111-111111111111{tail}", body)
    refused(theirs, 404, "not_installed")
    assert nobodys.json() | {"request_id": ""} == theirs.json() | {"request_id": ""}
    assert await life.view() == before

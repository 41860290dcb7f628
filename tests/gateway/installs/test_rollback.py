"""Going back: to the version that ran before, or to a named one, with the grants and settings it had then."""

from __future__ import annotations

import pytest

from shared.capabilities import DEFAULTS
from tests.gateway.bundles import bundle
from tests.gateway.installs.versions import CONSENT, NAME, SAME, SMALL, WIDER, Life
from tests.gateway.registry_flow import install, refused

CONFIGURED = {"type": "object", "properties": {"region": {"type": "string"}}, "additionalProperties": False}
RENAMED = {
    "type": "object",
    "properties": {"zone": {"type": "string"}},
    "required": ["zone"],
    "additionalProperties": False,
}


async def test_one_call_goes_back_to_the_version_that_ran_before(life: Life) -> None:
    before = await life.begin(grants={"withhold": ["user.read"]})
    await life.publish(WIDER)
    await life.upgraded(grants=CONSENT)
    answer = await life.post("rollback")
    assert answer.status == 200
    found = answer.json()
    assert (found["version"], found["granted"]) == ("1.0.0", before["granted"])
    assert found["content_hash"] == SMALL.digest
    assert await life.history() == [("rollback", "1.0.0"), ("upgrade", "2.0.0"), ("install", "1.0.0")]
    feed = await life.rows("select kind, subject from state_feed order by seq desc limit 2")
    extension = before["extension_id"]
    assert feed == [("ui_gone", f"{extension}/{WIDER.digest}"), ("ui_live", f"{extension}/{SMALL.digest}")]
    audit = await life.rows("select action from extension_audit_log order by id desc limit 1")
    assert audit == [("install.rolled_back",)]


async def test_an_empty_body_asks_for_nothing_in_particular(life: Life) -> None:
    await life.begin()
    await life.publish(SAME)
    await life.upgraded()
    answer = await life.client.request("POST", f"/api/installs/{life.id}/rollback")
    assert (answer.status, answer.json()["version"]) == (200, "1.0.0")


async def test_going_back_twice_goes_back_two_versions(life: Life) -> None:
    await life.begin()
    await life.publish(SAME, bundle(NAME, "1.2.0"))
    await life.upgraded(version="1.1.0")
    await life.upgraded(version="1.2.0")
    assert (await life.post("rollback")).json()["version"] == "1.1.0"
    assert (await life.post("rollback")).json()["version"] == "1.0.0"
    refused(await life.post("rollback"), 409, "conflict")
    await life.upgraded(version="1.2.0")
    assert (await life.post("rollback")).json()["version"] == "1.0.0"


async def test_a_named_version_that_ran_here_comes_back_with_the_grants_it_had_last(life: Life) -> None:
    await life.begin(WIDER, grants=CONSENT)
    narrowed = await life.client.put(f"/api/installs/{life.id}/grants", CONSENT | {"secrets": []})
    await life.publish(bundle(NAME, "3.0.0"), bundle(NAME, "3.1.0"))
    await life.upgraded(version="3.0.0")
    await life.upgraded(version="3.1.0")
    found = (await life.post("rollback", {"version": "2.0.0"})).json()
    assert (found["version"], found["granted"]) == ("2.0.0", narrowed.json())


async def test_a_version_that_never_ran_here_is_not_gone_back_to(life: Life) -> None:
    await life.begin()
    await life.publish(SAME, bundle(NAME, "1.2.0"))
    await life.upgraded(version="1.2.0")
    refused(await life.post("rollback", {"version": "1.1.0"}), 404, "not_found")
    refused(await life.post("rollback", {"version": "8.0.0"}), 404, "not_found")
    refused(await life.post("rollback", {"version": "1.2.0"}), 409, "conflict")
    assert (await life.view())["version"] == "1.2.0"


async def test_a_version_that_only_waited_never_ran(life: Life) -> None:
    await life.begin()
    await life.publish(SAME, WIDER)
    await life.post("upgrade", {"version": "2.0.0"})
    refused(await life.post("rollback"), 409, "conflict")
    refused(await life.post("rollback", {"version": "2.0.0"}), 404, "not_found")


@pytest.mark.parametrize("named", [{}, {"version": "1.0.0"}])
async def test_nothing_goes_back_to_a_revoked_version(life: Life, named: dict[str, str]) -> None:
    await life.begin()
    await life.publish(SAME)
    await life.upgraded()
    await life.revoke("1.0.0")
    refused(await life.post("rollback", named), 403, "revoked")
    assert (await life.view())["version"] == "1.1.0"


async def test_going_back_ends_what_waits(life: Life) -> None:
    await life.begin()
    await life.publish(SAME, WIDER)
    await life.upgraded(version="1.1.0")
    await life.post("upgrade", {"version": "2.0.0"})
    assert (await life.post("rollback")).json()["upgrade"] is None


async def test_settings_stay_where_the_old_version_allows_them(life: Life) -> None:
    await life.begin(bundle(NAME, config=CONFIGURED), config={"region": "emea"})
    await life.publish(bundle(NAME, "1.1.0", config=CONFIGURED))
    await life.upgraded()
    await life.client.put(f"/api/installs/{life.id}/config", {"config": {"region": "apac"}})
    await life.post("rollback")
    assert (await life.get("/config")).json()["config"] == {"region": "apac"}


async def test_settings_the_old_version_refuses_become_those_it_had(life: Life) -> None:
    await life.begin(bundle(NAME, config=CONFIGURED), config={"region": "emea"})
    await life.publish(bundle(NAME, "1.1.0", config=RENAMED))
    await life.upgraded(config={"zone": "z1"})
    assert (await life.post("rollback")).status == 200
    assert (await life.get("/config")).json()["config"] == {"region": "emea"}


async def test_what_ran_before_an_install_was_removed_is_not_gone_back_to(life: Life) -> None:
    await life.begin(WIDER, grants=CONSENT)
    await life.publish(bundle(NAME, "3.0.0"))
    await life.upgraded()
    await life.client.delete(f"/api/installs/{life.id}")
    again = await install(life.client, NAME, version="3.0.0")
    assert (again.json()["install_id"], again.json()["granted"]["capabilities"]) == (life.id, list(DEFAULTS))
    refused(await life.post("rollback"), 409, "conflict")
    refused(await life.post("rollback", {"version": "2.0.0"}), 404, "not_found")


# ---- grants and history -------------------------------------------------------------------------------------


async def test_grants_are_replaced_within_what_is_asked_for(life: Life) -> None:
    begun = await life.begin(WIDER)
    path = f"/api/installs/{life.id}/grants"
    assert (await life.client.get(path)).json() == begun["granted"]
    wider = await life.client.put(path, CONSENT | {"withhold": ["user.read"]})
    assert (wider.status, wider.json()["egress"]) == (200, ["api.example.com"])
    assert wider.json()["capabilities"] == sorted({*DEFAULTS, "cap:http.fetch"} - {"cap:user.read"})
    view = await life.view()
    assert (view["granted"], view["generation"]) == (wider.json(), begun["generation"] + 1)
    refused(await life.client.put(path, {"capabilities": ["storage.kv"]}), 400, "invalid_request")
    refused(await life.client.put(path, {"egress": ["evil.example.com"]}), 400, "invalid_request")
    assert (await life.client.get(path)).json() == wider.json()
    assert (await life.client.put(path, {})).json() == {"capabilities": list(DEFAULTS), "egress": [], "secrets": []}
    assert await life.history() == [("grants", "2.0.0"), ("grants", "2.0.0"), ("install", "2.0.0")]


async def test_history_is_walked_page_by_page_newest_first(life: Life) -> None:
    begun = await life.begin()
    await life.publish(SAME, WIDER)
    await life.upgraded(version="1.1.0")
    await life.post("upgrade", {"version": "2.0.0"})
    first = (await life.get("/history?limit=2")).json()
    rest = (await life.get(f"/history?limit=2&cursor={first['next_cursor']}")).json()
    items = first["items"] + rest["items"]
    assert rest["next_cursor"] is None
    assert [one["action"] for one in items] == ["consent_asked", "upgrade", "install"]
    assert [one["version"] for one in items] == ["2.0.0", "1.1.0", "1.0.0"]
    assert items[-1]["granted"] == begun["granted"]
    assert {one["actor"] for one in items} == {"user:user-1"}
    assert set(items[0]) == {"id", "action", "version", "version_id", "granted", "actor", "at"}

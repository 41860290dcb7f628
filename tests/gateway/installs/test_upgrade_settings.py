"""Upgrades and what an install has besides its version: settings that must fit, secrets that must be asked for."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.context import GatewayContext
from gateway.store.storage import Asker, Write
from shared.errors import StorageNamespaceDenied
from tests.gateway.bundles import bundle
from tests.gateway.installs.versions import CONSENT, NAME, WIDER, Life, asks
from tests.gateway.registry_flow import refused

SETTINGS = {"type": "object", "properties": {"region": {"type": "string"}}, "additionalProperties": False}
STRICTER = {
    "type": "object",
    "properties": {"region": {"type": "string", "enum": ["emea"]}, "depth": {"type": "integer", "default": 3}},
    "required": ["region"],
}


async def test_settings_that_the_new_version_refuses_are_named(life: Life) -> None:
    await life.begin(bundle(NAME, config=SETTINGS), config={"region": "mars"})
    await life.publish(bundle(NAME, "1.1.0", config=STRICTER))
    answer = await life.post("upgrade")
    refused(answer, 400, "invalid_request")
    assert answer.json()["path"] == "$.region"
    assert "`config`" in answer.json()["detail"]
    assert (await life.view())["version"] == "1.0.0"
    refused(await life.post("upgrade", {"config": {"region": "moon"}}), 400, "invalid_request")
    await life.upgraded(config={"region": "emea"})
    assert (await life.get("/config")).json() == {"config": {"region": "emea", "depth": 3}, "version": 2}


async def test_settings_that_fit_stay_and_get_the_new_defaults(life: Life) -> None:
    await life.begin(bundle(NAME, config=SETTINGS), config={"region": "emea"})
    await life.publish(bundle(NAME, "1.1.0", config=STRICTER), bundle(NAME, "1.2.0", config=STRICTER))
    await life.upgraded(version="1.1.0")
    assert (await life.get("/config")).json() == {"config": {"region": "emea", "depth": 3}, "version": 2}
    await life.upgraded(version="1.2.0")
    assert (await life.get("/config")).json()["version"] == 2  # nothing to write


async def test_settings_that_came_with_an_upgrade_wait_with_it(life: Life) -> None:
    await life.begin(bundle(NAME, config=SETTINGS), config={"region": "mars"})
    await life.publish(bundle(NAME, "2.0.0", config=STRICTER, **asks(WIDER)))
    assert (await life.post("upgrade", {"config": {"region": "emea"}})).status == 202
    assert (await life.get("/config")).json()["config"] == {"region": "mars"}
    await life.post("consent", {"grants": CONSENT})
    assert (await life.get("/config")).json()["config"] == {"region": "emea", "depth": 3}


async def test_a_secret_nobody_asks_for_any_more_is_kept_and_not_given(life: Life, gateway: GatewayContext) -> None:
    await life.begin(WIDER, grants=CONSENT)
    await life.client.put(f"/api/installs/{life.id}/secrets", {"token": "t"})
    assert [one.name for one in (await gateway.resolver.resolve("acme", life.id)).secrets] == ["token"]
    await life.publish(bundle(NAME, "3.0.0", capabilities=["http.fetch"]))
    await life.upgraded()
    gateway.resolver.forget("acme")
    assert (await gateway.resolver.resolve("acme", life.id)).secrets == ()
    (listed,) = (await life.get("/secrets")).json()["secrets"]
    assert (listed["name"], listed["set"], listed["granted"]) == ("token", True, False)


async def test_a_secret_that_was_free_needs_its_grant_once_it_was_asked_for(
    life: Life, gateway: GatewayContext
) -> None:
    await life.begin(bundle(NAME, capabilities=["secrets.get"]), grants={"capabilities": ["secrets.get"]})
    await life.client.put(f"/api/installs/{life.id}/secrets", {"token": "t"})
    named: dict[str, Any] = {"permissions": {"secrets": [{"name": "token"}]}}
    await life.publish(
        bundle(NAME, "2.0.0", capabilities=["secrets.get"], **named),
        bundle(NAME, "3.0.0", capabilities=["secrets.get"]),
    )
    await life.upgraded(version="2.0.0", grants={"capabilities": ["secrets.get"]})  # the secret is denied
    await life.upgraded(version="3.0.0")  # which names none, and may not have it by that
    gateway.resolver.forget("acme")
    assert (await gateway.resolver.resolve("acme", life.id)).secrets == ()
    await life.post("rollback", {"version": "1.0.0"})  # where nothing was asked for, it was given
    gateway.resolver.forget("acme")
    assert [one.name for one in (await gateway.resolver.resolve("acme", life.id)).secrets] == ["token"]


# ---- calls under way ----------------------------------------------------------------------------------------


async def test_a_guest_that_runs_during_an_upgrade_keeps_its_storage_unless_the_right_went(
    life: Life, gateway: GatewayContext
) -> None:
    keeps = {"capabilities": ["storage.kv"]}
    begun = await life.begin(bundle(NAME, capabilities=["storage.kv"]), grants=keeps)
    running = Asker(tenant_id="acme", install_id=life.id, generation=begun["generation"])
    await life.publish(bundle(NAME, "1.1.0", capabilities=["storage.kv"]), bundle(NAME, "2.0.0"))
    await life.upgraded(version="1.1.0")
    assert (await gateway.records.put(running, "notes", Write(key="k", value=b"1"))).revision == 1
    await life.upgraded(version="2.0.0")
    with pytest.raises(StorageNamespaceDenied):
        await gateway.records.put(running, "notes", Write(key="k", value=b"2"))

"""The console's page for a version that waits: what it shows, to whom, and what its buttons do."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.app import create_public_app
from gateway.context import GatewayContext
from shared.capabilities import DEFAULTS
from shared.keys import PrivateKey
from tests.gateway.asgi import Client
from tests.gateway.bundles import bundle
from tests.gateway.console.visitor import Browser
from tests.gateway.installs.versions import NAME, Life
from tests.gateway.people import Host
from tests.gateway.services import DatabaseUrls
from tests.gateway.stub_compiler import StubCompiler

OLD = bundle(
    NAME,
    capabilities=["storage.kv", "http.fetch"],
    permissions={"egress": ["old.example.com", "denied.example.com"]},
    ui={"type": "iframe", "entry": "ui/index.html"},
)
NEW = bundle(
    NAME,
    "2.0.0",
    capabilities=["http.fetch", "events.publish"],
    permissions={
        "egress": [
            "old.example.com",
            "denied.example.com",
            {"host": "new.example.com", "reason": "reads <b>rates</b>"},
        ],
        "secrets": [{"name": "token", "description": "of your account"}],
    },
    limits={"timeoutMs": 20_000},
    ui={"type": "iframe", "entry": "ui/index.html", "hooks": {"clientPortalMenu": {"label": "Sync"}}},
)


@pytest.fixture
async def life(public: Client, compiler: StubCompiler, publisher_key: PrivateKey, database: DatabaseUrls) -> Life:
    """An install with a version that waits."""
    found = Life(public, compiler, publisher_key, database)
    grants = {"capabilities": ["http.fetch"], "egress": ["old.example.com"], "withhold": ["user.read"]}
    await found.begin(OLD, grants=grants)
    await found.publish(NEW)
    assert (await found.post("upgrade")).status == 202
    return found


async def browsing(gateway: GatewayContext, host: Host, **claims: Any) -> Browser:
    found = Browser(create_public_app(gateway))
    await found.sign_in(host.token(**claims))
    return found


@pytest.fixture
async def browser(gateway: GatewayContext, host: Host) -> Browser:
    return await browsing(gateway, host)


def page(life: Life) -> str:
    return f"/msp/extensions/{life.id}/upgrade"


async def test_the_page_shows_what_is_new_and_what_goes(browser: Browser, life: Life) -> None:
    answer = await browser.get(page(life))
    assert answer.status == 200
    text = answer.body.decode()
    for shown in (
        "1.0.0 → 2.0.0",
        "cap:events.publish",
        "new.example.com: “reads &lt;b&gt;rates&lt;/b&gt;”",
        "token: “of your account”",
        "20000 ms instead of 5000",
        "users of the client portal",
        "cap:storage.kv",
    ):
        assert shown in text
    assert "denied.example.com" not in text  # asked for before, denied, and not asked again


async def test_lists_and_pages_lead_there_for_those_who_decide(
    browser: Browser, gateway: GatewayContext, host: Host, life: Life
) -> None:
    reader = await browsing(gateway, host, permissions=("extension:read",))
    for path in ("/msp/extensions", f"/msp/extensions/{life.id}"):
        assert f'href="{page(life)}"' in (await browser.get(path)).body.decode()
        assert page(life) not in (await reader.get(path)).body.decode()
    assert (await reader.get(page(life))).status == 403


async def test_allowing_grants_what_was_shown_and_nothing_that_was_denied(browser: Browser, life: Life) -> None:
    fields = {"csrf_token": await browser.token(page(life)), "version": "2.0.0", "decision": "allow"}
    answer = await browser.post(page(life), fields)
    assert (answer.status, answer.header("location")) == (303, "/msp/extensions")
    found = await life.view()
    assert (found["version"], found["upgrade"]) == ("2.0.0", None)
    assert found["granted"] == {
        "capabilities": sorted({*DEFAULTS, "cap:http.fetch", "cap:events.publish"} - {"cap:user.read"}),
        "egress": ["new.example.com", "old.example.com"],
        "secrets": ["token"],
    }
    assert (await browser.get(page(life))).status == 409


async def test_declining_stays_with_the_old_version(browser: Browser, life: Life) -> None:
    fields = {"csrf_token": await browser.token(page(life)), "version": "2.0.0", "decision": "decline"}
    assert (await browser.post(page(life), fields)).status == 303
    found = await life.view()
    assert (found["version"], found["upgrade"]) == ("1.0.0", None)


@pytest.mark.security
@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"csrf_token": "x"}, 403),
        ({"csrf_token": ""}, 403),
        ({"version": "1.9.0"}, 409),
        ({"decision": "perhaps"}, 400),
        ({"decision": ""}, 400),
    ],
)
async def test_a_form_that_is_not_the_pages_own_changes_nothing(
    browser: Browser, life: Life, changed: dict[str, str], status: int
) -> None:
    fields = {"csrf_token": await browser.token(page(life)), "version": "2.0.0", "decision": "allow"}
    assert (await browser.post(page(life), fields | changed)).status == status
    assert (await life.view())["upgrade"]["version"] == "2.0.0"


@pytest.mark.security
async def test_a_form_from_elsewhere_or_without_a_sign_in_changes_nothing(
    browser: Browser, gateway: GatewayContext, life: Life
) -> None:
    fields = {"csrf_token": await browser.token(page(life)), "version": "2.0.0", "decision": "allow"}
    assert (await browser.post(page(life), fields, sec_fetch_site="cross-site")).status == 403
    nobody = Browser(create_public_app(gateway), host="console.example")
    assert (await nobody.post(page(life), fields)).status == 303  # to the sign-in
    assert (await life.view())["version"] == "1.0.0"


@pytest.mark.security
async def test_another_tenant_sees_no_such_page(gateway: GatewayContext, host: Host, life: Life) -> None:
    stranger = await browsing(gateway, host, tenant="globex")
    assert (await stranger.get(page(life))).status == 404
    fields = {"csrf_token": await stranger.token("/msp/extensions"), "version": "2.0.0", "decision": "allow"}
    assert (await stranger.post(page(life), fields)).status == 404
    assert (await life.view())["version"] == "1.0.0"

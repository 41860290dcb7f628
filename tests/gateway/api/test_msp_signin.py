"""Signing in to the console and out of it, as a browser does: forms, cookies, and what foreign pages cannot do."""

from __future__ import annotations

import dataclasses
import re

import msgspec
import psycopg
import pytest

from gateway.api.signing_in import FORM_COOKIE
from gateway.app import create_public_app
from gateway.context import GatewayContext
from gateway.identity.console import COOKIE
from gateway.settings import GatewaySettings, SettingError, load_settings
from tests.gateway.console.visitor import Browser, form_token
from tests.gateway.people import Host
from tests.gateway.services import DatabaseUrls

SIGN_IN, HOME = "/msp/signin", "/msp/extensions"


@pytest.fixture
def browser(gateway: GatewayContext) -> Browser:
    return Browser(create_public_app(gateway))


def local(gateway: GatewayContext, tenant: str | None = "acme", **changes: object) -> GatewayContext:
    """The same gateway where the console signs somebody in by itself."""
    settings = msgspec.structs.replace(gateway.settings, local_tenant=tenant, **changes)
    return dataclasses.replace(gateway, settings=settings)


def acts(database: DatabaseUrls) -> list[tuple[str, str]]:
    with psycopg.connect(database.owner) as connection:
        return connection.execute(  # type: ignore[return-value]
            "select action, actor from extension_audit_log where action like 'console.%' order by created_at"
        ).fetchall()


async def test_a_token_is_exchanged_for_a_cookie_that_opens_the_console(browser: Browser, host: Host) -> None:
    answer = await browser.sign_in(host.token())
    assert (answer.status, answer.header("location")) == (303, HOME)
    attributes = {part.strip().lower() for part in browser.set[COOKIE].split(";")[1:]}
    assert {"httponly", "samesite=lax", "secure", "path=/"} <= attributes
    assert not [part for part in attributes if part.startswith("domain")]
    page = await browser.get(HOME)
    assert page.status == 200
    assert "Ada" in page.body.decode()
    assert host.token().encode() not in page.body


async def test_nobody_sees_a_page_without_signing_in(browser: Browser) -> None:
    for path in (HOME, f"{HOME}/x", f"{HOME}/x/debug"):
        answer = await browser.get(f"{path}?a=b")
        assert (answer.status, answer.header("set-cookie")) == (303, None)
        assert answer.header("location") == f"{SIGN_IN}?next={path.replace('/', '%2F')}%3Fa%3Db"
    api = await browser.get("/msp/api/extensions/x/bootstrap")
    assert (api.status, api.json()["code"]) == (401, "unauthenticated")


async def test_the_bare_address_leads_to_the_list(browser: Browser) -> None:
    for path in ("/msp", "/msp/"):
        answer = await browser.get(path)
        assert (answer.status, answer.header("location")) == (303, HOME)


@pytest.mark.parametrize("credential", ["", "x", "ak_0123456789abcdef_" + "A" * 43, "a.b.c", "ä"])
async def test_a_bad_credential_is_refused_and_said_in_the_form(browser: Browser, credential: str) -> None:
    answer = await browser.sign_in(credential)
    assert answer.status == 401
    assert b'role="alert"' in answer.body
    assert COOKIE not in browser.cookies


async def test_what_was_typed_is_not_sent_back(browser: Browser) -> None:
    answer = await browser.sign_in("ak_very-secret<script>")
    assert b"very-secret" not in answer.body


async def test_a_client_of_the_tenant_cannot_sign_in(browser: Browser, host: Host) -> None:
    answer = await browser.sign_in(host.token(user_type="client", client_id="c-1"))
    assert answer.status == 403
    assert COOKIE not in browser.cookies


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [
        ("/msp/extensions/x?path=%2Fa", "/msp/extensions/x?path=%2Fa"),
        ("", HOME),
        ("https://evil.example/", HOME),
        ("//evil.example/msp/", HOME),
        ("/msp//evil.example", HOME),
        ("/msp/\\evil.example", HOME),
        ("/msp/../api/installs", HOME),
        ("/api/installs", HOME),
        ("/mspx", HOME),
        ("/msp/signout", HOME),
        ("/msp/signin?next=/msp/signin", HOME),
        ("javascript:alert(1)", HOME),
        ("/msp/x\r\nset-cookie: a=b", HOME),
    ],
)
async def test_after_signing_in_one_is_led_to_the_console_and_nowhere_else(
    browser: Browser, host: Host, wanted: str, leads_to: str
) -> None:
    answer = await browser.sign_in(host.token(), wanted)
    assert (answer.status, answer.header("location")) == (303, leads_to)


# ---- forms of our own pages only ----------------------------------------------------------------------------


async def test_a_form_without_its_token_or_its_cookie_signs_nobody_in(browser: Browser, host: Host) -> None:
    token = await browser.token()
    for fields in ({}, {"csrf_token": ""}, {"csrf_token": "x" + token[1:]}):
        assert (await browser.post(SIGN_IN, {"credential": host.token(), **fields})).status == 403
    browser.cookies.pop(FORM_COOKIE)
    answer = await browser.post(SIGN_IN, {"credential": host.token(), "csrf_token": token})
    assert answer.status == 403
    assert COOKIE not in browser.cookies


async def test_a_foreign_page_can_neither_sign_in_nor_out(browser: Browser, host: Host) -> None:
    token = await browser.token()
    fields = {"credential": host.token(), "csrf_token": token}
    assert (await browser.post(SIGN_IN, fields, sec_fetch_site="cross-site")).status == 403
    await browser.sign_in(host.token())
    out = {"csrf_token": await browser.token(HOME)}
    assert (await browser.post("/msp/signout", out, sec_fetch_site="cross-site")).status == 403
    assert (await browser.post("/msp/signout", {"csrf_token": token})).status == 403
    assert (await browser.get(HOME)).status == 200


async def test_a_form_that_is_none_is_refused(browser: Browser, host: Host) -> None:
    await browser.token()
    assert (await browser.post(SIGN_IN, {}, content_type="application/json")).status == 400
    twice = b"credential=a&credential=b"
    urlencoded = {"content_type": "application/x-www-form-urlencoded"}
    assert (await browser.send("POST", SIGN_IN, twice, **urlencoded)).status == 400
    for size, status in ((64 * 1024 - 11, 403), (64 * 1024 - 10, 413)):
        assert (await browser.send("POST", SIGN_IN, b"credential=" + b"a" * size, **urlencoded)).status == status


# ---- the end ------------------------------------------------------------------------------------------------


async def test_signing_out_ends_the_cookie_in_every_browser(
    browser: Browser, host: Host, database: DatabaseUrls
) -> None:
    await browser.sign_in(host.token())
    kept = dict(browser.cookies)
    answer = await browser.post("/msp/signout", {"csrf_token": await browser.token(HOME)})
    assert (answer.status, answer.header("location")) == (303, f"{SIGN_IN}?left=1")
    assert COOKIE not in browser.cookies
    browser.cookies = kept
    assert (await browser.get(HOME)).header(
        "location",
    ) == f"{SIGN_IN}?next=%2Fmsp%2Fextensions"
    assert acts(database) == [("console.signed_in", "user:user-1"), ("console.signed_out", "user:user-1")]


async def test_signing_out_twice_is_the_same(browser: Browser) -> None:
    assert (await browser.post("/msp/signout", {})).status == 303


async def test_signing_in_as_somebody_else_ends_the_earlier_sign_in(browser: Browser, host: Host) -> None:
    await browser.sign_in(host.token())
    earlier = browser.cookies[COOKIE]
    await browser.sign_in(host.token("globex"))
    assert b"globex" in (await browser.get(HOME)).body
    browser.cookies = {COOKIE: earlier}
    assert (await browser.get(HOME)).status == 303


@pytest.mark.parametrize(
    "path", ["/api/installs", "/api/registry/extensions", "/api/ext/acme.x/hello", "/api/ext-ui/bootstrap/x"]
)
async def test_the_cookie_opens_nothing_but_the_console(browser: Browser, host: Host, path: str) -> None:
    await browser.sign_in(host.token())
    answer = await browser.get(path)
    assert (answer.status, answer.json()["code"]) == (401, "unauthenticated")


# ---- local mode ---------------------------------------------------------------------------------------------


async def test_locally_the_console_signs_in_the_demo_administrator(gateway: GatewayContext) -> None:
    browser = Browser(create_public_app(local(gateway)))
    assert b"Demo Administrator" in (await browser.get(HOME)).body
    first = browser.cookies[COOKIE]
    assert (await browser.get(HOME)).status == 200
    assert browser.cookies[COOKIE] == first
    assert b"continue as the demo administrator of acme" in (await browser.get(SIGN_IN)).body


@pytest.mark.parametrize("site", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:8000"])
async def test_a_site_that_pretends_to_be_this_machine_is_signed_in_as_nobody(
    gateway: GatewayContext, site: str
) -> None:
    browser = Browser(create_public_app(local(gateway)), site)
    answer = await browser.get(HOME)
    assert (answer.status, answer.header("set-cookie")) == (303, None)


async def test_nothing_but_reading_the_console_signs_anybody_in(gateway: GatewayContext) -> None:
    browser = Browser(create_public_app(local(gateway)))
    assert (await browser.get(SIGN_IN)).status == 200
    assert (await browser.post("/msp/signout", {})).status == 303
    assert (await browser.get("/api/installs")).status == 401
    assert (await browser.get("/api/ext-debug/stream?extensionId=x")).status == 401
    assert COOKIE not in browser.cookies


@pytest.mark.parametrize("changes", [{"tenant": None}, {"mode": "production"}])
async def test_without_the_setting_or_outside_local_mode_nobody_is_signed_in(
    gateway: GatewayContext, changes: dict[str, str]
) -> None:
    browser = Browser(create_public_app(local(gateway, **changes)))
    assert (await browser.get(HOME)).status == 303
    assert re.search(rb"demo administrator", (await browser.get(SIGN_IN)).body) is None


def test_outside_local_mode_the_setting_stops_the_start(environment: dict[str, str]) -> None:
    found: GatewaySettings = load_settings({**environment, "GATEWAY_LOCAL_TENANT": "acme"})
    assert found.local_tenant == "acme"
    with pytest.raises(SettingError, match="GATEWAY_LOCAL_TENANT"):
        load_settings({**environment, "GATEWAY_LOCAL_TENANT": "acme", "EXT_MODE": "production"})


async def test_the_token_of_a_page_is_that_of_its_own_sign_in(browser: Browser, host: Host) -> None:
    await browser.sign_in(host.token())
    one = form_token(await browser.get(HOME))
    await browser.sign_in(host.token())
    assert form_token(await browser.get(HOME)) != one

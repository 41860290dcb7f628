"""The console's pages: what they show, to whom, and what the browser may do with them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gateway.app import create_public_app
from gateway.console.theme import DARK, LIGHT
from gateway.context import GatewayContext
from shared.keys import PrivateKey
from tests.gateway.asgi import Answer, Client
from tests.gateway.bundles import bundle
from tests.gateway.console.visitor import Browser
from tests.gateway.people import ALL, Host
from tests.gateway.registry_flow import install, publish
from tests.gateway.stub_compiler import StubCompiler

HOME = "/msp/extensions"
PAGE = {"type": "iframe", "entry": "ui/index.html", "hooks": {"appMenu": {"label": 'Notes & "more" <b>'}}}


@pytest.fixture
async def browser(gateway: GatewayContext, host: Host) -> Browser:
    found = Browser(create_public_app(gateway))
    await found.sign_in(host.token())
    return found


@pytest.fixture
async def notes(public: Client, compiler: StubCompiler, publisher_key: PrivateKey) -> dict[str, Any]:
    """An install of an extension with pages and an icon."""
    one = bundle("acme.notes", ui=PAGE, icon="ui/icon.svg", description="Keeps <i>notes</i>.")
    await publish(public, compiler, one, publisher_key)
    found: dict[str, Any] = (await install(public, "acme.notes")).json()
    return found


@pytest.fixture
async def crm(public: Client, compiler: StubCompiler, publisher_key: PrivateKey) -> dict[str, Any]:
    """An install of an extension without pages."""
    await publish(public, compiler, bundle("acme.crm"), publisher_key)
    found: dict[str, Any] = (await install(public, "acme.crm")).json()
    return found


def policy(answer: Answer) -> dict[str, str]:
    text = answer.header("content-security-policy")
    assert text is not None
    return {name: rest for name, _, rest in (part.strip().partition(" ") for part in text.split(";"))}


async def test_the_list_shows_installs_with_state_and_version(browser: Browser, notes: Any, crm: Any) -> None:
    page = (await browser.get(HOME)).body.decode()
    for shown in ("acme.acme.notes", "acme.acme.crm", "1.0.0", "Enabled"):
        assert shown in page
    assert f'href="/msp/extensions/{notes["install_id"]}"' in page
    assert f'href="/msp/extensions/{crm["install_id"]}"' not in page
    assert f'href="/msp/extensions/{crm["install_id"]}/debug"' in page
    assert "No page of its own" in page


async def test_what_an_extension_calls_itself_is_text(browser: Browser, notes: Any) -> None:
    for path in (HOME, f"{HOME}/{notes['install_id']}", f"{HOME}/{notes['install_id']}/debug"):
        page = (await browser.get(path)).body.decode()
        assert "Notes &amp; &#34;more&#34; &lt;b&gt;" in page
        assert "<b>" not in page
        assert "<i>notes" not in page


async def test_icons_come_from_the_asset_origin_only(browser: Browser, notes: Any) -> None:
    answer = await browser.get(HOME)
    digest = notes["content_hash"].replace(":", "%3A")
    assert f'src="https://assets.example/ext-ui/{notes["extension_id"]}/{digest}/ui/icon.svg"' in answer.body.decode()
    assert policy(answer)["img-src"] == "'self' https://assets.example"


async def test_a_disabled_extension_is_listed_but_not_opened(browser: Browser, public: Client, notes: Any) -> None:
    await public.post(f"/api/installs/{notes['install_id']}/disable")
    page = (await browser.get(HOME)).body.decode()
    assert "Disabled" in page
    assert f'href="/msp/extensions/{notes["install_id"]}"' not in page
    assert (await browser.get(f"{HOME}/{notes['install_id']}")).status == 404
    answer = await browser.get(f"/msp/api/extensions/{notes['install_id']}/bootstrap")
    assert (answer.status, answer.json()["code"]) == (404, "extension_disabled")


async def test_an_empty_list_says_what_to_do(browser: Browser) -> None:
    assert b"Nothing is installed" in (await browser.get(HOME)).body


async def test_long_lists_have_pages(browser: Browser, notes: Any, crm: Any) -> None:
    first = (await browser.get(f"{HOME}?limit=1")).body.decode()
    following = re.search(r'href="(/msp/extensions\?cursor=[^"]+)" rel="next"', first)
    assert following
    second = (await browser.get(following[1])).body.decode()
    shown = {name for name in ("acme.acme.notes", "acme.acme.crm") if name in first}
    assert len(shown) == 1
    assert shown.isdisjoint({name for name in ("acme.acme.notes", "acme.acme.crm") if name in second})
    assert "First page" in second
    assert (await browser.get(f"{HOME}?limit=0")).status == 400
    assert (await browser.get(f"{HOME}?cursor=x")).status == 400


@pytest.mark.parametrize("form", ["install_id", "extension_id", "name"])
async def test_an_extension_may_be_named_in_every_form(browser: Browser, notes: Any, form: str) -> None:
    reference = "acme.acme.notes" if form == "name" else notes[form]
    assert (await browser.get(f"{HOME}/{reference}")).status == 200


async def test_the_page_of_an_extension_may_frame_the_asset_origin_and_nothing_else(
    browser: Browser, notes: Any
) -> None:
    answer = await browser.get(f"{HOME}/{notes['install_id']}?path=/a/1%3Fx")
    assert policy(answer)["frame-src"] == "https://assets.example"
    bootstrap = f'data-bootstrap="/msp/api/extensions/{notes["install_id"]}/bootstrap?path=%2Fa%2F1%3Fx"'
    assert bootstrap in answer.body.decode()


@pytest.mark.parametrize("path", ["x", "//evil.example", "/\\evil.example", "/a b", "/a%0ab", "/" + "x" * 2048])
async def test_a_view_that_is_none_is_refused(browser: Browser, notes: Any, path: str) -> None:
    assert (await browser.get(f"{HOME}/{notes['install_id']}?path={path}".replace(" ", "%20"))).status == 400


async def test_the_console_opens_an_extension_with_a_session_for_it(
    browser: Browser, gateway: GatewayContext, notes: Any
) -> None:
    answer = await browser.get(f"/msp/api/extensions/{notes['install_id']}/bootstrap?path=/notes")
    found = answer.json()
    assert answer.header("cache-control") == "no-store"
    assert (found["extensionId"], found["allowedOrigin"]) == (notes["extension_id"], "https://assets.example")
    assert found["src"].endswith(f"/index.html?path=%2Fnotes&extensionId={notes['extension_id']}")
    assert (found["themeTokens"], found["darkThemeTokens"], found["initialPath"]) == (LIGHT, DARK, "/notes")
    bearer = [(b"authorization", f"Bearer {found['session']['token']}".encode())]
    principal = await gateway.identity.authenticate(bearer, iframe=True)
    assert (principal.tenant_id, principal.install_id, principal.kind) == ("acme", notes["install_id"], "iframe")


async def test_another_tenants_extension_does_not_exist(gateway: GatewayContext, host: Host, notes: Any) -> None:
    other = Browser(create_public_app(gateway))
    await other.sign_in(host.token("globex"))
    for path in (f"{HOME}/{notes['install_id']}", f"{HOME}/{notes['install_id']}/debug", f"{HOME}/acme.acme.notes"):
        assert (await other.get(path)).status == 404
    answer = await other.get(f"/msp/api/extensions/{notes['install_id']}/bootstrap")
    assert (answer.status, answer.json()["code"]) == (404, "not_installed")
    assert b"acme.notes" not in (await other.get(HOME)).body


@pytest.mark.parametrize(
    ("path", "permission"),
    [(HOME, "extension:read"), ("/one", "extension:read"), ("/one/debug", "extension:debug")],
)
async def test_a_page_names_the_permission_that_is_missing(
    gateway: GatewayContext, host: Host, notes: Any, path: str, permission: str
) -> None:
    poor = Browser(create_public_app(gateway))
    await poor.sign_in(host.token(permissions=tuple(name for name in ALL if name != permission)))
    answer = await poor.get(path.replace("/one", f"{HOME}/{notes['install_id']}"))
    assert answer.status == 403
    assert permission in answer.body.decode()
    assert (answer.header("content-type") or "").startswith("text/html")


async def test_the_log_is_offered_to_those_who_may_see_it(gateway: GatewayContext, host: Host, notes: Any) -> None:
    reader = Browser(create_public_app(gateway))
    await reader.sign_in(host.token(permissions=("extension:read",)))
    assert b"/debug" not in (await reader.get(HOME)).body


async def test_the_log_page_follows_the_stream_of_its_install(browser: Browser, notes: Any) -> None:
    answer = await browser.get(f"{HOME}/{notes['extension_id']}/debug")
    assert f'data-stream="/api/ext-debug/stream?installId={notes["install_id"]}"' in answer.body.decode()
    assert policy(answer)["frame-src"] == "'none'"


async def test_every_page_is_locked_down(browser: Browser, notes: Any) -> None:
    nonces = set()
    one = f"{HOME}/{notes['install_id']}"
    for path in ("/msp/signin", HOME, one, f"{one}/debug", f"{HOME}/absent"):
        answer = await browser.get(path)
        found = policy(answer)
        assert found["default-src"] == found["base-uri"] == found["frame-ancestors"] == "'none'"
        nonce = re.fullmatch(r"'nonce-([A-Za-z0-9_-]{24})'", found["script-src"])
        assert nonce
        assert found["style-src"] == found["script-src"]
        nonces.add(nonce[1])
        page = answer.body.decode()
        for tag in re.findall(r"<(?:script|link rel=\"stylesheet\")[^>]*>", page):
            assert f'nonce="{nonce[1]}"' in tag
        assert re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page) is None
        assert re.findall(r"<script[^>]*>(.+?)</script>", page, re.DOTALL) == []
        for header, value in (
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-opener-policy", "same-origin"),
        ):
            assert answer.header(header) == value
    assert len(nonces) == 5


async def test_every_file_of_a_page_is_there_and_kept_for_ever(browser: Browser, notes: Any) -> None:
    one = f"{HOME}/{notes['install_id']}"
    found = set()
    for path in (HOME, one, f"{one}/debug"):
        found |= set(re.findall(r'(?:src|href)="(/msp/static/[^"]+)"', (await browser.get(path)).body.decode()))
    assert {name.rpartition("/")[2] for name in found} == {
        "console.css", "debug.js", "extension.js", "icon.svg", "theme.css"
    }  # fmt: skip
    browser.cookies.clear()
    for name in found:
        answer = await browser.get(name)
        assert (answer.status, answer.header("cache-control")) == (200, "public, max-age=31536000, immutable")
        assert (await browser.get(re.sub("static/[0-9a-f]+", "static/0000", name))).status == 404

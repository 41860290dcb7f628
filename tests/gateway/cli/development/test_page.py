"""The page of `dev`: nothing without its key, nothing for other sites, and never the author's own credential."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from gateway.cli.access import Target
from gateway.cli.development.page import Page, serving
from gateway.cli.rest import connected
from tests.gateway.cli.small_gateway import SmallGateway, as_json

CANARY = "ak_canary_7f3a91c2"
SESSION = {"token": "frame-session", "expires_at": "2030-01-01T00:00:00Z"}


@pytest.fixture
async def page(small_gateway: SmallGateway) -> AsyncIterator[Page]:
    small_gateway.on(
        "GET",
        "/api/ext-ui/bootstrap/i-1",
        as_json({"session": SESSION, "themeTokens": {"--alga-bg": "#fff"}, "src": "https://elsewhere.example/"}),
    )
    small_gateway.on("GET", "/api/ext/e-1/hello", as_json({"message": "hi"}))
    async with connected(Target(small_gateway.url, CANARY)) as gateway:
        shown = Page(gateway, 'local.notes <"&')
        async with serving(shown, 0):
            shown.shows("e-1", "i-1", "http://127.0.0.1:7")
            yield shown


async def asked(url: str, method: str = "GET", **headers: str) -> tuple[int, str, Any]:
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=headers) as answer:
        return answer.status, await answer.text(), answer.headers


async def test_the_page_frames_the_previews_origin_and_nothing_else(page):
    status, text, headers = await asked(page.url)
    assert status == 200
    assert "local.notes &lt;&quot;&amp;" in text
    policy = headers["content-security-policy"]
    assert "frame-src http://127.0.0.1:7" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert 'data-frames="http://127.0.0.1:7"' in text
    for name in ("page.js", "page.css", "host.js"):
        assert (await asked(page.url + name))[0] == 200


@pytest.mark.parametrize("path", ["/", "/bootstrap", "/wrong-key/", "/wrong-key/bootstrap", "/wrong-key/changes"])
async def test_without_the_key_there_is_nothing(page, path):
    assert (await asked(page.origin + path))[0] == 404


@pytest.mark.parametrize("path", ["", "bootstrap", "changes", "page.js"])
async def test_other_names_of_this_machine_and_other_sites_get_nothing(page, path):
    assert (await asked(page.url + path, host="rebound.example"))[0] == 421
    assert (await asked(page.url + path, **{"sec-fetch-site": "cross-site"}))[0] == 403
    assert (await asked(page.url + path, **{"sec-fetch-site": "same-site"}))[0] == 403


async def test_each_opening_names_a_digest_nobody_named_before(page, small_gateway):
    first, second = [json.loads((await asked(page.url + "bootstrap"))[1]) for _ in range(2)]
    assert first["contentHash"] != second["contentHash"]
    assert first["session"] == SESSION
    assert first["allowedOrigin"] == "http://127.0.0.1:7"
    assert "src" not in first
    assert small_gateway.asked[-1].headers["authorization"] == f"Bearer {CANARY}"


async def test_the_authors_credential_reaches_no_browser_and_no_call_of_the_frame(page, small_gateway):
    for path in ("", "bootstrap", "page.js", "host.js"):
        _, text, headers = await asked(page.url + path)
        assert CANARY not in text + str(headers)
    status, text, _ = await asked(page.url + "api/ext/e-1/hello", authorization="Bearer frame-session", cookie="a=b")
    assert (status, json.loads(text)) == (200, {"message": "hi"})
    sent = small_gateway.calls("GET", "/api/ext/e-1/hello")[0].headers
    assert sent["authorization"] == "Bearer frame-session"
    assert "cookie" not in sent


@pytest.mark.parametrize("path", ["api/ext/e-1/hello", "api/ext/other/hello"])
async def test_a_call_without_a_session_or_of_another_extension_goes_nowhere(page, small_gateway, path):
    headers = {} if "e-1" in path else {"authorization": "Bearer frame-session"}
    assert (await asked(page.url + path, **headers))[0] == 403
    assert [one for one in small_gateway.asked if "/api/ext/" in one.path] == []


async def test_a_dead_gateway_is_a_reason_on_the_page(page, small_gateway):
    small_gateway.routes.clear()
    status, text, _ = await asked(page.url + "bootstrap")
    assert (status, "404" in json.loads(text)["detail"]) == (502, True)


async def test_open_pages_hear_of_changes(page):
    async with aiohttp.ClientSession() as session, session.get(page.url + "changes") as stream:
        assert b"state" in await stream.content.readuntil(b"\n\n")
        assert b"event: reload" in await stream.content.readuntil(b"\n\n")
        page.tell("building…", "line 1\nline 2")
        said = await stream.content.readuntil(b"\n\n")
        assert json.loads(said.split(b"data: ")[1]) == {"state": "building…", "problem": "line 1\nline 2"}
        page.reload()
        assert b"event: reload" in await stream.content.readuntil(b"\n\n")


async def test_before_anything_is_installed_nothing_is_framed_and_the_page_knows_it(page):
    page.shows("", "", "")
    status, text, headers = await asked(page.url)
    assert (status, 'data-frames=""' in text) == (200, True)
    assert "frame-src 'none'" in headers["content-security-policy"]
    assert (await asked(page.url + "bootstrap"))[0] == 503

"""An extension that wants more than it was given, in a real browser: it gets its own session once, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import playwright
import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Frame, Page, expect

from deploy.local.record import Stack
from tests.browser.published import Installed, install

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGES = Path(__file__).parent / "hostile"
FONT = next(Path(playwright.__file__).parent.rglob("codicon*.ttf"))  # any font will do; this one is always there


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def hostile(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The hostile extension, installed for `acme`."""
    files = {path.name: path.read_bytes() for path in PAGES.iterdir()} | {"probe.ttf": FONT.read_bytes()}
    return await install(stack, tmp_path_factory.mktemp("hostile"), "tests.hostile", files)


@contextlib.asynccontextmanager
async def elsewhere() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Somebody else's server: its address, and what it was asked."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 5\r\nconnection: close\r\n\r\nother"
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


async def opened(page: Page, found: Installed) -> Frame:
    """The frame of the extension, once its attacks are over."""
    await page.goto(f"/msp/extensions/{found.install_id}")
    await expect(page.frame_locator("#frame").locator("#results")).to_contain_text("}")
    return page.frames[-1]


async def results(frame: Frame) -> Any:
    return json.loads(await frame.locator("#results").inner_text())


async def test_a_page_that_pretends_and_guesses_gets_nothing(page: Page, hostile: Installed, stack: Stack) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    found = await results(await opened(page, hostile))
    assert found["portsBeforeTheNonce"] == 0
    assert found["portsAfterTheNonce"] == 1
    assert found["windowMessages"] == [{"alga": True, "version": "1", "type": "port", "payload": {}}]
    assert found["hasToken"] is True
    assert set(found["escapes"]) == {"route_refused"}
    assert found["ownCall"] == 404, "its own path, and its own session: there is no handler"
    gateway = [urlsplit(url).path for url in requests if url.startswith(stack.gateway_url)]
    assert [path for path in gateway if path.startswith("/api/")] == [f"/api/ext/{hostile.extension_id}/x"]


async def test_the_sandbox_keeps_page_and_host_apart(page: Page, hostile: Installed) -> None:
    found = await results(await opened(page, hostile))
    assert found["origin"] == "null"
    for attempt in ("parentDocument", "topNavigation", "cookies", "storage"):
        assert found[attempt] == "SecurityError", attempt
    assert found["network"] == "TypeError", "its policy says connect-src 'none'"
    assert found["popup"] == "nothing"


async def test_module_scripts_and_fonts_load_in_an_opaque_origin(page: Page, hostile: Installed) -> None:
    found = await results(await opened(page, hostile))
    assert (found["module"], found["font"]) == (True, "1")


async def test_a_later_document_of_the_frame_gets_nothing(page: Page, hostile: Installed) -> None:
    frame = await opened(page, hostile)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    await frame.evaluate("leave()")
    await expect(page.frame_locator("#frame").locator("#results")).to_have_text('{"ports":0,"messages":0}')
    await expect(page.get_by_role("alert")).to_contain_text("another document")
    assert [url for url in requests if "/api/" in url] == []


async def test_an_extension_cannot_navigate_its_frame_to_another_site(page: Page, hostile: Installed) -> None:
    async with elsewhere() as (address, asked):
        frame = await opened(page, hostile)
        await frame.evaluate("address => void location.assign(address)", address)
        await expect(page.get_by_role("alert")).to_contain_text("another document")
        assert page.frames[-1].url.startswith("chrome-error:")
        assert asked == []


async def test_an_extension_opened_alone_has_no_more_rights(
    context: BrowserContext, hostile: Installed, stack: Stack
) -> None:
    page = await context.new_page()
    await page.goto("/msp/extensions")  # the visitor is signed in
    digest = hostile.content_hash
    await page.goto(f"{stack.runner_public_base}/ext-ui/{hostile.extension_id}/{digest}/index.html")
    assert await page.evaluate("origin") == "null"
    assert (
        await page.evaluate("fetch('/healthz').then((answer) => answer.status, (error) => error.name)") == "TypeError"
    )
    with pytest.raises(Exception, match="SecurityError"):
        await page.evaluate("document.cookie")


async def test_a_foreign_page_cannot_frame_an_extension(page: Page, hostile: Installed, stack: Stack) -> None:
    src = f"{stack.runner_public_base}/ext-ui/{hostile.extension_id}/{hostile.content_hash}/index.html"
    async with elsewhere() as (address, _asked):
        await page.goto(address)
        await page.evaluate(
            """src => new Promise((resolve) => {
                 const frame = document.createElement('iframe');
                 frame.onload = resolve;
                 frame.src = src;
                 document.body.append(frame);
               })""",
            src,
        )
        assert page.frames[-1].url.startswith("chrome-error:")

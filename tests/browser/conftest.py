"""A real Chromium in front of the running platform.

Where there is none, every test here is skipped with one line that says so; `REQUIRE_BROWSER=1` makes that an error.
What a test looked at is kept as a picture in `.local/screenshots`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from deploy.local.record import Stack
from tests.browser import chromium

HERE = Path(__file__).parent
SCREENSHOTS = HERE.parents[1] / ".local" / "screenshots"
WAIT_MAX_MS = 20_000  # a first call of a cold guest, or a first page in a cold browser, on a busy machine

Shoot = Callable[[Page, str], Awaitable[None]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is here, and skips it where there is no browser."""
    ours = [item for item in items if item.path.is_relative_to(HERE)]
    missing = chromium.find() is None
    if ours and missing and chromium.required():
        raise pytest.UsageError(f"REQUIRE_BROWSER is set, but {chromium.MISSING}")
    for item in ours:
        item.add_marker("browser")
        item.add_marker(pytest.mark.timeout(180, func_only=True))
        if missing:
            item.add_marker(pytest.mark.skip(reason=chromium.MISSING))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for the session; each test has a context, and so cookies, of its own."""
    async with async_playwright() as playwright:
        expect.set_options(timeout=WAIT_MAX_MS)  # a locator's expectations have a limit of their own: 5 s
        found = await playwright.chromium.launch(executable_path=chromium.find(), args=list(chromium.ARGUMENTS))
        yield found
        await found.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, stack: Stack) -> AsyncIterator[BrowserContext]:
    """A visitor who has never been here."""
    found = await browser.new_context(base_url=stack.gateway_url, viewport={"width": 1200, "height": 820})
    found.set_default_timeout(WAIT_MAX_MS)
    yield found
    await found.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> Page:
    """The visitor's tab."""
    return await context.new_page()


@pytest.fixture
def shoot(request: pytest.FixtureRequest) -> Shoot:
    """Keeps a picture of a page under the test's name."""

    async def shoot(page: Page, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        stem = re.sub(r"[^a-z0-9]+", "-", f"{request.node.name} {name}".removeprefix("test_").lower()).strip("-")
        await page.screenshot(path=SCREENSHOTS / f"{stem}.png")

    return shoot

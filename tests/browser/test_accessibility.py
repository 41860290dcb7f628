"""What axe-core (Deque's rules for WCAG 2.2 A and AA) finds on the console's pages, in both themes: nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Frame, Page, expect

from deploy.local.record import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = Path(__file__).parents[2] / "gateway" / "sdk" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


async def violations(frame: Frame) -> list[str]:
    """Each violation with the elements it is about."""
    await frame.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = await frame.evaluate(
        "rules => axe.run(document, {runOnly: rules, iframes: false, resultTypes: ['violations']})", RULES
    )
    return [f"{violation['id']}: {[node['html'] for node in violation['nodes']]}" for violation in found["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_keeps_the_rules(page: Page, stack: Stack, scheme: str) -> None:
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    one = f"/msp/extensions/{stack.extension('hello-quickjs', 'acme').install_id}"
    for path in ("/msp/signin", "/msp/extensions", f"{one}/debug", "/msp/extensions/absent", one):
        await page.goto(path)
        await expect(page.locator("h1")).to_be_visible()
        assert await violations(page.main_frame) == [], path
    await expect(page.frame_locator("#frame").locator("#greeting")).to_have_text("The handler says hello.")
    assert await violations(page.frames[-1]) == []

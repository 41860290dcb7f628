"""The page of `alga-ext dev` in a real browser: a file below `ui/` is saved, and the open page shows it within a second."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from deploy.local.record import NAME, Stack
from tests.system.authors import Author

SHOWN_MAX_S = 1.0


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="session")
async def test_a_saved_page_is_seen_within_a_second(
    page: Page, stack: Stack, stack_directory: Path, tmp_path: Path
) -> None:
    author = Author(tmp_path, stack_directory / NAME)
    author.asks("new", "seen", "--template", "ui-only")
    author.folder /= "seen"
    shown = author.folder / "ui" / "index.html"
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    with author.develops("--no-logs") as development:
        url = await asyncio.to_thread(development.next, lambda line: line["event"] == "page")
        assert (await asyncio.to_thread(development.round))["ok"] is True
        await page.goto(url["url"])
        inside = page.frame_locator("iframe")
        await expect(inside.locator("body")).to_be_attached()
        await expect(page.locator("#state")).to_contain_text("answers")
        took_s: list[float] = []
        for number in range(3):
            shown.write_text(f"<!doctype html><title>t</title><h1>seen {number}</h1>")
            began = time.monotonic()
            await expect(inside.get_by_text(f"seen {number}")).to_be_visible()
            took_s.append(time.monotonic() - began)
            await asyncio.to_thread(development.round)
        print(f"\nvisible after {', '.join(f'{one:.2f}' for one in took_s)} s")
        assert min(took_s) < SHOWN_MAX_S
        (author.folder / "manifest.json").write_text("{")
        await expect(page.locator("#problem")).to_be_visible()
    assert said == []
    author.types("uninstall", "local.local.seen", "--purge", "--yes")

"""Work behind the answer: it ends with the block, is bounded, and its failures are seen."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from runner.bundles import background as background_module
from runner.bundles.background import WAITING_MAX, Background


async def test_leaving_the_block_waits_for_what_was_started():
    done: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append("done")

    async with Background() as background:
        assert background.start("work", work())
        assert done == []
    assert done == ["done"]


async def test_what_does_not_end_in_time_is_cancelled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(background_module, "CLOSE_MAX_S", 0)
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async with Background() as background:
        background.start("work", work())
        await asyncio.sleep(0)
    assert ended == ["cancelled"]


async def test_one_more_than_the_limit_is_not_started():
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()

    async with Background() as background:
        assert all(background.start("work", work()) for _ in range(WAITING_MAX))
        assert not background.start("one more", work())
        gate.set()


async def test_a_failure_is_logged_with_its_name_and_harms_nobody():
    async def work() -> None:
        raise OSError("disk")

    with structlog.testing.capture_logs() as lines:
        async with Background() as background:
            background.start("keep artefact", work())
    assert [(line["event"], line["work"]) for line in lines] == [("background_work_failed", "keep artefact")]

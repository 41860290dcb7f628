"""The loop of `dev`: a newer change ends a build that hangs, a failure is told, and the watch goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.cli.access import Target
from gateway.cli.development.changes import Kind
from gateway.cli.development.rounds import Rounds, Told
from gateway.cli.rest import connected
from gateway.cli.terminal import Terminal
from shared.keys import PrivateKey
from tests.gateway.cli.projects import GOOD_TOOLCHAIN, pages_only, with_guest, write
from tests.gateway.cli.small_gateway import SmallGateway, refusing

HANGING = """
import { writeFileSync } from 'node:fs';
writeFileSync('started', String(process.pid));
setInterval(() => {}, 1000);
export const componentize = () => new Promise(() => {});
"""


class Loop:
    """A running loop, with changes made by hand."""

    def __init__(self) -> None:
        self.changes: asyncio.Queue[Kind] = asyncio.Queue()
        self.states: list[tuple[str, str]] = []
        self.heard = asyncio.Event()
        self.reloads = 0

    async def stream(self) -> AsyncIterator[Kind]:
        while True:
            yield await self.changes.get()

    def page(self, state: str, problem: str) -> None:
        self.states.append((state, problem))
        self.heard.set()

    def reload(self) -> None:
        self.reloads += 1
        self.heard.set()

    async def until(self, state: str) -> str:
        """The problem that came with a state; waits for it and forgets it."""
        async with asyncio.timeout(60):
            while not (found := [problem for name, problem in self.states if state in name]):
                self.heard.clear()
                await self.heard.wait()
        self.states.clear()
        return found[0]


async def started(folder: Path) -> str:
    """The process of the toolchain, once it has begun."""
    place = folder / "started"
    async with asyncio.timeout(60):
        while not place.is_file() or not place.read_text():  # noqa: ASYNC110 - a program of its own sends no event
            await asyncio.sleep(0)
    return place.read_text()


@contextlib.asynccontextmanager
async def running(folder: Path, gateway: SmallGateway, scratch: Path) -> AsyncIterator[Loop]:
    loop, told = Loop(), Told(Terminal(json=False))
    told.page, told.reload = loop.page, loop.reload
    async with connected(Target(gateway.url, "ak_test")) as connection:
        rounds = Rounds(folder, connection, PrivateKey(b"\5" * 32), scratch, told)
        tasks = [asyncio.create_task(rounds.hear(loop.stream())), asyncio.create_task(rounds.run())]
        try:
            yield loop
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def refused(small_gateway: SmallGateway) -> SmallGateway:
    """A gateway that takes nothing, and says so in a way that can be recognised."""
    small_gateway.on("POST", "/api/registry/bundles", refusing(403, "forbidden", "reached the registry"))
    return small_gateway


async def test_a_newer_change_ends_a_build_that_hangs_with_all_it_started(tmp_path, refused):
    folder = with_guest(tmp_path / "project", HANGING)
    async with running(folder, refused, tmp_path) as loop:
        pid = await started(folder)
        write(
            folder, {"node_modules/componentize-qjs/index.js": GOOD_TOOLCHAIN, "src/handler.js": "export let handler"}
        )
        await loop.changes.put(Kind.CODE)
        assert "reached the registry" in await loop.until("not in order")
        assert not Path(f"/proc/{pid}").exists()


async def test_the_end_ends_a_build_that_hangs(tmp_path, refused):
    folder = with_guest(tmp_path / "project", HANGING)
    async with running(folder, refused, tmp_path):
        pid = await started(folder)
    assert not Path(f"/proc/{pid}").exists()


async def test_a_mistake_is_told_and_its_correction_is_tried(tmp_path, refused, capsys):
    folder = pages_only(tmp_path)
    manifest = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text("{")
    async with running(folder, refused, tmp_path) as loop:
        assert await loop.until("not in order")
        (folder / "manifest.json").write_text(manifest)
        await loop.changes.put(Kind.CODE)
        assert "reached the registry" in await loop.until("not in order")
    assert "the watch goes on" in capsys.readouterr().err


async def test_pages_are_opened_anew_before_their_version_is_made_and_nothing_is_built(tmp_path, refused):
    folder = with_guest(tmp_path / "project")
    write(folder, {"dist/main.wasm": "\0asm"})
    async with running(folder, refused, tmp_path) as loop:
        await loop.until("not in order")
        before = (folder / "dist" / "main.wasm").stat().st_mtime_ns
        await loop.changes.put(Kind.PAGES)
        assert "reached the registry" in await loop.until("not in order")
        assert loop.reloads == 1
        assert (folder / "dist" / "main.wasm").stat().st_mtime_ns == before

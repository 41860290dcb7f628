"""How a run over many digests goes: bounded, again when the store or the machine was at fault, whole when cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from runner.aot.compiler import Compiler, Target
from runner.aot.inventory import BUNDLES
from runner.aot.precompile import PAUSE_S, Outcome, Precompilation, Report
from runner.aot.role import Role
from runner.bundles.background import Background
from runner.bundles.cache import DiskCache
from runner.bundles.negative import NegativeCache
from runner.bundles.statements import Statements
from shared.deadline import Deadline
from shared.errors import ArtefactUnavailable, ComponentInvalid, PlatformError
from shared.ids import ContentHash, digest_hex
from shared.keys import PrivateKey
from shared.limits import PRECOMPILE_ATTEMPTS_MAX
from shared.wire import PrepareResponse
from tests.runner.memory_store import MemoryObjects
from tests.runner.published import Published, publish, trusting
from tests.runner.waiting import until

KEY = PrivateKey.generate()
TARGET = Target(engine_id="wasmtime-test", cpu_target="x86_64-unknown-linux-gnu", fuel=False)


class Preparing:
    """Stands where the compiler stands; says what it is told, and how many asked at once."""

    def __init__(self) -> None:
        self.refusals: list[Exception] = []
        self.asked: list[ContentHash] = []
        self.at_once = self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def present(self, component_sha256: str, deadline: Deadline) -> bool:
        return False

    async def prepare(self, content_hash: ContentHash, allow_unused_imports: bool) -> PrepareResponse:
        assert allow_unused_imports
        self.asked.append(content_hash)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        self.at_once -= 1
        if self.refusals:
            raise self.refusals.pop(0)
        return PrepareResponse(
            content_hash=content_hash,
            component_sha256=None,
            imports=(),
            exports=(),
            initial_memory_bytes=0,
            sizes={},
            manifest=b"{}",
            artefact="compiled",
        )


class Run:
    """One run over bundles in a store in memory."""

    def __init__(self, role: Role, store: MemoryObjects, preparing: Preparing) -> None:
        self.role, self.store, self.preparing = role, store, preparing
        self.told: list[tuple[Outcome, int]] = []
        self.pauses: list[float] = []

    def over(self, bundles: list[Published], at_once: int = 2) -> Precompilation:
        return Precompilation(
            self.role,
            [bundle.content_hash for bundle in bundles],
            at_once=at_once,
            only_accepted=True,
            compiles=True,
            told=lambda outcome, number: self.told.append((outcome, number)),
            pause=self.paused,
        )

    async def paused(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def reported(self, bundles: list[Published], at_once: int = 2) -> Report:
        work = self.over(bundles, at_once)
        await work.run()
        return work.report()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Published]:
    folder = tmp_path_factory.mktemp("bundles")
    return [publish(folder / str(n), KEY, {"dist/main.wasm": b"guest %d" % n}, ui=None) for n in range(6)]


@pytest.fixture
async def run(bundles: list[Published], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Run]:
    store = MemoryObjects()
    for bundle in bundles:
        store.held |= bundle.objects
        store.held[f"{BUNDLES}{digest_hex(bundle.content_hash)}/manifest.json"] = b"{}"
    cache = DiskCache(tmp_path / "cache", max_bytes=0)
    preparing = Preparing()
    # Nothing is believed for longer than a pause, which here takes no time.
    monkeypatch.setattr(NegativeCache, "remember", lambda *_: None)
    async with Background() as background:
        statements = Statements(store, cache, trusting(KEY), background)
        yield Run(Role(cast(Compiler, preparing), statements, store, TARGET), store, preparing)
        await statements.aclose()


@pytest.mark.parametrize("at_once", [1, 2, 5, 6, 7])
async def test_so_many_at_once_and_no_more(run: Run, bundles: list[Published], at_once: int):
    run.preparing.gate.clear()
    work = run.over(bundles, at_once)
    running = asyncio.create_task(work.run())
    await until(lambda: run.preparing.at_once == min(at_once, len(bundles)))
    run.preparing.gate.set()
    await running
    assert run.preparing.most_at_once == min(at_once, len(bundles))
    assert work.report().complete
    assert [number for _, number in run.told] == [1, 2, 3, 4, 5, 6]
    assert sorted(run.preparing.asked) == sorted(bundle.content_hash for bundle in bundles)


async def test_a_machine_in_trouble_is_given_time_and_asked_again(run: Run, bundles: list[Published]):
    run.preparing.refusals = [ArtefactUnavailable("killed", retry_after_s=7), ArtefactUnavailable("killed")]
    report = await run.reported(bundles[:1])
    assert report.complete
    assert run.pauses == [7, PAUSE_S]


async def test_a_store_that_is_away_is_a_failure_after_the_last_attempt(run: Run, bundles: list[Published]):
    run.store.away = True
    report = await run.reported(bundles[:2])
    assert not report.complete
    assert {one.code for one in report.unready} == {"bundle_unavailable"}
    assert len(run.pauses) == 2 * (PRECOMPILE_ATTEMPTS_MAX - 1)


@pytest.mark.parametrize("error", [ComponentInvalid("no handler"), PlatformError("odd")])
async def test_a_verdict_is_final(run: Run, bundles: list[Published], error: Exception):
    run.preparing.refusals = [error]
    report = await run.reported(bundles[:1])
    assert [(one.status, one.detail) for one in report.unready] == [("failed", str(error))]
    assert run.pauses == []


async def test_a_defect_of_ours_fails_its_digest_and_no_other(run: Run, bundles: list[Published]):
    run.preparing.refusals = [ZeroDivisionError("division by zero")]
    report = await run.reported(bundles, at_once=1)
    assert (report.ready, report.needed) == (5, 6)
    assert [one.code for one in report.unready] == ["internal"]
    assert "division" not in report.unready[0].detail


async def test_a_run_that_is_cut_off_counts_what_it_did_not_reach(run: Run, bundles: list[Published]):
    work = run.over(bundles, at_once=1)
    run.preparing.gate.clear()
    running = asyncio.create_task(work.run())
    await until(lambda: run.preparing.at_once)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    report = work.report()
    assert (report.complete, report.interrupted, report.ready, report.needed) == (False, True, 0, 6)
    assert {one.content_hash for one in report.unready} == {bundle.content_hash for bundle in bundles}


async def test_nothing_at_all_is_complete_only_when_it_may_be(run: Run):
    work = run.over([])
    await work.run()
    assert not work.report().complete
    assert work.report(may_be_empty=True).complete

"""A thousand first requests, a thousand for nothing, and a disk that lies. Rows T60, T61."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from runner.aot.loader import ArtefactLoader
from runner.bundles.background import Background
from runner.bundles.cache import DiskCache
from runner.bundles.statements import Statements
from runner.metrics import RunnerMetrics
from runner.sandbox import frames
from runner.sandbox.pool import SandboxPool
from shared.deadline import Deadline
from shared.errors import BundleNotFound
from shared.ids import ContentHash
from shared.keys import PrivateKey
from tests.runner.aot.fakes import FakeCompiler
from tests.runner.aot.signed_code import AOT, CPU, ENGINE, pair, taken
from tests.runner.memory_store import MemoryObjects
from tests.runner.published import publish, trusting
from tests.runner.sandbox.driving import Driver
from tests.runner.waiting import until

HERD = 1000
KEY = PrivateKey.generate()
CODE = b"native code " * 1000
ABSENT = ContentHash("sha256:" + "0" * 64)


def soon() -> Deadline:
    return Deadline.after_ms(20_000)


class Node:
    """A runner's loaders, its disk, the store and the compiler behind them."""

    def __init__(self, folder: Path, background: Background) -> None:
        self.bundle = publish(folder / "bundle", KEY)
        self.store = MemoryObjects(self.bundle.objects)
        self.compiler = FakeCompiler(self.store)
        self.metrics = RunnerMetrics()
        self.disk = folder / "cache"
        self._background = background
        self.trust = trusting(KEY)
        self.loaders: list[ArtefactLoader] = []

    def loader(self) -> ArtefactLoader:
        """One more worker process of this node, which has nothing in memory yet."""
        cache = DiskCache(self.disk, max_bytes=1 << 26)
        loader = ArtefactLoader(
            statements=Statements(self.store, cache, self.trust, self._background),
            cache=cache,
            objects=self.store,
            compiler=self.compiler,
            keys=[AOT.public],
            engine_id=ENGINE,
            cpu_target=CPU,
            background=self._background,
            cold_loads=self.metrics,
            tampered=self.metrics.tampered,
        )
        self.loaders.append(loader)
        return loader

    def blobs(self) -> list[Path]:
        """What the disk keeps of the artefact."""
        return sorted(path for path in (self.disk / "blobs").glob("artefacts/*") if path.is_file())

    def count(self, sample: str) -> float:
        """A number of the runner's metrics; 0 when there is none of this name."""
        lines = self.metrics.text().decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{sample} ")), 0.0)


@pytest_asyncio.fixture(loop_scope="session")
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with Background() as background:
        made = Node(tmp_path, background)
        await DiskCache(made.disk, max_bytes=1 << 26).open()
        yield made
        for loader in made.loaders:
            await loader.aclose()


async def herd(loader: ArtefactLoader, digest: ContentHash) -> list[asyncio.Task[tuple[bytes, str]]]:
    """A thousand first requests, all of them waiting."""

    async def one() -> tuple[bytes, str]:
        return taken(await loader.load(digest, soon()))

    tasks = [asyncio.create_task(one()) for _ in range(HERD)]
    await asyncio.sleep(0)
    return tasks


# ---- T60 ------------------------------------------------------------------------------------------------------


async def test_t60_a_thousand_first_requests_read_each_object_once(node: Node) -> None:
    node.store.held |= pair(node.bundle, CODE)
    node.store.gate.clear()
    tasks = await herd(node.loader(), node.bundle.content_hash)
    node.store.gate.set()
    assert Counter(await asyncio.gather(*tasks)) == {(CODE, "store"): HERD}
    assert set(node.store.reads.values()) == {1}
    assert node.compiler.asked == 0


async def test_t60_a_thousand_first_requests_ask_for_one_compilation(node: Node) -> None:
    node.compiler.leaves = pair(node.bundle, CODE)
    node.compiler.gate.clear()
    tasks = await herd(node.loader(), node.bundle.content_hash)
    await until(lambda: node.compiler.asked)
    node.compiler.gate.set()
    assert Counter(await asyncio.gather(*tasks)) == {(CODE, "compiled"): HERD}
    assert node.compiler.asked == 1
    assert node.store.reads[node.bundle.signature_key] == 1
    assert set(node.store.reads.values()) <= {1, 2}  # there was nothing before the compilation, and a pair behind it


async def test_t60_a_thousand_requests_at_two_workers_of_a_node_ask_for_one_compilation(node: Node) -> None:
    node.compiler.leaves = pair(node.bundle, CODE)
    node.compiler.gate.clear()
    tasks = [
        *(await herd(node.loader(), node.bundle.content_hash)),
        *(await herd(node.loader(), node.bundle.content_hash)),
    ]
    await until(lambda: node.compiler.asked)
    node.compiler.gate.set()
    assert {code for code, _ in await asyncio.gather(*tasks)} == {CODE}
    assert node.compiler.asked == 1


async def test_t60_a_thousand_requests_for_a_digest_that_does_not_exist_cost_one_read_and_then_none(
    node: Node,
) -> None:
    node.store.gate.clear()
    loader = node.loader()
    tasks = await herd(loader, ABSENT)
    node.store.gate.set()
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(error, BundleNotFound)
    assert sum(node.store.reads.values()) == 1
    for _ in range(HERD):
        with pytest.raises(BundleNotFound):
            await loader.load(ABSENT, soon())
    assert sum(node.store.reads.values()) == 1
    assert node.compiler.asked == 0


# ---- T61 ------------------------------------------------------------------------------------------------------


async def stored_on_disk(node: Node, code: bytes) -> None:
    """Load once, so that the disk keeps it."""
    node.store.held |= pair(node.bundle, code)
    assert taken(await node.loader().load(node.bundle.content_hash, soon()))[0] == code
    await until(lambda: len(node.blobs()) == 2)


def flip(path: Path, at: float) -> None:
    """Turn one bit of a file around, this far into it."""
    data = bytearray(path.read_bytes())
    data[min(int(len(data) * at), len(data) - 1)] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", [".zst", ".sig"])
@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
async def test_t61_a_bit_that_was_flipped_on_the_disk_is_noticed_and_the_bytes_are_fetched_again(
    node: Node, suffix: str, at: float
) -> None:
    await stored_on_disk(node, CODE)
    (blob,) = [path for path in node.blobs() if path.name.endswith(suffix)]
    good = blob.read_bytes()
    flip(blob, at)
    assert blob.read_bytes() != good
    before = sum(node.store.reads.values())
    with capture_logs() as logged:
        assert taken(await node.loader().load(node.bundle.content_hash, soon())) == (CODE, "store")
    assert sum(node.store.reads.values()) == before + 2
    assert [(line["log_level"], line["where"]) for line in logged if line["event"] == "cache_tampered"] == [
        ("error", "disk")
    ]
    assert node.count('ext_cache_tampered_total{where="disk"}') == 1
    await until(lambda: len(node.blobs()) == 2 and blob.read_bytes() == good)
    assert taken(await node.loader().load(node.bundle.content_hash, soon())) == (CODE, "disk")
    assert node.count('ext_cache_tampered_total{where="disk"}') == 1


async def test_t61_code_that_somebody_put_on_the_disk_is_never_run(
    node: Node, pool: SandboxPool, behaviours: bytes, tenant: str
) -> None:
    """The file is replaced by code that would answer otherwise, packed as it should be; the guest answers as before."""
    await stored_on_disk(node, behaviours)
    strangers = pair(node.bundle, b"\x90" * len(behaviours), PrivateKey.generate())
    for path, data in zip(node.blobs(), (strangers[name] for name in sorted(strangers)), strict=True):
        path.write_bytes(data)
    loader = node.loader()
    loaded: list[tuple[bytes, str]] = []

    async def load(deadline: Deadline) -> int:
        artefact = await loader.load(node.bundle.content_hash, deadline)
        loaded.append((os.pread(artefact.memfd, artefact.size_bytes + 1, 0), artefact.source))
        return artefact.memfd

    driver = Driver(pool, behaviours, node.bundle.content_hash)
    await pool.ensure(node.bundle.content_hash, load, soon())
    outcome = await driver.call(tenant=tenant, body=b"as before")
    assert isinstance(outcome.result, frames.Done)
    assert outcome.result.body == b"as before"
    assert loaded == [(behaviours, "store")]
    assert node.count('ext_cache_tampered_total{where="disk"}') == 1

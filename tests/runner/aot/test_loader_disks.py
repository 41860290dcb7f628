"""Loading code on a disk that is full or read-only: a real file system in either state, and calls that still run.

Mounting one needs root; without it these tests are skipped, and what a failing disk does is tried by
`tests/runner/bundles/test_cache.py` with failures made up.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runner.aot import artefacts
from runner.aot.loader import ArtefactLoader
from runner.bundles.background import Background
from runner.bundles.cache import DiskCache
from runner.bundles.statements import Statements
from shared.deadline import Deadline
from shared.errors import CacheFull
from shared.keys import PrivateKey
from tests.runner.aot.fakes import FakeCompiler, Stages
from tests.runner.aot.signed_code import AOT, CODE, CPU, ENGINE, pair, taken
from tests.runner.memory_store import MemoryObjects
from tests.runner.published import Published, publish, trusting
from tests.runner.waiting import settled

KEY = PrivateKey.generate()
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")


def soon() -> Deadline:
    return Deadline.after_ms(10_000)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return publish(tmp_path_factory.mktemp("bundle"), KEY)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


class Node:
    """Loaders on one cache directory, each a worker of its own."""

    def __init__(self, root: Path, store: MemoryObjects, background: Background) -> None:
        self.root, self.store, self.background = root, store, background
        self.compiler = FakeCompiler(store)
        self.stages = Stages()
        self.made: list[ArtefactLoader] = []

    async def worker(self) -> tuple[ArtefactLoader, DiskCache]:
        cache = DiskCache(self.root, max_bytes=1 << 20)
        await cache.open()
        loader = ArtefactLoader(
            statements=Statements(self.store, cache, trusting(KEY), self.background),
            cache=cache,
            objects=self.store,
            compiler=self.compiler,
            keys=[AOT.public],
            engine_id=ENGINE,
            cpu_target=CPU,
            background=self.background,
            cold_loads=self.stages,
        )
        self.made.append(loader)
        return loader, cache


@pytest.fixture
async def node(tmp_path: Path, bundle: Published) -> AsyncIterator[Node]:
    async with Background() as background:
        found = Node(tmp_path / "disk" / "cache", MemoryObjects(bundle.objects), background)
        yield found
        for loader in found.made:
            await loader.aclose()


def fill(disk: Path) -> None:
    """Leave not one byte."""
    with (disk / "filler").open("wb", buffering=0) as out:
        while True:
            try:
                if out.write(b"\0" * 4096) == 0:
                    return
            except OSError as error:
                assert error.errno == errno.ENOSPC
                return


@needs_root
async def test_on_a_full_disk_every_worker_loads_from_the_store_and_keeps_it_in_memory(
    disk: Path, node: Node, bundle: Published
):
    node.store.held |= pair(bundle)
    first, cache = await node.worker()
    fill(disk)
    assert taken(await first.load(bundle.content_hash, soon())) == (CODE, "store")
    await settled()
    assert not cache.writable
    second, _ = await node.worker()
    assert taken(await second.load(bundle.content_hash, soon())) == (CODE, "store")
    node.store.away = True
    for loader in (first, second):
        assert taken(await loader.load(bundle.content_hash, soon())) == (CODE, "memory")
    assert [path for path in (disk / "cache").rglob("*") if path.is_file() and path.parent.name != "locks"] == []


@needs_root
async def test_on_a_full_disk_a_missing_artefact_is_still_compiled(disk: Path, node: Node, bundle: Published):
    node.compiler.leaves = pair(bundle)
    loader, _ = await node.worker()
    fill(disk)
    assert taken(await loader.load(bundle.content_hash, soon())) == (CODE, "compiled")
    assert node.compiler.asked == 1


@needs_root
async def test_a_disk_that_became_read_only_still_serves_what_it_has_and_takes_nothing_new(
    disk: Path, node: Node, bundle: Published, tmp_path: Path
):
    node.store.held |= pair(bundle)
    first, _ = await node.worker()
    taken(await first.load(bundle.content_hash, soon()))
    await settled()
    other = publish(tmp_path / "other", KEY, {"dist/main.wasm": b"another guest"}, ui=None)
    node.store.held |= other.objects | pair(other)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    second, _ = await node.worker()
    assert taken(await second.load(bundle.content_hash, soon())) == (CODE, "disk")
    assert taken(await second.load(other.content_hash, soon())) == (CODE, "store")
    third, _ = await node.worker()
    assert taken(await third.load(other.content_hash, soon())) == (CODE, "store")
    await settled()
    assert [path.name for path in (disk / "cache" / "tmp").iterdir()] == []


@needs_root
@pytest.mark.security
async def test_bad_bytes_on_a_read_only_disk_cannot_be_dropped_and_are_still_never_loaded(
    disk: Path, node: Node, bundle: Published
):
    node.store.held |= pair(bundle)
    first, _ = await node.worker()
    taken(await first.load(bundle.content_hash, soon()))
    await settled()
    (file,) = (disk / "cache" / "blobs" / "artefacts").glob("*.zst")
    file.write_bytes(artefacts.pack(b"evil"))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for _ in range(2):
        loader, _ = await node.worker()
        assert taken(await loader.load(bundle.content_hash, soon())) == (CODE, "store")


# ---- memory -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("room", "fits"), [(1, True), (0, True), (-1, False)])
async def test_code_that_does_not_fit_into_memory_is_cache_full_and_may_be_tried_again(
    tmp_path: Path, node: Node, bundle: Published, room: int, fits: bool
):
    """The kernel's bound on a file stands in for memory that is used up: a memfd is refused in the same place."""
    (tmp_path / "disk").mkdir()
    node.store.held |= pair(bundle)
    loader, _ = await node.worker()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CODE) + room, hard))
    try:
        if fits:
            assert taken(await loader.load(bundle.content_hash, soon())) == (CODE, "store")
            return
        with pytest.raises(CacheFull) as raised:
            await loader.load(bundle.content_hash, soon())
        assert raised.value.retry_after_s
        with pytest.raises(CacheFull):  # remembered for a moment, so that it costs nothing
            await loader.load(bundle.content_hash, soon())
        assert sum("cwasm" in name for name in node.store.reads.elements()) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    async with asyncio.timeout(10):
        while True:
            try:
                assert taken(await loader.load(bundle.content_hash, soon())) == (CODE, "store")
            except CacheFull:
                await asyncio.sleep(0.05)  # until it is forgotten
            else:
                return

"""The disk cache: bounded, crash-safe, shared, and never the reason why a request fails."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import multiprocessing
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.bundles.cache import DiskCache
from shared.deadline import Deadline
from tests.runner.waiting import until


def soon() -> Deadline:
    """A deadline counted from now, not from when this file was read."""
    return Deadline.after_ms(60_000)


@pytest.fixture
async def cache(tmp_path: Path) -> DiskCache:
    made = DiskCache(tmp_path / "cache", max_bytes=1000)
    await made.open()
    return made


def age(cache_root: Path, name: str, seconds: float) -> None:
    path = cache_root / "blobs" / name
    os.utime(path, (time.time() - seconds,) * 2)


async def test_a_blob_is_kept_and_read_back(cache: DiskCache):
    assert await cache.read("artefacts/a", 100) is None
    assert await cache.write("artefacts/a", b"data")
    assert await cache.read("artefacts/a", 100) == b"data"


async def test_a_blob_survives_the_process(tmp_path: Path, cache: DiskCache):
    await cache.write("artefacts/a", b"data")
    again = DiskCache(tmp_path / "cache", max_bytes=1000)
    await again.open()
    assert await again.read("artefacts/a", 100) == b"data"


@pytest.mark.parametrize(("limit", "found"), [(3, None), (4, b"data"), (5, b"data")])
async def test_a_blob_longer_than_the_reader_takes_is_a_miss(cache: DiskCache, limit: int, found: bytes | None):
    await cache.write("artefacts/a", b"data")
    assert await cache.read("artefacts/a", limit) == found


async def test_a_dropped_blob_is_gone(cache: DiskCache):
    await cache.write("artefacts/a", b"data")
    await cache.drop("artefacts/a")
    assert await cache.read("artefacts/a", 100) is None
    await cache.drop("artefacts/a")


@pytest.mark.parametrize(
    "name", ["a", "../a", "artefacts/../a", "artefacts/a/b", "artefacts/.a", "artefacts/a\n", "/a/b"]
)
async def test_a_name_that_could_leave_the_cache_is_a_fault_of_ours(cache: DiskCache, name: str):
    with pytest.raises(ValueError, match="not a name of the cache"):
        await cache.read(name, 100)


async def test_files_and_directories_are_the_owners_alone(tmp_path: Path, cache: DiskCache):
    await cache.write("artefacts/a", b"data")
    root = tmp_path / "cache"
    for path in (root, root / "blobs", root / "blobs" / "artefacts", root / "tmp", root / "locks"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    assert stat.S_IMODE((root / "blobs" / "artefacts" / "a").stat().st_mode) == 0o600


async def test_an_open_file_is_adopted_whole_whatever_its_position(tmp_path: Path, cache: DiskCache):
    source = tmp_path / "source"
    source.write_bytes(b"0123456789")
    with source.open("rb") as file:
        file.read(4)
        assert await cache.adopt("archives/a", file)
        assert file.tell() == 4
    assert await cache.read("archives/a", 100) == b"0123456789"


# ---- bounds -------------------------------------------------------------------------------------------------


async def test_the_least_recently_used_blob_makes_room(tmp_path: Path, cache: DiskCache):
    for number, name in enumerate(["artefacts/old", "artefacts/used", "artefacts/new"]):
        await cache.write(name, b"x" * 300)
        age(tmp_path / "cache", name, 100 - number)
    await cache.read("artefacts/old", 1000)  # a use
    await cache.write("artefacts/next", b"x" * 300)
    assert await cache.read("artefacts/used", 1000) is None
    assert await cache.read("artefacts/old", 1000) is not None
    assert await cache.read("artefacts/new", 1000) is not None
    assert await cache.size_bytes() == 900


@pytest.mark.parametrize(("size", "kept"), [(999, True), (1000, True), (1001, False)])
async def test_a_blob_larger_than_the_cache_is_not_kept_and_evicts_nothing(cache: DiskCache, size: int, kept: bool):
    await cache.write("artefacts/small", b"s")
    assert await cache.write("artefacts/large", b"x" * size) is kept
    if not kept:
        assert await cache.read("artefacts/small", 10) == b"s"


# ---- a disk in trouble --------------------------------------------------------------------------------------


async def test_a_root_that_cannot_be_made_is_a_cache_that_misses(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    cache = DiskCache(tmp_path / "file" / "cache", max_bytes=1000)
    await cache.open()
    assert not await cache.write("artefacts/a", b"data")
    assert await cache.read("artefacts/a", 100) is None
    assert not cache.writable
    async with cache.exclusive("artefacts/a", soon()) as waited:
        assert not waited


async def test_a_full_disk_evicts_and_tries_once_more(cache: DiskCache, monkeypatch: pytest.MonkeyPatch):
    await cache.write("artefacts/old", b"x" * 100)
    real = os.fsync
    failures = iter([True])

    def full_once(descriptor: int) -> None:
        if next(failures, False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full_once)
    assert await cache.write("artefacts/new", b"y" * 100)
    assert await cache.read("artefacts/old", 1000) is None
    assert await cache.read("artefacts/new", 1000) == b"y" * 100


async def test_a_disk_that_stays_full_keeps_nothing_half(
    tmp_path: Path, cache: DiskCache, monkeypatch: pytest.MonkeyPatch
):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert not await cache.write("artefacts/new", b"y" * 100)
    assert not cache.writable
    assert await cache.read("artefacts/new", 1000) is None
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []
    assert await cache.write("artefacts/new", b"y" * 100)
    assert cache.writable


def test_a_crash_in_the_middle_of_a_write_leaves_the_old_blob(tmp_path: Path):
    program = """
import asyncio, os, signal, sys
from pathlib import Path
from runner.bundles.cache import DiskCache
from tests.runner.waiting import until

async def main():
    cache = DiskCache(Path(sys.argv[1]), max_bytes=1 << 20)
    await cache.open()
    await cache.write("artefacts/a", b"old")
    os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
    await cache.write("artefacts/a", b"new" * 1000)

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path / "cache")], check=False, timeout=60)
    assert ended.returncode == -9
    assert (tmp_path / "cache" / "blobs" / "artefacts" / "a").read_bytes() == b"old"
    assert len(list((tmp_path / "cache" / "tmp").iterdir())) == 1


async def test_leftovers_of_a_crash_are_swept_at_the_next_start_and_fresh_files_are_not(tmp_path: Path):
    cache = DiskCache(tmp_path / "cache", max_bytes=1000)
    await cache.open()
    tmp = tmp_path / "cache" / "tmp"
    (tmp / "leftover").write_bytes(b"x")
    (tmp / "prepare-leftover").mkdir()
    (tmp / "prepare-leftover" / "component.wasm").write_bytes(b"x")
    (tmp / "being-written").write_bytes(b"x")
    for name in ("leftover", "prepare-leftover"):
        os.utime(tmp / name, (time.time() - 3600,) * 2)
    await cache.open()
    assert [path.name for path in tmp.iterdir()] == ["being-written"]


# ---- several processes --------------------------------------------------------------------------------------


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every attempt to take a lock that somebody holds."""
    found: list[int] = []
    real = fcntl.flock

    def attempt(descriptor: int, operation: int) -> None:
        try:
            real(descriptor, operation)
        except BlockingIOError:
            found.append(descriptor)
            raise

    monkeypatch.setattr(fcntl, "flock", attempt)
    return found


async def test_the_second_holder_waits_for_the_first(cache: DiskCache, refusals: list[int]):
    order: list[str] = []
    release = asyncio.Event()

    async def first() -> None:
        async with cache.exclusive("artefacts/a", soon()) as waited:
            order.append(f"first {waited}")
            await release.wait()
            order.append("first done")

    async def second() -> None:
        async with cache.exclusive("artefacts/a", soon()) as waited:
            order.append(f"second {waited}")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(first())
        await until(lambda: order)
        tasks.create_task(second())
        await until(lambda: refusals)
        release.set()
    assert order == ["first False", "first done", "second True"]


async def test_other_names_do_not_wait(cache: DiskCache):
    async with cache.exclusive("artefacts/a", soon()), cache.exclusive("artefacts/b", soon()) as waited:
        assert not waited


async def test_who_waits_too_long_goes_on_without_the_lock(cache: DiskCache):
    async with (
        cache.exclusive("artefacts/a", soon()),
        cache.exclusive("artefacts/a", Deadline.after_ms(30)) as waited,
    ):
        assert waited


def _hold(root: str, ready: object, release: object) -> None:
    async def main() -> None:
        cache = DiskCache(Path(root), max_bytes=1000)
        await cache.open()
        async with cache.exclusive("artefacts/a", soon()):
            ready.set()  # type: ignore[attr-defined]
            await asyncio.to_thread(release.wait)  # type: ignore[attr-defined]

    asyncio.run(main())


async def test_the_lock_holds_between_processes_and_dies_with_its_holder(
    tmp_path: Path, cache: DiskCache, refusals: list[int]
):
    spawn = multiprocessing.get_context("spawn")
    ready, release = spawn.Event(), spawn.Event()
    holder = spawn.Process(target=_hold, args=(str(tmp_path / "cache"), ready, release))
    holder.start()
    try:
        await asyncio.to_thread(ready.wait, 30)
        waiting = asyncio.create_task(_taken(cache))
        await until(lambda: refusals)
        assert not waiting.done()
        holder.kill()
        assert await waiting
    finally:
        holder.kill()
        holder.join()


async def _taken(cache: DiskCache) -> bool:
    async with cache.exclusive("artefacts/a", soon()) as waited:
        return waited

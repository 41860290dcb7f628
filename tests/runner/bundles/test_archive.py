"""A bundle is handed out only when its bytes have the digest and the digest has a signature."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runner.bundles.archive import Archives
from runner.bundles.background import Background
from runner.bundles.cache import DiskCache
from runner.bundles.statements import Statements
from shared.deadline import Deadline
from shared.errors import BundleNotFound, BundleUnavailable, BundleUntrusted, Revoked
from shared.keys import PrivateKey
from shared.limits import BUNDLE_MAX_BYTES
from shared.trust import TrustStore
from tests.runner.memory_store import MemoryObjects
from tests.runner.published import Published, publish, trusting


def soon() -> Deadline:
    return Deadline.after_ms(10_000)


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return PrivateKey.generate()


@pytest.fixture(scope="module")
def bundle(key: PrivateKey, tmp_path_factory: pytest.TempPathFactory) -> Published:
    return publish(tmp_path_factory.mktemp("bundle"), key)


@pytest.fixture
def store(bundle: Published) -> MemoryObjects:
    return MemoryObjects(bundle.objects)


@pytest.fixture
def trust(key: PrivateKey) -> TrustStore:
    return trusting(key)


@pytest.fixture
async def archives(store: MemoryObjects, trust: TrustStore, tmp_path: Path) -> AsyncIterator[Archives]:
    cache = DiskCache(tmp_path / "cache", max_bytes=1 << 20)
    await cache.open()
    async with Background() as background:
        yield Archives(store, cache, Statements(store, cache, trust, background))


def kept(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "blobs").glob("archives/*"))


async def opened(archives: Archives, bundle: Published) -> bytes:
    async with archives.opened(bundle.content_hash, soon()) as archive:
        assert archive.tell() == 0
        return archive.read()


async def test_a_good_bundle_is_handed_out_and_kept(archives: Archives, bundle: Published, tmp_path: Path):
    assert await opened(archives, bundle) == bundle.objects[bundle.archive_key]
    (file,) = kept(tmp_path)
    assert hashlib.sha256(file.read_bytes()).hexdigest() in bundle.content_hash


async def test_the_second_time_it_comes_from_the_disk(archives: Archives, bundle: Published, store: MemoryObjects):
    await opened(archives, bundle)
    store.away = True
    await opened(archives, bundle)
    assert store.reads[bundle.archive_key] == 1


async def test_processes_of_one_node_fetch_it_once(archives: Archives, bundle: Published, store: MemoryObjects):
    store.gate.clear()
    both = [asyncio.create_task(opened(archives, bundle)) for _ in range(2)]
    store.gate.set()
    assert len({hashlib.sha256(data).hexdigest() for data in await asyncio.gather(*both)}) == 1
    assert store.reads[bundle.archive_key] == 1


@pytest.mark.security
async def test_replaced_bytes_are_refused_after_one_more_try_and_nothing_is_kept(
    archives: Archives, bundle: Published, store: MemoryObjects, tmp_path: Path
):
    store.held[bundle.archive_key] = bundle.objects[bundle.archive_key][:-1] + b"!"
    with pytest.raises(BundleUntrusted, match="digest"):
        await opened(archives, bundle)
    assert store.reads[bundle.archive_key] == 2
    assert kept(tmp_path) == []


async def test_bytes_that_were_wrong_only_once_are_accepted(
    archives: Archives, bundle: Published, store: MemoryObjects
):
    good = store.held.pop(bundle.archive_key)

    class Healing(dict[str, bytes]):
        def __getitem__(self, name: str) -> bytes:
            return good if name == bundle.archive_key and store.reads[name] > 1 else super().__getitem__(name)

    store.held = Healing(store.held | {bundle.archive_key: b"<html>502</html>"})
    assert await opened(archives, bundle) == good


@pytest.mark.security
async def test_a_flipped_bit_on_disk_is_refetched_and_never_handed_out(
    archives: Archives, bundle: Published, store: MemoryObjects, tmp_path: Path
):
    await opened(archives, bundle)
    (file,) = kept(tmp_path)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert await opened(archives, bundle) == bundle.objects[bundle.archive_key]
    assert store.reads[bundle.archive_key] == 2
    assert kept(tmp_path)[0].read_bytes() == bundle.objects[bundle.archive_key]


@pytest.mark.security
async def test_without_a_signature_the_archive_is_not_even_fetched(
    archives: Archives, bundle: Published, store: MemoryObjects
):
    del store.held[bundle.signature_key]
    with pytest.raises(BundleNotFound):
        await opened(archives, bundle)
    assert store.reads[bundle.archive_key] == 0


@pytest.mark.security
async def test_a_revoked_key_hands_out_nothing_though_the_disk_has_it(
    archives: Archives, bundle: Published, trust: TrustStore, key: PrivateKey
):
    await opened(archives, bundle)
    trust.revoke(key.key_id)
    with pytest.raises(Revoked):
        await opened(archives, bundle)


async def test_an_archive_longer_than_any_bundle_is_refused(
    archives: Archives, bundle: Published, store: MemoryObjects
):
    class Longer(bytes):
        def __len__(self) -> int:
            return BUNDLE_MAX_BYTES + 1

    store.held[bundle.archive_key] = Longer(b"x")
    with pytest.raises(BundleUntrusted):
        await opened(archives, bundle)


async def test_a_store_that_is_away_is_unavailable(archives: Archives, bundle: Published, store: MemoryObjects):
    store.away = True
    with pytest.raises(BundleUnavailable):
        await opened(archives, bundle)

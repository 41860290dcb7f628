"""The bundle bucket against a real S3: conditional writes, streams, and a store that is away."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

import msgspec
import pytest

from gateway.objects import keys
from gateway.objects.client import ObjectStore, open_objects
from gateway.settings import GatewaySettings
from shared.digest import content_hash_of
from shared.errors import BundleUnavailable, PayloadTooLarge
from shared.ids import ContentHash
from shared.limits import MIB, UPLOAD_PART_BYTES
from tests.gateway.services import DatabaseUrls


@pytest.fixture
async def objects(settings: GatewaySettings) -> AsyncIterator[ObjectStore]:
    async with open_objects(settings) as found:
        yield found


@pytest.fixture
def key() -> str:
    return f"test/{uuid.uuid4()}"


async def stream(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def test_names_are_contracts() -> None:
    digest = ContentHash("sha256:" + "ab" * 32)
    assert keys.staging("u") == "staging/u/bundle.tar.zst"
    assert keys.bundle(digest) == f"sha256/{'ab' * 32}/bundle.tar.zst"
    assert keys.manifest(digest) == f"sha256/{'ab' * 32}/manifest.json"
    assert keys.signature(digest) == f"sha256/{'ab' * 32}/SIGNATURE.json"


async def test_what_is_written_once_stays_as_it_is(objects: ObjectStore, key: str) -> None:
    assert await objects.put_once(key, b"first", "text/plain")
    assert not await objects.put_once(key, b"second", "text/plain")
    found = await objects.get_small(key, MIB)
    assert found is not None
    assert found.data == b"first"


async def test_of_many_writers_one_wins(objects: ObjectStore, key: str) -> None:
    won = await asyncio.gather(*(objects.put_once(key, str(n).encode(), "text/plain") for n in range(8)))
    assert sum(won) == 1


async def test_a_state_is_replaced_only_while_it_is_the_one_that_was_read(objects: ObjectStore, key: str) -> None:
    await objects.put_once(key, b"first", "text/plain")
    read = await objects.get_small(key, MIB)
    assert read is not None
    assert await objects.replace(key, b"second", "text/plain", read.etag)
    assert not await objects.replace(key, b"third", "text/plain", read.etag)
    assert not await objects.replace(f"{key}/none", b"x", "text/plain", read.etag)


@pytest.mark.parametrize(
    "sizes", [(0,), (1,), (UPLOAD_PART_BYTES,), (UPLOAD_PART_BYTES, 1), (5, UPLOAD_PART_BYTES * 2)]
)
async def test_a_stream_is_named_by_its_digest(objects: ObjectStore, key: str, sizes: tuple[int, ...]) -> None:
    staged = await objects.stage(key, stream(*(b"x" * size for size in sizes)), 64 * MIB)
    assert (staged.content_hash, staged.size_bytes) == (content_hash_of(b"x" * sum(sizes)), sum(sizes))
    assert await objects.size(key) == sum(sizes)
    await objects.copy_once(key, staged.etag, f"{key}/copy", staged.size_bytes)
    assert await objects.size(f"{key}/copy") == sum(sizes)


@pytest.mark.parametrize(("size", "ok"), [(9, True), (10, True), (11, False)])
async def test_a_stream_is_as_long_as_it_may_be(objects: ObjectStore, key: str, size: int, ok: bool) -> None:
    if ok:
        assert (await objects.stage(key, stream(b"x" * size), 10)).size_bytes == size
        return
    with pytest.raises(PayloadTooLarge):
        await objects.stage(key, stream(b"x" * size), 10)
    assert await objects.size(key) is None


async def test_a_stream_that_breaks_leaves_nothing_behind(objects: ObjectStore, key: str) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * UPLOAD_PART_BYTES
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await objects.stage(key, broken(), 64 * MIB)
    assert await objects.size(key) is None
    uploads = (await objects.call("list_multipart_uploads")).get("Uploads", [])
    assert key not in [upload["Key"] for upload in uploads]


async def test_a_stream_that_is_cancelled_leaves_nothing_behind(objects: ObjectStore, key: str) -> None:
    waiting = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * UPLOAD_PART_BYTES
        waiting.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(objects.stage(key, endless(), 64 * MIB))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    uploads = (await objects.call("list_multipart_uploads")).get("Uploads", [])
    assert key not in [upload["Key"] for upload in uploads]


async def test_only_the_bytes_that_were_hashed_are_copied(objects: ObjectStore, key: str) -> None:
    staged = await objects.stage(key, stream(b"signed"), 10)
    await objects.delete(key)
    await objects.put_once(key, b"forged", "text/plain")
    with pytest.raises(BundleUnavailable):
        await objects.copy_once(key, staged.etag, f"{key}/copy", staged.size_bytes)
    assert await objects.size(f"{key}/copy") is None


async def test_what_is_there_is_not_copied_again(objects: ObjectStore, key: str) -> None:
    staged = await objects.stage(key, stream(b"same"), 10)
    await objects.copy_once(key, staged.etag, f"{key}/copy", staged.size_bytes)
    await objects.delete(key)  # a second copy would fail now
    await objects.copy_once(key, staged.etag, f"{key}/copy", staged.size_bytes)


@pytest.mark.parametrize(("limit", "ok"), [(5, True), (4, False)])
async def test_a_small_object_is_no_larger_than_asked(objects: ObjectStore, key: str, limit: int, ok: bool) -> None:
    await objects.put_once(key, b"12345", "text/plain")
    if ok:
        assert await objects.get_small(key, limit) is not None
    else:
        with pytest.raises(BundleUnavailable):
            await objects.get_small(key, limit)


async def test_what_is_not_there_is_none(objects: ObjectStore, key: str) -> None:
    assert await objects.get_small(key, 10) is None
    assert await objects.size(key) is None
    await objects.delete(key)


@pytest.mark.parametrize(
    "change", [{"s3_endpoint": "http://127.0.0.1:9"}, {"s3_secret_key": "wrong"}, {"s3_bucket": "no"}]
)
async def test_a_store_that_is_away_or_refuses_is_unavailable_soon(
    settings: GatewaySettings, database: DatabaseUrls, key: str, change: dict[str, str]
) -> None:
    began = time.monotonic()
    async with open_objects(msgspec.structs.replace(settings, **change)) as away:
        with pytest.raises(BundleUnavailable) as refused:
            await away.put_once(key, b"x", "text/plain")
        with pytest.raises(BundleUnavailable):
            await away.stage(key, stream(b"x"), 10)
        with pytest.raises(BundleUnavailable):
            await away.check()
    assert refused.value.retry_after_s == 5
    assert time.monotonic() - began < 30

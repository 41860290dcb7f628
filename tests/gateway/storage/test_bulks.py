"""Records written together: all of them or none, whoever else writes the same ones."""

from __future__ import annotations

import asyncio

import pytest

from gateway.storage.records import Records
from gateway.store.pool import Database
from gateway.store.storage import Asker, Write
from shared.errors import StorageLimitExceeded, StorageRevisionMismatch, StorageValidationFailed
from shared.limits import STORAGE_BULK_MAX_BYTES, STORAGE_BULK_MAX_COUNT, STORAGE_VALUE_MAX_BYTES
from tests.gateway.services import DatabaseUrls
from tests.gateway.storage.keeping import NAMESPACE, counted, keys, put, writes


async def test_a_bulk_is_written_whole_in_key_order(records: Records, asker: Asker) -> None:
    await put(records, asker, "k001")
    found = await records.put_all(asker, NAMESPACE, [*reversed(writes(3)), Write(key="ä", value=b"", ttl_s=60)])
    assert [(one.key, one.revision) for one in found] == [("k000", 1), ("k001", 2), ("k002", 1), ("ä", 1)]
    assert await keys(records, asker) == ["k000", "k001", "k002", "ä"]


@pytest.mark.parametrize("revision", [0, 1, 3])
async def test_one_stale_revision_and_nothing_of_a_bulk_is_written(
    records: Records, asker: Asker, shared_database: DatabaseUrls, revision: int
) -> None:
    await put(records, asker, "k001")
    await put(records, asker, "k001")
    bulk = writes(3)
    bulk[1] = Write(key="k001", value=b"changed", revision=revision)
    with pytest.raises(StorageRevisionMismatch, match="nothing was written"):
        await records.put_all(asker, NAMESPACE, bulk)
    assert await keys(records, asker) == ["k001"]
    assert counted(shared_database, asker) == (1, 1, {NAMESPACE: 1})


async def test_bulks_over_the_same_keys_wait_for_each_other_and_none_is_torn(
    records: Records, asker: Asker, shared_store: Database
) -> None:
    gateways = [Records(shared_store) for _ in range(5)]

    async def bulk(number: int) -> None:
        order = writes(10) if number % 2 else list(reversed(writes(10)))
        value = b"%d" % number
        await gateways[number % 5].put_all(asker, NAMESPACE, [Write(key=write.key, value=value) for write in order])

    await asyncio.gather(*(bulk(number) for number in range(20)), *(put(records, asker, "k004") for _ in range(5)))
    found = await records.page(asker, NAMESPACE, limit=100)
    assert len({row.value for row in found if row.key != "k004"}) == 1
    assert {row.revision for row in found if row.key != "k004"} == {20}


@pytest.mark.parametrize("count", [STORAGE_BULK_MAX_COUNT - 1, STORAGE_BULK_MAX_COUNT])
async def test_a_bulk_may_have_so_many_items(records: Records, asker: Asker, count: int) -> None:
    assert len(await records.put_all(asker, NAMESPACE, writes(count))) == count


async def test_a_bulk_may_have_so_many_bytes(records: Records, asker: Asker) -> None:
    full = writes(STORAGE_BULK_MAX_BYTES // STORAGE_VALUE_MAX_BYTES, STORAGE_VALUE_MAX_BYTES)
    assert len(await records.put_all(asker, NAMESPACE, full)) == len(full)


MORE = Write(key="one", value=b"1")
REFUSED_BULKS = {
    "empty": ([], StorageValidationFailed),
    "a key twice": ([MORE, MORE], StorageValidationFailed),
    "too many": (writes(STORAGE_BULK_MAX_COUNT + 1), StorageLimitExceeded),
    "too large": ([*writes(8, STORAGE_VALUE_MAX_BYTES), MORE], StorageLimitExceeded),
    "too large by metadata": (
        [
            *writes(7, STORAGE_VALUE_MAX_BYTES),
            Write(key="m", value=b"x" * (STORAGE_VALUE_MAX_BYTES - 1), metadata="{}"),
        ],
        StorageLimitExceeded,
    ),
    "one value too large": ([MORE, *writes(1, STORAGE_VALUE_MAX_BYTES + 1)], StorageLimitExceeded),
    "one bad key": ([MORE, Write(key="a/b", value=b"")], StorageValidationFailed),
    "one bad time": ([MORE, Write(key="k", value=b"", ttl_s=1)], StorageLimitExceeded),
    "one bad revision": ([MORE, Write(key="k", value=b"", revision=-1)], StorageValidationFailed),
}


@pytest.mark.parametrize("name", REFUSED_BULKS)
async def test_any_other_bulk_is_refused_whole(records: Records, asker: Asker, name: str) -> None:
    bulk, error = REFUSED_BULKS[name]
    with pytest.raises(error):
        await records.put_all(asker, NAMESPACE, bulk)
    assert await keys(records, asker) == []

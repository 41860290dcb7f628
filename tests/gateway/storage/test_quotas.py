"""Quotas of an install: exact, whoever writes and however many at once. The database holds everyone to them."""

from __future__ import annotations

import asyncio
import re

import psycopg
import pytest

from gateway.storage.records import Records
from gateway.store.platform import storage as sweeping
from gateway.store.pool import Database
from gateway.store.storage import QUOTAS, Asker, Write
from shared.errors import StorageNotFound, StorageQuotaExceeded
from shared.limits import (
    STORAGE_KEY_MAX_CHARS,
    STORAGE_KEYS_PER_NAMESPACE_MAX,
    STORAGE_MAX_BYTES,
    STORAGE_METADATA_MAX_BYTES,
    STORAGE_NAMESPACE_MAX_CHARS,
    STORAGE_NAMESPACES_MAX,
    STORAGE_VALUE_MAX_BYTES,
)
from tests.gateway.services import DatabaseUrls
from tests.gateway.storage.keeping import NAMESPACE, counted, fill, keeper, let_expire

WHOLE = STORAGE_VALUE_MAX_BYTES
ALMOST_ALL = STORAGE_MAX_BYTES // WHOLE - 1  # records of full size; one more fills the install


async def attempt(records: Records, asker: Asker, key: str, size_bytes: int, namespace: str = NAMESPACE) -> bool:
    """Whether a record of this size could be written."""
    try:
        await records.put(asker, namespace, Write(key=key, value=b"x" * size_bytes))
    except StorageQuotaExceeded:
        return False
    return True


def test_the_database_has_the_limits_of_this_release(shared_database: DatabaseUrls) -> None:
    with psycopg.connect(shared_database.owner) as connection:
        rows = connection.execute(
            """select conname, pg_get_constraintdef(oid) from pg_constraint
                where conrelid::regclass::text like 'ext_storage_%' and contype = 'c'"""
        ).fetchall()
    numbers = {str(name): {int(number) for number in re.findall(r"\b\d+\b", text)} for name, text in rows}
    assert numbers == {
        "ext_storage_keys_quota": {0, STORAGE_KEYS_PER_NAMESPACE_MAX},
        "ext_storage_namespaces_quota": {0, STORAGE_NAMESPACES_MAX},
        "ext_storage_bytes_quota": {0, STORAGE_MAX_BYTES},
        "ext_storage_records_namespace_check": {1, STORAGE_NAMESPACE_MAX_CHARS},
        "ext_storage_records_key_check": {0, 1, STORAGE_KEY_MAX_CHARS},
        "ext_storage_records_value_check": {STORAGE_VALUE_MAX_BYTES},
        "ext_storage_records_metadata_check": {STORAGE_METADATA_MAX_BYTES},
    }
    assert set(QUOTAS) == {name for name in numbers if name.endswith("_quota")}


# ---- below, at, above -----------------------------------------------------------------------------------------


async def test_bytes_can_be_used_to_the_last_and_no_further(
    records: Records, asker: Asker, shared_database: DatabaseUrls
) -> None:
    fill(shared_database, asker, ALMOST_ALL, WHOLE)
    assert await attempt(records, asker, "a", WHOLE - 2)
    assert await attempt(records, asker, "b", 1)
    assert await attempt(records, asker, "b", 2)
    assert counted(shared_database, asker)[1] == STORAGE_MAX_BYTES
    assert not await attempt(records, asker, "c", 1)
    assert not await attempt(records, asker, "b", 3)
    assert (await records.get(asker, NAMESPACE, "b")).revision == 2
    assert await attempt(records, asker, "c", 0)
    assert await attempt(records, asker, "b", 0)
    assert await attempt(records, asker, "c", 2)
    assert counted(shared_database, asker)[1] == STORAGE_MAX_BYTES


async def test_metadata_counts_as_well(records: Records, asker: Asker, shared_database: DatabaseUrls) -> None:
    fill(shared_database, asker, ALMOST_ALL, WHOLE)
    await records.put(asker, NAMESPACE, Write(key="a", value=b"x" * (WHOLE - 2), metadata="{}"))
    assert not await attempt(records, asker, "b", 1)
    await records.put(asker, NAMESPACE, Write(key="a", value=b"x" * (WHOLE - 2)))
    assert await attempt(records, asker, "b", 2)


async def test_a_namespace_may_have_so_many_keys(records: Records, asker: Asker, shared_database: DatabaseUrls) -> None:
    fill(shared_database, asker, STORAGE_KEYS_PER_NAMESPACE_MAX - 1, 1)
    assert await attempt(records, asker, "last", 1, "filling")
    assert not await attempt(records, asker, "beyond", 1, "filling")
    assert await attempt(records, asker, "last", 2, "filling")
    assert await attempt(records, asker, "elsewhere", 1)
    await records.delete(asker, "filling", "last")
    assert await attempt(records, asker, "beyond", 1, "filling")
    assert counted(shared_database, asker)[2]["filling"] == STORAGE_KEYS_PER_NAMESPACE_MAX


async def test_an_install_may_have_so_many_namespaces(
    records: Records, asker: Asker, shared_database: DatabaseUrls
) -> None:
    for number in range(STORAGE_NAMESPACES_MAX):
        assert await attempt(records, asker, "k", 1, f"n{number}")
    assert not await attempt(records, asker, "k", 1, "beyond")
    assert await attempt(records, asker, "l", 1, "n0")
    await records.delete(asker, "n1", "k")
    assert await attempt(records, asker, "k", 1, "beyond")
    assert counted(shared_database, asker)[0] == STORAGE_NAMESPACES_MAX


@pytest.mark.parametrize(
    ("what", "says"),
    [("keys", f"{STORAGE_KEYS_PER_NAMESPACE_MAX} keys"), ("bytes", f"{STORAGE_MAX_BYTES} bytes")],
)
async def test_a_bulk_beyond_a_quota_writes_nothing_and_says_which(
    records: Records, asker: Asker, shared_database: DatabaseUrls, what: str, says: str
) -> None:
    if what == "keys":
        fill(shared_database, asker, STORAGE_KEYS_PER_NAMESPACE_MAX - 2, 1)
    else:
        fill(shared_database, asker, ALMOST_ALL, WHOLE)
    before = counted(shared_database, asker)
    bulk = [Write(key=f"new{number}", value=b"x" * (WHOLE // 2)) for number in range(3)]
    with pytest.raises(StorageQuotaExceeded, match=says):
        await records.put_all(asker, "filling", bulk)
    assert counted(shared_database, asker) == before
    assert len(await records.put_all(asker, "filling", bulk[:2])) == 2


async def test_one_installs_records_take_nothing_from_another(
    records: Records, asker: Asker, shared_database: DatabaseUrls, tenant: str
) -> None:
    fill(shared_database, asker, ALMOST_ALL + 1, WHOLE)
    assert not await attempt(records, asker, "k", 1)
    assert await attempt(records, keeper(shared_database, tenant), "k", 1)


# ---- T27: many at once ----------------------------------------------------------------------------------------


@pytest.fixture
def gateways(shared_store: Database) -> list[Records]:
    """Several gateways, since one of them lets a tenant ask a few questions at once only."""
    return [Records(shared_store) for _ in range(8)]


@pytest.mark.security
async def test_t27_a_hundred_writers_at_once_never_pass_the_bytes(
    gateways: list[Records], asker: Asker, shared_database: DatabaseUrls
) -> None:
    fill(shared_database, asker, ALMOST_ALL, WHOLE)
    size = WHOLE // 7  # room for 7 of the hundred
    done = await asyncio.gather(*(attempt(gateways[number % 8], asker, f"k{number}", size) for number in range(100)))
    assert sum(done) == 7
    assert counted(shared_database, asker)[1] == ALMOST_ALL * WHOLE + 7 * size <= STORAGE_MAX_BYTES


@pytest.mark.security
async def test_t27_a_hundred_writers_of_single_bulk_and_deleted_records_never_pass_the_bytes(
    gateways: list[Records], asker: Asker, shared_database: DatabaseUrls
) -> None:
    fill(shared_database, asker, ALMOST_ALL, WHOLE)

    async def write(number: int) -> None:
        records, key = gateways[number % 8], f"k{number % 13}"
        try:
            if number % 3 == 0:
                bulk = [Write(key=f"{key}.{part}", value=b"x" * (WHOLE // 5)) for part in range(3)]
                await records.put_all(asker, NAMESPACE, bulk)
            elif number % 3 == 1:
                await records.put(asker, NAMESPACE, Write(key=key, value=b"x" * (WHOLE // 4 + number)))
            else:
                await records.delete(asker, NAMESPACE, key)
        except (StorageQuotaExceeded, StorageNotFound):
            return

    await asyncio.gather(*(write(number) for number in range(100)))
    assert counted(shared_database, asker)[1] <= STORAGE_MAX_BYTES


@pytest.mark.security
async def test_t27_a_hundred_writers_at_once_never_pass_the_keys(
    gateways: list[Records], asker: Asker, shared_database: DatabaseUrls
) -> None:
    fill(shared_database, asker, STORAGE_KEYS_PER_NAMESPACE_MAX - 9, 1)
    done = await asyncio.gather(
        *(attempt(gateways[number % 8], asker, f"new{number}", 1, "filling") for number in range(100))
    )
    assert sum(done) == 9
    assert counted(shared_database, asker)[2] == {"filling": STORAGE_KEYS_PER_NAMESPACE_MAX}


@pytest.mark.security
async def test_t27_a_hundred_writers_at_once_never_pass_the_namespaces(
    gateways: list[Records], asker: Asker, shared_database: DatabaseUrls
) -> None:
    done = await asyncio.gather(*(attempt(gateways[number % 8], asker, "k", 1, f"n{number}") for number in range(100)))
    assert sum(done) == STORAGE_NAMESPACES_MAX
    assert counted(shared_database, asker)[0] == STORAGE_NAMESPACES_MAX


# ---- what is past its time ------------------------------------------------------------------------------------


async def test_what_is_past_its_time_is_no_reason_to_refuse(
    records: Records, asker: Asker, shared_database: DatabaseUrls
) -> None:
    fill(shared_database, asker, ALMOST_ALL + 1, WHOLE)
    let_expire(shared_database, asker, "k1%")
    assert await attempt(records, asker, "new", WHOLE)
    bulk = [Write(key=f"new{number}", value=b"x" * WHOLE) for number in range(8)]
    assert len(await records.put_all(asker, NAMESPACE, bulk)) == 8
    assert counted(shared_database, asker)[2][NAMESPACE] == 9


async def test_the_sweep_removes_what_is_past_its_time_in_batches_and_nothing_else(
    records: Records, asker: Asker, shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    other = keeper(shared_database, tenant + "-other")
    for one in (asker, other):
        fill(shared_database, one, 25, 10)
        fill(shared_database, one, 5, 10, "second")
        let_expire(shared_database, one, "k1%")
    async with shared_store.platform() as tx:
        assert await sweeping.remove_expired(tx, 7) == 7
    swept = 1
    while swept:
        async with shared_store.platform() as tx:
            swept = await sweeping.remove_expired(tx, 7)
    for one in (asker, other):
        assert counted(shared_database, one)[2] == {"filling": 14, "second": 4}


async def test_a_sweep_and_writers_pass_each_other_and_the_count_stays_true(
    gateways: list[Records], asker: Asker, shared_store: Database, shared_database: DatabaseUrls
) -> None:
    fill(shared_database, asker, 60, 10, NAMESPACE)
    let_expire(shared_database, asker)

    async def sweep() -> None:
        async with shared_store.platform() as tx:
            await sweeping.remove_expired(tx, 5)

    async with asyncio.TaskGroup() as group:
        writing = [
            group.create_task(attempt(gateways[number % 8], asker, f"k{number}", number)) for number in range(40)
        ]
        for _ in range(10):
            group.create_task(sweep())
    assert all(task.result() for task in writing)
    found = await gateways[0].page(asker, NAMESPACE, limit=100)
    assert {row.key for row in found} == {f"k{number}" for number in range(40)}
    assert {row.revision for row in found} == {1}
    counted(shared_database, asker)


@pytest.mark.security
async def test_the_sweeps_login_sees_no_value_and_removes_nothing_that_lives(
    asker: Asker, shared_store: Database, shared_database: DatabaseUrls
) -> None:
    fill(shared_database, asker, 3, 10)
    for statement in (
        "select value from ext_storage_records",
        "select metadata from ext_storage_records",
        "update ext_storage_records set value = ''",
        "insert into ext_storage_records (tenant_id, install_id, namespace, key, value) select 't', install_id, 'n', 'k', '' from ext_storage_usage",
        "delete from ext_storage_usage",
        "insert into ext_storage_namespaces select * from ext_storage_namespaces",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with shared_store.platform() as tx:
                await tx.execute(statement)  # type: ignore[arg-type]
    async with shared_store.platform() as tx:
        cursor = await tx.execute("delete from ext_storage_records where install_id = %s", (asker.install_id,))
        assert cursor.rowcount == 0
    assert counted(shared_database, asker)[2] == {"filling": 3}

"""Records of an install: revisions, times, pages, limits; who may ask, and what is told when not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from gateway.storage.records import Records
from gateway.store.pool import Database
from gateway.store.storage import Asker, Write
from shared.errors import (
    StorageLimitExceeded,
    StorageNamespaceDenied,
    StorageNotFound,
    StorageRevisionMismatch,
    StorageValidationFailed,
)
from shared.limits import (
    STORAGE_METADATA_MAX_BYTES,
    STORAGE_TTL_MAX_S,
    STORAGE_TTL_MIN_S,
    STORAGE_VALUE_MAX_BYTES,
)
from shared.storage import REVISION_MAX
from tests.gateway.seeds import seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.storage.keeping import NAMESPACE, asking, counted, keeper, keys, let_expire, put, writes

# ---- one record -----------------------------------------------------------------------------------------------


async def test_what_is_written_is_read_and_each_write_counts_one(records: Records, asker: Asker) -> None:
    for revision, value in enumerate((b"", b"\x00\xff", b"x" * STORAGE_VALUE_MAX_BYTES), start=1):
        assert await put(records, asker, value=value) == revision
        found = await records.get(asker, NAMESPACE, "k")
        assert (found.key, found.value, found.revision, found.metadata) == ("k", value, revision, None)


async def test_a_write_over_the_current_revision_counts_and_over_another_does_nothing(
    records: Records, asker: Asker
) -> None:
    assert await put(records, asker) == 1
    assert await put(records, asker, revision=1) == 2
    for stale in (1, 3, REVISION_MAX, REVISION_MAX + 1, 2**64 - 1):
        with pytest.raises(StorageRevisionMismatch):
            await put(records, asker, value=b"stale", revision=stale)
    assert (await records.get(asker, NAMESPACE, "k")).value == b"v"


async def test_an_absent_record_counts_as_revision_0(records: Records, asker: Asker) -> None:
    for expected in (1, 5):
        with pytest.raises(StorageRevisionMismatch):
            await put(records, asker, revision=expected)
    assert await put(records, asker, revision=0) == 1
    with pytest.raises(StorageRevisionMismatch):
        await put(records, asker, revision=0)


async def test_a_deleted_record_is_missing_and_begins_anew(records: Records, asker: Asker) -> None:
    await put(records, asker)
    await put(records, asker)
    with pytest.raises(StorageRevisionMismatch):
        await records.delete(asker, NAMESPACE, "k", revision=1)
    await records.delete(asker, NAMESPACE, "k", revision=2)
    for call in (records.get, records.delete):
        with pytest.raises(StorageNotFound):
            await call(asker, NAMESPACE, "k")
    assert await put(records, asker) == 1


async def test_a_write_replaces_all_of_a_record(records: Records, asker: Asker) -> None:
    await put(records, asker, metadata='{"a":1}', ttl_s=STORAGE_TTL_MIN_S)
    before = await records.get(asker, NAMESPACE, "k")
    assert before.metadata == '{"a":1}'
    assert before.expires_at is not None
    await put(records, asker)
    after = await records.get(asker, NAMESPACE, "k")
    assert (after.metadata, after.expires_at, after.created_at) == (None, None, before.created_at)
    assert after.updated_at > before.updated_at


async def test_of_many_writers_over_one_revision_one_wins(records: Records, asker: Asker) -> None:
    await put(records, asker)
    outcomes = await asyncio.gather(*(put(records, asker, revision=1) for _ in range(30)), return_exceptions=True)
    assert sorted(map(str, outcomes)).count("2") == 1
    assert sum(isinstance(outcome, StorageRevisionMismatch) for outcome in outcomes) == 29


async def test_of_many_makers_of_one_record_one_wins(records: Records, asker: Asker) -> None:
    outcomes = await asyncio.gather(*(put(records, asker, revision=0) for _ in range(30)), return_exceptions=True)
    assert sum(isinstance(outcome, StorageRevisionMismatch) for outcome in outcomes) == 29


async def test_no_write_of_many_at_once_is_lost_in_the_count(records: Records, asker: Asker) -> None:
    outcomes = await asyncio.gather(*(put(records, asker, value=b"%d" % n) for n in range(50)))
    assert sorted(outcomes) == list(range(1, 51))


# ---- time -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ttl_s", [STORAGE_TTL_MIN_S, STORAGE_TTL_MIN_S + 1, STORAGE_TTL_MAX_S])
async def test_a_record_lives_as_long_as_it_was_told(records: Records, asker: Asker, ttl_s: int) -> None:
    await put(records, asker, ttl_s=ttl_s)
    ends = (await records.get(asker, NAMESPACE, "k")).expires_at
    assert ends is not None
    assert abs(ends - datetime.now(UTC) - timedelta(seconds=ttl_s)) < timedelta(seconds=30)


@pytest.mark.parametrize("ttl_s", [-1, 0, STORAGE_TTL_MIN_S - 1, STORAGE_TTL_MAX_S + 1, 2**40])
async def test_any_other_time_is_refused(records: Records, asker: Asker, ttl_s: int) -> None:
    with pytest.raises(StorageLimitExceeded, match="60 to 2592000 seconds"):
        await put(records, asker, ttl_s=ttl_s)
    with pytest.raises(StorageNotFound):
        await records.get(asker, NAMESPACE, "k")


async def test_a_record_past_its_time_is_as_good_as_absent_at_once(
    records: Records, asker: Asker, shared_database: DatabaseUrls
) -> None:
    await put(records, asker)
    before = await put(records, asker, ttl_s=60)
    await put(records, asker, "other")
    let_expire(shared_database, asker, "k")
    assert await keys(records, asker) == ["other"]
    for call in (records.get(asker, NAMESPACE, "k"), records.delete(asker, NAMESPACE, "k")):
        with pytest.raises(StorageNotFound):
            await call
    await put(records, asker, ttl_s=60)
    let_expire(shared_database, asker, "k")
    with pytest.raises(StorageRevisionMismatch):
        await put(records, asker, revision=before)
    assert await put(records, asker, revision=0) == 1
    assert counted(shared_database, asker)[0] == 1


async def test_a_bulk_takes_the_place_of_what_is_past_its_time(
    records: Records, asker: Asker, shared_database: DatabaseUrls
) -> None:
    await put(records, asker, ttl_s=60)
    let_expire(shared_database, asker)
    (written,) = await records.put_all(asker, NAMESPACE, [Write(key="k", value=b"new", revision=0)])
    assert (written.revision, written.expires_at) == (1, None)


# ---- limits of one record -------------------------------------------------------------------------------------


async def test_a_value_may_have_so_many_bytes_and_no_more(records: Records, asker: Asker) -> None:
    for size in (STORAGE_VALUE_MAX_BYTES - 1, STORAGE_VALUE_MAX_BYTES):
        await put(records, asker, value=b"x" * size)
    with pytest.raises(StorageLimitExceeded, match=str(STORAGE_VALUE_MAX_BYTES)):
        await put(records, asker, value=b"x" * (STORAGE_VALUE_MAX_BYTES + 1))


async def test_metadata_may_have_so_many_bytes_and_no_more(
    records: Records, asker: Asker, shared_database: DatabaseUrls
) -> None:
    def metadata(size_bytes: int) -> str:
        return '"' + "ä" * ((size_bytes - 2) // 2) + " " * (size_bytes % 2) + '"'

    for size in (STORAGE_METADATA_MAX_BYTES - 1, STORAGE_METADATA_MAX_BYTES):
        assert len(metadata(size).encode()) == size
        await put(records, asker, metadata=metadata(size))
    with pytest.raises(StorageLimitExceeded, match=str(STORAGE_METADATA_MAX_BYTES)):
        await put(records, asker, metadata=metadata(STORAGE_METADATA_MAX_BYTES + 1))
    assert counted(shared_database, asker)[1] == STORAGE_METADATA_MAX_BYTES + 1


@pytest.mark.parametrize("name", ["", "a/b", "a\x00b", "n" * 300])
async def test_a_name_that_is_none_is_refused_everywhere(records: Records, asker: Asker, name: str) -> None:
    calls = [
        records.get(asker, name, "k"),
        records.get(asker, NAMESPACE, name),
        records.put(asker, name, Write(key="k", value=b"")),
        records.put(asker, NAMESPACE, Write(key=name, value=b"")),
        records.put_all(asker, name, writes(1)),
        records.delete(asker, name, "k"),
        records.delete(asker, NAMESPACE, name),
        records.page(asker, name, limit=1),
    ]
    for call in calls:
        with pytest.raises(StorageValidationFailed):
            await call


async def test_a_tenant_whose_writers_wait_for_each_other_leaves_everybody_else_their_connections(
    records: Records, asker: Asker, shared_database: DatabaseUrls, tenant: str
) -> None:
    other = keeper(shared_database, tenant + "-other")
    await put(records, asker)
    await put(records, other)
    with psycopg.connect(shared_database.owner) as holding:
        holding.execute("select 1 from ext_storage_records where install_id = %s for update", (asker.install_id,))
        waiting = [asyncio.create_task(put(records, asker)) for _ in range(40)]
        async with asyncio.timeout(1):
            for _ in range(20):
                assert (await records.get(other, NAMESPACE, "k")).revision == 1
    assert sorted(await asyncio.gather(*waiting)) == list(range(2, 42))


# ---- whose ----------------------------------------------------------------------------------------------------


def every_call(records: Records, asker: Asker) -> list[Any]:
    return [
        records.get(asker, NAMESPACE, "k"),
        records.put(asker, NAMESPACE, Write(key="k", value=b"stolen")),
        records.put(asker, NAMESPACE, Write(key="k", value=b"stolen", revision=1)),
        records.put_all(asker, NAMESPACE, [Write(key="k", value=b"stolen")]),
        records.delete(asker, NAMESPACE, "k"),
        records.page(asker, NAMESPACE, limit=1),
    ]


UPDATES = {
    "not granted any more": "granted_caps = '{cap:log.emit}'",
    "changed": "generation = generation + 1",
    "disabled": "status = 'disabled'",
    "uninstalled": "status = 'uninstalled'",
}


@pytest.mark.parametrize("name", UPDATES)
async def test_a_guest_whose_install_is_not_what_it_was_is_denied_at_its_next_call(
    records: Records, asker: Asker, shared_database: DatabaseUrls, name: str
) -> None:
    await put(records, asker)
    with psycopg.connect(shared_database.owner, autocommit=True) as connection:
        connection.execute(
            f"update tenant_extension_install set {UPDATES[name]} where id = %s",  # type: ignore[arg-type]
            (asker.install_id,),
        )
    for call in every_call(records, asker):
        with pytest.raises(StorageNamespaceDenied):
            await call
        with psycopg.connect(shared_database.owner, autocommit=True) as connection:
            kept = connection.execute(
                "select value from ext_storage_records where install_id = %s", (asker.install_id,)
            ).fetchall()
            assert kept == [(b"v",)]


@pytest.mark.security
async def test_t38_another_tenants_install_is_as_absent_as_one_that_never_was(
    records: Records, asker: Asker, shared_database: DatabaseUrls
) -> None:
    await put(records, asker)
    foreign = Asker(tenant_id="somebody-else", install_id=asker.install_id)
    unknown = Asker(tenant_id="somebody-else", install_id="00000000-0000-4000-8000-000000000000")
    for mine, theirs in zip(every_call(records, foreign), every_call(records, unknown), strict=True):
        told = []
        for call in (mine, theirs):
            with pytest.raises(StorageNotFound) as refused:
                await call
            told.append(refused.value.detail)
        assert told[0] == told[1]
    assert (await records.get(asker, NAMESPACE, "k")).value == b"v"
    assert counted(shared_database, asker) == (1, 1, {NAMESPACE: 1})


async def test_two_installs_of_a_tenant_share_nothing(
    records: Records, asker: Asker, shared_database: DatabaseUrls, tenant: str
) -> None:
    other = keeper(shared_database, tenant)
    await put(records, asker, value=b"mine")
    await put(records, other, value=b"theirs")
    assert (await records.get(asker, NAMESPACE, "k")).value == b"mine"
    await records.delete(other, NAMESPACE, "k")
    assert await keys(records, asker) == ["k"]


async def test_somebody_who_is_no_guest_asks_whatever_the_generation_and_while_disabled(
    records: Records, shared_database: DatabaseUrls, tenant: str
) -> None:
    made = seed(shared_database, tenant, caps=("cap:storage.kv",), generation=7, status="disabled")
    person = asking(made, generation=None)
    assert await put(records, person) == 1
    assert await keys(records, person) == ["k"]
    with pytest.raises(StorageNamespaceDenied):
        await put(records, asking(made, generation=7))


async def test_without_the_grant_nobody_asks(records: Records, shared_database: DatabaseUrls, tenant: str) -> None:
    for generation in (1, None):
        asker = asking(seed(shared_database, tenant, caps=("cap:log.emit",)), generation=generation)
        for call in every_call(records, asker):
            with pytest.raises(StorageNamespaceDenied, match=r"cap:storage\.kv is not granted"):
                await call


async def test_a_transaction_without_a_tenant_of_its_own_sees_no_record(
    records: Records, asker: Asker, shared_store: Database
) -> None:
    await put(records, asker)
    async with shared_store._app.connection() as connection:
        for setting in (None, "", "somebody-else"):
            async with connection.transaction():
                if setting is not None:
                    await connection.execute("select set_config('app.tenant', %s, true)", (setting,))
                for table in ("ext_storage_records", "ext_storage_namespaces", "ext_storage_usage"):
                    cursor = await connection.execute(f"select count(*) from {table}")  # type: ignore[arg-type]
                    assert await cursor.fetchone() == (0,), (setting, table)

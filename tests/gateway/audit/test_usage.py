"""Usage is counted with the rows it comes from: once, in the hour in which the call began, whatever became of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.rows import dict_row

from gateway.audit.reaper import reap_once
from gateway.store.platform import executions
from gateway.store.platform.executions import Closing, Opening
from gateway.store.pool import Database
from shared.limits import EXECUTION_LOST_GRACE_S
from tests.gateway.audit.test_log import _opening
from tests.gateway.services import DatabaseUrls

EXTENSION = "0b0f3f5e-7a6d-4c1c-9d43-2f9d0a3b5a10"
MIB = 1 << 20


def used(database: DatabaseUrls, tenant: str) -> list[dict[str, object]]:
    with psycopg.connect(database.owner, row_factory=dict_row) as connection:
        return connection.execute(
            "select * from extension_quota_usage where tenant_id = %s order by window_start", (tenant,)
        ).fetchall()


def opening(tenant: str) -> Opening:
    return _opening(tenant, registry_id=EXTENSION)


def closing(state: str = "ok", **fields: float) -> Closing:
    given = {"duration_ms": 10.0, "cpu_ms": 2.5, "memory_peak_bytes": 3 * MIB, "egress_bytes": 100, **fields}
    return Closing(state=state, http_status=200, **given)  # type: ignore[arg-type]


async def closed(store: Database, rows: list[tuple[str, datetime, Closing]]) -> int:
    async with store.platform() as tx:
        return await executions.close_rows(tx, rows)


async def test_what_ended_is_counted_by_tenant_extension_and_hour(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    calls = [opening(tenant) for _ in range(3)]
    began = await executions.open_rows(shared_store, calls)
    assert used(shared_database, tenant) == []
    ends = [closing(), closing("guest_error"), closing("guest_timeout", cpu_ms=5.0)]
    rows = [(call.id, began, end) for call, end in zip(calls, ends, strict=True)]
    assert await closed(shared_store, rows) == 3
    (hour,) = used(shared_database, tenant)
    assert hour == {
        "tenant_id": tenant,
        "registry_id": hour["registry_id"],
        "window_start": began.astimezone(UTC).replace(minute=0, second=0, microsecond=0),
        "invocations": 3,
        "cpu_ms": 10.0,
        "mem_mb_ms": 90.0,
        "egress_bytes": 300,
        "errors": 2,
    }
    assert str(hour["registry_id"]) == EXTENSION


async def test_a_row_that_is_closed_twice_is_counted_once(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    call = opening(tenant)
    began = await executions.open_rows(shared_store, [call])
    assert await closed(shared_store, [(call.id, began, closing())]) == 1
    assert await closed(shared_store, [(call.id, began, closing())]) == 0
    assert [hour["invocations"] for hour in used(shared_database, tenant)] == [1]


async def test_a_lost_call_counts_as_an_error_until_who_made_it_says_better(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    call = opening(tenant)
    began = await executions.open_rows(shared_store, [call])
    with psycopg.connect(shared_database.owner, autocommit=True) as connection:
        connection.execute(
            "update extension_execution_log set deadline_at = now() - %s * interval '1 second' where tenant_id = %s",
            (EXECUTION_LOST_GRACE_S + 1, tenant),
        )
    await reap_once(shared_store)
    (hour,) = used(shared_database, tenant)
    assert (hour["invocations"], hour["errors"], hour["cpu_ms"]) == (1, 1, 0)
    assert await closed(shared_store, [(call.id, began, closing())]) == 1
    (hour,) = used(shared_database, tenant)
    assert (hour["invocations"], hour["errors"], hour["cpu_ms"]) == (1, 0, 2.5)


async def test_a_call_that_was_recorded_only_at_its_end_is_counted_as_well(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    async with shared_store.platform() as tx:
        await executions.record_rows(tx, [(opening(tenant), closing()), (opening(tenant), closing("denied"))])
    (hour,) = used(shared_database, tenant)
    assert (hour["invocations"], hour["errors"], hour["egress_bytes"]) == (2, 1, 200)


async def test_many_gateways_closing_at_once_count_every_call(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    batches = []
    for _ in range(8):
        calls = [_opening(tenant, registry_id=EXTENSION[:-1] + str(number % 5)) for number in range(20)]
        began = await executions.open_rows(shared_store, calls)
        batches.append([(call.id, began, closing()) for call in calls])
    await asyncio.gather(*(closed(shared_store, batch) for batch in batches))
    assert [hour["invocations"] for hour in used(shared_database, tenant)] == [32] * 5


@pytest.mark.security
async def test_a_tenant_reads_its_own_hours_only(shared_store: Database, tenant: str) -> None:
    call = opening(tenant)
    began = await executions.open_rows(shared_store, [call])
    await closed(shared_store, [(call.id, began, closing())])
    for reader, count in ((tenant, 1), (f"{tenant}-other", 0)):
        async with shared_store.tenant(reader) as tx:
            cursor = await tx.execute("select count(*) from extension_quota_usage where tenant_id = %s", (tenant,))
            assert await cursor.fetchone() == (count,)


async def test_an_hour_begins_on_the_hour_in_utc_wherever_the_server_stands(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    async with shared_store.platform() as tx:
        await tx.execute("set local timezone to 'Asia/Kathmandu'")
        await executions.record_rows(tx, [(opening(tenant), closing())])
    (hour,) = used(shared_database, tenant)
    begins = hour["window_start"]
    assert isinstance(begins, datetime)
    assert (begins.astimezone(UTC).minute, datetime.now(UTC) - begins < timedelta(hours=1, seconds=5)) == (0, True)

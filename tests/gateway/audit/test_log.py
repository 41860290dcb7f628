"""The execution log against a real database: no call without its row, no row without its end."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import msgspec
import psycopg
import pytest
from prometheus_client import CollectorRegistry

from gateway.audit import log as log_module
from gateway.audit.log import ExecutionLog, new_id, open_execution_log
from gateway.audit.metrics import ExecutionMetrics
from gateway.audit.reaper import reap_once
from gateway.settings import GatewaySettings
from gateway.store.platform.executions import Closing, Opening
from gateway.store.pool import Database, Tx
from shared.errors import AccessPolicyUnavailable
from shared.limits import AUDIT_CLOSE_QUEUE_MAX_ROWS, EXECUTION_LOST_GRACE_S
from tests.gateway.seeds import rows
from tests.gateway.services import DatabaseUrls

DONE = Closing(
    state="ok",
    http_status=201,
    duration_ms=12.5,
    queue_ms=1.5,
    cpu_ms=2.5,
    memory_peak_bytes=4096,
    egress_bytes=7,
    host_calls=3,
    cold=True,
)


def _opening(tenant: str, **fields: Any) -> Opening:
    given = {
        "id": new_id(),
        "tenant_id": tenant,
        "request_id": "req-1",
        "registry_id": str(uuid.uuid4()),
        "install_id": str(uuid.uuid4()),
        "version_id": str(uuid.uuid4()),
        "content_hash": "sha256:ab",
        "principal": "user:u1",
        "principal_kind": "session",
        "method": "POST",
        "endpoint": "/notes/:id",
        "timeout_ms": 5000,
        **fields,
    }
    return Opening(**given)


class Faulty:
    """A database that counts platform transactions, and fails or waits when told to."""

    def __init__(self, store: Database) -> None:
        self._store = store
        self.transactions = 0
        self.away = False
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    def pause(self) -> None:
        self.gate.clear()
        self.entered.clear()

    @asynccontextmanager
    async def platform(self) -> AsyncIterator[Tx]:
        await self._enter()
        async with self._store.platform() as tx:
            yield tx

    async def ask_platform(self, *asked: Any) -> list[Any]:
        await self._enter()
        return await self._store.ask_platform(*asked)

    async def _enter(self) -> None:
        self.transactions += 1
        self.entered.set()
        await self.gate.wait()
        if self.away:
            raise AccessPolicyUnavailable("away")


@asynccontextmanager
async def _log(store: Database | Faulty, mode: str = "required") -> AsyncIterator[ExecutionLog]:
    class Settings(msgspec.Struct):
        audit_mode: str

    settings = cast("GatewaySettings", Settings(mode))
    async with open_execution_log(cast("Database", store), settings, CollectorRegistry()) as log:
        yield log


async def test_a_row_is_committed_before_open_returns_and_closed_behind_the_answer(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    opening = _opening(tenant)
    async with _log(shared_store) as log:
        execution = await log.open(opening)
        (row,) = rows(shared_database, tenant)
        assert (row["state"], row["finished_at"], row["http_status"]) == ("open", None, None)
        assert row["deadline_at"] - row["started_at"] == _milliseconds(5000)  # type: ignore[operator]
        log.close(execution, DONE)
        await log.flush()
    (row,) = rows(shared_database, tenant)
    started_at, finished_at = row.pop("started_at"), row.pop("finished_at")
    assert finished_at - started_at == _milliseconds(12.5)  # type: ignore[operator]
    del row["deadline_at"]
    expected = {
        **{name: str(value) for name, value in msgspec.to_builtins(opening).items() if name != "timeout_ms"},
        **msgspec.to_builtins(DONE),
    }
    assert {name: str(value) if name.endswith("id") else value for name, value in row.items()} == expected


def _milliseconds(value: float) -> Any:
    return timedelta(milliseconds=value)


async def test_the_log_holds_nothing_a_guest_or_client_could_have_written(shared_database: DatabaseUrls) -> None:
    with psycopg.connect(shared_database.owner) as connection:
        found = connection.execute(
            "select column_name from information_schema.columns where table_name = 'extension_execution_log'"
        ).fetchall()
    assert {str(row[0]) for row in found} == {
        "id", "started_at", "tenant_id", "request_id", "registry_id", "install_id", "version_id", "content_hash",
        "principal", "principal_kind", "method", "endpoint", "state", "deadline_at", "finished_at", "http_status",
        "duration_ms", "queue_ms", "cpu_ms", "memory_peak_bytes", "egress_bytes", "host_calls", "cold", "code", "blame",
    }  # fmt: skip


async def test_only_the_first_end_counts(shared_store: Database, shared_database: DatabaseUrls, tenant: str) -> None:
    async with _log(shared_store) as log:
        execution = await log.open(_opening(tenant))
        log.close(execution, DONE)
        log.close(execution, msgspec.structs.replace(DONE, state="cancelled"))
        await log.flush()
        await log.flush()
    assert [row["state"] for row in rows(shared_database, tenant)] == ["ok"]


async def test_those_who_come_while_a_commit_is_under_way_share_the_next_one(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    faulty = Faulty(shared_store)
    async with _log(faulty) as log:
        await log.open(_opening(tenant))
        lone = faulty.transactions
        faulty.pause()
        calls = [asyncio.create_task(log.open(_opening(tenant))) for _ in range(101)]
        await faulty.entered.wait()
        faulty.gate.set()
        await asyncio.gather(*calls)
        assert faulty.transactions - lone <= 3
    assert len(rows(shared_database, tenant)) == 102


async def test_what_has_ended_is_written_at_shutdown(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    async with _log(shared_store) as log:
        for _ in range(3):
            log.close(await log.open(_opening(tenant)), DONE)
    assert [row["state"] for row in rows(shared_database, tenant)] == ["ok"] * 3


async def test_a_closing_is_written_within_a_second_by_itself(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    async with _log(shared_store) as log:
        log.close(await log.open(_opening(tenant)), DONE)
        async with asyncio.timeout(1):
            while rows(shared_database, tenant)[0]["state"] == "open":  # noqa: ASYNC110 - the database sends no event
                await asyncio.sleep(0.02)


async def test_required_refuses_a_call_whose_row_cannot_be_written(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    faulty = Faulty(shared_store)
    async with _log(faulty) as log:
        faulty.away = True
        with pytest.raises(AccessPolicyUnavailable) as caught:
            await log.open(_opening(tenant))
        assert caught.value.status == 503
        faulty.away = False
        await log.open(_opening(tenant))
    assert len(rows(shared_database, tenant)) == 1


async def test_required_waits_for_a_hanging_database_no_longer_than_its_limit(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "AUDIT_OPEN_MAX_MS", 30)
    faulty = Faulty(shared_store)
    async with _log(faulty) as log:
        faulty.gate.clear()
        with pytest.raises(AccessPolicyUnavailable):
            await log.open(_opening(tenant))
        faulty.gate.set()
        async with asyncio.timeout(5):
            while not rows(shared_database, tenant):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert [row["state"] for row in rows(shared_database, tenant)] == ["upstream_error"]


async def test_best_effort_runs_the_call_and_writes_the_whole_row_later(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    faulty = Faulty(shared_store)
    async with _log(faulty, "best-effort") as log:
        faulty.away = True
        opening = _opening(tenant)
        execution = await log.open(opening)
        log.close(execution, DONE)
        with pytest.raises(AccessPolicyUnavailable):
            await log.flush()
        faulty.away = False
        await log.flush()
    (row,) = rows(shared_database, tenant)
    assert (str(row["id"]), row["state"], row["endpoint"]) == (opening.id, "ok", "/notes/:id")


async def test_a_caller_cancelled_while_its_row_is_written_leaves_no_open_row(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    faulty = Faulty(shared_store)
    async with _log(faulty) as log:
        faulty.pause()
        dispatched = asyncio.create_task(log.open(_opening(tenant)))
        await faulty.entered.wait()
        queued = asyncio.create_task(log.open(_opening(tenant)))
        await asyncio.sleep(0)
        for task in (dispatched, queued):
            task.cancel()
        await asyncio.gather(dispatched, queued, return_exceptions=True)
        faulty.gate.set()
        await log.open(_opening(tenant, endpoint="/after"))
        await log.flush()
    found = {str(row["endpoint"]): row["state"] for row in rows(shared_database, tenant)}
    assert found == {"/notes/:id": "cancelled", "/after": "open"}


async def test_one_row_the_database_refuses_does_not_deny_its_neighbours(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str
) -> None:
    faulty = Faulty(shared_store)
    async with _log(faulty) as log:
        faulty.pause()
        first = asyncio.create_task(log.open(_opening(tenant)))
        await faulty.entered.wait()
        bad = asyncio.create_task(log.open(_opening(tenant, install_id="not a uuid")))
        good = asyncio.create_task(log.open(_opening(tenant)))
        await asyncio.sleep(0)
        faulty.gate.set()
        await asyncio.gather(first, good)
        with pytest.raises(AccessPolicyUnavailable):
            await bad
        log.close(await good, msgspec.structs.replace(DONE, state="no such state"))
        log.close(await first, DONE)
        await log.flush()
    assert sorted(str(row["state"]) for row in rows(shared_database, tenant)) == ["ok", "open"]


async def test_closings_wait_for_a_database_that_is_away_in_bounded_memory(shared_store: Database, tenant: str) -> None:
    faulty = Faulty(shared_store)
    registry = CollectorRegistry()
    log = ExecutionLog(cast("Database", faulty), required=False, metrics=ExecutionMetrics(registry))
    opener = asyncio.create_task(log.open_for_ever())
    try:
        faulty.away = True
        for _ in range(3):
            log.close(await log.open(_opening(tenant)), DONE)
        execution = await log.open(_opening(tenant))
    finally:
        opener.cancel()
        await asyncio.gather(opener, return_exceptions=True)
    for _ in range(AUDIT_CLOSE_QUEUE_MAX_ROWS):
        log._enqueue(execution, DONE)
    assert registry.get_sample_value("ext_audit_dropped_total") == 3
    assert registry.get_sample_value("ext_requests_total", {"code": "ok", "blame": "none"}) == 3


@pytest.fixture
def backdate(shared_database: DatabaseUrls, tenant: str) -> Iterator[Any]:
    """Moves the deadlines of the tenant's rows into the past."""

    def move(seconds: float) -> None:
        with psycopg.connect(shared_database.owner, autocommit=True) as connection:
            connection.execute(
                "update extension_execution_log set deadline_at = now() - %s * interval '1 second' where tenant_id = %s",
                (seconds, tenant),
            )

    yield move
    with contextlib.suppress(Exception):
        move(0)


async def test_a_row_whose_caller_died_becomes_lost_and_a_younger_one_stays(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str, backdate: Any
) -> None:
    async with _log(shared_store) as log:
        dead = await log.open(_opening(tenant))
        backdate(EXECUTION_LOST_GRACE_S - 2)
        await reap_once(shared_store)
        assert [row["state"] for row in rows(shared_database, tenant)] == ["open"]
        backdate(EXECUTION_LOST_GRACE_S + 1)
        await log.open(_opening(tenant, endpoint="/young"))
        assert await reap_once(shared_store) >= 1
        found = {str(row["endpoint"]): row for row in rows(shared_database, tenant)}
        assert (found["/notes/:id"]["state"], found["/young"]["state"]) == ("lost", "open")
        assert found["/notes/:id"]["finished_at"] is not None
        del dead


async def test_who_dispatched_a_call_knows_better_than_the_reaper(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str, backdate: Any
) -> None:
    async with _log(shared_store) as log:
        late = await log.open(_opening(tenant))
        backdate(EXECUTION_LOST_GRACE_S + 1)
        await reap_once(shared_store)
        log.close(late, DONE)
        await log.flush()
    assert [row["state"] for row in rows(shared_database, tenant)] == ["ok"]


async def test_many_dead_rows_are_closed_in_batches(
    shared_store: Database, shared_database: DatabaseUrls, tenant: str, backdate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.audit.reaper.AUDIT_BATCH_MAX_ROWS", 4)
    async with _log(shared_store) as log:
        await asyncio.gather(*(log.open(_opening(tenant)) for _ in range(10)))
        backdate(EXECUTION_LOST_GRACE_S + 1)
        assert await reap_once(shared_store) >= 10
    assert {row["state"] for row in rows(shared_database, tenant)} == {"lost"}


async def test_a_tenant_reads_its_own_rows_only(shared_store: Database, tenant: str) -> None:
    async with _log(shared_store) as log:
        await log.open(_opening(tenant))
        await log.open(_opening(f"{tenant}-other"))
    async with shared_store.tenant(tenant) as tx:
        found = await (await tx.execute("select distinct tenant_id from extension_execution_log")).fetchall()
    assert found == [(tenant,)]

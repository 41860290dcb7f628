"""Schedules of a tenant's installs and what became of their fire times, as the tenant sees and changes them.

Who makes the calls is `gateway.store.platform.schedules`: it alone writes how a run went. A schedule that is changed
gets its next fire time with the change; one that rested (none) gets it from whoever looks next.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

import msgspec
from psycopg.rows import class_row, scalar_row

from gateway.store.pool import Tx

Delivery = Literal["at_most_once", "at_least_once"]
Missed = Literal["run_latest", "skip"]
RunState = Literal["waiting", "running", "ok", "failed", "lost", "missed"]
Cause = Literal["time", "request"]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a schedule is to do.

    Attributes:
        payload: JSON text.
        delivery: whether a call that failed may be made again.
        missed: what becomes of fire times nobody was there for.
    """

    endpoint_method: str
    endpoint_path: str
    cron: str
    timezone: str
    name: str | None = None
    enabled: bool = True
    payload: str | None = None
    delivery: Delivery = "at_most_once"
    missed: Missed = "run_latest"


class Schedule(Terms, frozen=True, kw_only=True):
    """One schedule.

    Attributes:
        next_fire_at: none until somebody found it, and while the schedule rests.
        last_run_at, last_run_status, last_error: of the run that ended last.
    """

    id: str
    tenant_id: str
    install_id: str
    next_fire_at: datetime | None
    last_fire_at: datetime | None
    last_run_at: datetime | None
    last_run_status: str | None
    last_error: str | None
    created_by: str
    created_at: datetime
    updated_at: datetime


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one fire time.

    Attributes:
        cause: whether its time came, or somebody asked for it.
        attempt: how many calls were made.
        due_at: when it is tried, or its lease ends; none when it has ended.
        code: the platform's error code; none when the guest answered.
        execution_id: of the last attempt, in the execution log.
    """

    schedule_id: str
    fire_at: datetime
    cause: Cause
    state: RunState
    attempt: int
    due_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    http_status: int | None
    code: str | None
    error: str | None
    execution_id: str | None


_SCHEDULE: Final = """
select id, tenant_id, install_id, endpoint_method, endpoint_path, name, cron, timezone, enabled, payload, delivery, missed,
       next_fire_at, last_fire_at, last_run_at, last_run_status, last_error, created_by, created_at, updated_at
  from tenant_extension_schedule
"""

_RUN: Final = """schedule_id, fire_at, cause, state, attempt, due_at, started_at, finished_at, http_status, code, error,
       execution_id"""


async def now(tx: Tx) -> datetime:
    """The time by which schedules go."""
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("select clock_timestamp()")
        found = await cursor.fetchone()
    assert isinstance(found, datetime)
    return found


async def of_install(tx: Tx, install_id: str) -> list[Schedule]:
    """Every schedule of an install, the oldest first."""
    async with tx.cursor(row_factory=class_row(Schedule)) as cursor:
        await cursor.execute(_SCHEDULE + "where install_id = %s order by created_at, id", (install_id,))
        return await cursor.fetchall()


async def by_id(tx: Tx, install_id: str, schedule_id: str, *, lock: bool = False) -> Schedule | None:
    """One schedule of an install. `lock` keeps others from changing it until commit."""
    async with tx.cursor(row_factory=class_row(Schedule)) as cursor:
        statement = _SCHEDULE + "where install_id = %s and id = %s" + (" for update" if lock else "")
        await cursor.execute(statement, (install_id, schedule_id))
        return await cursor.fetchone()


async def count(tx: Tx, install_id: str) -> int:
    """How many schedules an install has."""
    cursor = await tx.execute("select count(*) from tenant_extension_schedule where install_id = %s", (install_id,))
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def insert(
    tx: Tx, *, new_id: str, tenant_id: str, install_id: str, terms: Terms, next_fire_at: datetime | None, actor: str
) -> None:
    """Make a schedule that fires at `next_fire_at` first."""
    await tx.execute(
        """insert into tenant_extension_schedule
             (id, tenant_id, install_id, endpoint_method, endpoint_path, name, cron, timezone, enabled, payload,
              delivery, missed, next_fire_at, created_by, created_at)
           values (%(id)s, %(tenant)s, %(install)s, %(endpoint_method)s, %(endpoint_path)s, %(name)s, %(cron)s,
                   %(timezone)s, %(enabled)s, %(payload)s, %(delivery)s, %(missed)s, %(next)s, %(actor)s,
                   clock_timestamp())""",
        {
            "id": new_id,
            "tenant": tenant_id,
            "install": install_id,
            "next": next_fire_at,
            "actor": actor,
            **{name: getattr(terms, name) for name in Terms.__struct_fields__},
        },
    )


async def update(tx: Tx, schedule_id: str, terms: Terms, next_fire_at: datetime | None) -> None:
    """Have a schedule do something else from now on, at `next_fire_at` first."""
    await tx.execute(
        """update tenant_extension_schedule
              set endpoint_method = %(endpoint_method)s, endpoint_path = %(endpoint_path)s, name = %(name)s,
                  cron = %(cron)s, timezone = %(timezone)s, enabled = %(enabled)s, payload = %(payload)s,
                  delivery = %(delivery)s, missed = %(missed)s, next_fire_at = %(next)s,
                  updated_at = now()
            where id = %(id)s""",
        {"id": schedule_id, "next": next_fire_at, **{name: getattr(terms, name) for name in Terms.__struct_fields__}},
    )


async def delete(tx: Tx, install_id: str, schedule_id: str) -> bool:
    """Remove a schedule and its runs; whether there was one."""
    cursor = await tx.execute(
        "delete from tenant_extension_schedule where install_id = %s and id = %s", (install_id, schedule_id)
    )
    return cursor.rowcount == 1


async def rest(tx: Tx, install_id: str) -> None:
    """Forget the next fire times of an install: what passes from now on was not missed."""
    await tx.execute(
        "update tenant_extension_schedule set next_fire_at = null where install_id = %s and next_fire_at is not null",
        (install_id,),
    )


async def request_run(tx: Tx, schedule: Schedule) -> Run | None:
    """Have a schedule run now; none when a run of it waits or runs already. The schedule's row must be locked."""
    async with tx.cursor(row_factory=class_row(Run)) as cursor:
        await cursor.execute(
            f"""insert into tenant_extension_schedule_run (schedule_id, fire_at, tenant_id, cause, state, due_at)
                select %(id)s, clock_timestamp(), %(tenant)s, 'request', 'waiting', clock_timestamp()
                 where not exists (select 1 from tenant_extension_schedule_run
                                    where schedule_id = %(id)s and due_at is not null)
                returning {_RUN}""",  # noqa: S608 - the names are the constant above
            {"id": schedule.id, "tenant": schedule.tenant_id},
        )
        return await cursor.fetchone()


async def runs(tx: Tx, schedule_id: str, before: datetime | None, limit: int) -> list[Run]:
    """The runs of a schedule, the newest first, those strictly before `before`."""
    async with tx.cursor(row_factory=class_row(Run)) as cursor:
        await cursor.execute(
            f"""select {_RUN} from tenant_extension_schedule_run
                 where schedule_id = %(id)s and (%(before)s::timestamptz is null or fire_at < %(before)s)
                 order by fire_at desc limit %(limit)s""",  # noqa: S608 - likewise
            {"id": schedule_id, "before": before, "limit": limit},
        )
        return await cursor.fetchall()

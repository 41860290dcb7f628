"""Fire times and runs of every tenant's schedules, moved on by any gateway, each by one of them only.

Two steps, each a commit of its own. `due` and `enter`: a fire time that came becomes a run that waits, once, since
(schedule, fire time) is the run's key. `take`: a run that waits is handed to one gateway, with a lease. Who dies in
between leaves a lease that ends: `give_up` ends such a run, or it is handed out again if the schedule wants that.

Whoever locks both locks the schedule before its runs, as removing a schedule does.

All times are given by the caller, who asks the database for them (`gateway.store.schedules.now`), so that gateways agree about the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec
from psycopg.rows import class_row, scalar_row

from gateway.store.pool import Tx
from gateway.store.schedules import Delivery, Missed, RunState
from shared.limits import SCHEDULE_ATTEMPTS_MAX, SCHEDULE_LEASE_S, SCHEDULE_RUNS_KEPT, SCHEDULE_TENANT_RUNS_MAX

LEASE: Final = timedelta(seconds=SCHEDULE_LEASE_S)


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule whose next fire time has come, or is to be found (then it is none); locked until commit."""

    id: str
    tenant_id: str
    cron: str
    timezone: str
    missed: Missed
    next_fire_at: datetime | None
    last_fire_at: datetime | None


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A run that one gateway has until its lease ends, and what it has to call.

    Attributes:
        attempt: 1 for the first; tells this claim from later ones of the same run.
    """

    schedule_id: str
    fire_at: datetime
    attempt: int
    tenant_id: str
    install_id: str
    endpoint_method: str
    endpoint_path: str
    payload: str | None
    delivery: Delivery


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended.

    Attributes:
        again_s: in how many seconds the next one is made; only for a run that waits.
    """

    state: RunState
    again_s: float | None = None
    http_status: int | None = None
    code: str | None = None
    error: str | None = None
    execution_id: str | None = None


async def next_at(tx: Tx) -> datetime | None:
    """When something will be due, as far as is known; none when nothing is."""
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """select least((select min(next_fire_at) from tenant_extension_schedule where enabled),
                            (select min(due_at) from tenant_extension_schedule_run where due_at is not null))"""
        )
        found: datetime | None = await cursor.fetchone()
        return found


# ---- fire times become runs ---------------------------------------------------------------------------------

_DUE: Final = """
select s.id, s.tenant_id, s.cron, s.timezone, s.missed, s.next_fire_at, s.last_fire_at
  from tenant_extension_schedule s join tenant_extension_install i on i.id = s.install_id and i.status = 'enabled'
 where s.enabled and (s.next_fire_at <= %(at)s or s.next_fire_at is null)
 order by s.next_fire_at nulls first limit %(limit)s
   for update of s skip locked
"""


async def due(tx: Tx, at: datetime, limit: int) -> list[Timed]:
    """Schedules of enabled installs whose time has come or is not known, locked; others pass over them."""
    async with tx.cursor(row_factory=class_row(Timed)) as cursor:
        await cursor.execute(_DUE, {"at": at, "limit": limit})
        return await cursor.fetchall()


async def enter(tx: Tx, schedule: Timed, fire_at: datetime, at: datetime) -> bool:
    """Have one fire time run; false when it did already, or an earlier one still waits for its first attempt."""
    cursor = await tx.execute(
        """insert into tenant_extension_schedule_run (schedule_id, fire_at, tenant_id, cause, state, due_at)
           select %(id)s, %(fire_at)s, %(tenant)s, 'time', 'waiting', %(at)s
            where not exists (select 1 from tenant_extension_schedule_run
                               where schedule_id = %(id)s and state = 'waiting' and attempt = 0 and cause = 'time')
           on conflict (schedule_id, fire_at) do nothing""",
        {"id": schedule.id, "fire_at": fire_at, "tenant": schedule.tenant_id, "at": at},
    )
    return cursor.rowcount == 1


async def pass_over(tx: Tx, schedule: Timed, fire_at: datetime, at: datetime, error: str) -> None:
    """Note that a fire time will not run, and why; nothing is noted about one that did."""
    await tx.execute(
        """with noted as (
             insert into tenant_extension_schedule_run (schedule_id, fire_at, tenant_id, cause, state, finished_at, error)
             values (%(id)s, %(fire_at)s, %(tenant)s, 'time', 'missed', %(at)s, %(error)s)
             on conflict (schedule_id, fire_at) do nothing returning 1
           )
           update tenant_extension_schedule set last_run_at = %(at)s, last_run_status = 'missed', last_error = %(error)s
            where id = %(id)s and exists (select 1 from noted)""",
        {"id": schedule.id, "fire_at": fire_at, "tenant": schedule.tenant_id, "at": at, "error": error},
    )


async def step(tx: Tx, schedule_id: str, *, fired: datetime | None, following: datetime) -> None:
    """Move a schedule on.

    Args:
        fired: the fire time that is behind it now, if one is.
        following: the next one.
    """
    await tx.execute(
        "update tenant_extension_schedule set last_fire_at = coalesce(%s, last_fire_at), next_fire_at = %s where id = %s",
        (fired, following, schedule_id),
    )


async def stuck(tx: Tx, schedule_id: str, *, until: datetime, error: str) -> None:
    """Note that no fire time can be found, and look again later."""
    await tx.execute(
        """update tenant_extension_schedule set next_fire_at = %s, last_run_status = 'failed', last_error = %s
            where id = %s""",
        (until, error, schedule_id),
    )


# ---- runs are handed out ------------------------------------------------------------------------------------

_GIVE_UP: Final = """
with over as (
  select r.schedule_id, r.fire_at, r.state = 'running' as began
    from tenant_extension_schedule_run r join tenant_extension_schedule s on s.id = r.schedule_id
   where r.due_at <= %(at)s
     and case r.state when 'running' then s.delivery = 'at_most_once' or r.attempt >= %(attempts)s
                      else not s.enabled and r.cause = 'time' end
   order by r.due_at limit %(limit)s for update of r, s skip locked
), ended as (
  update tenant_extension_schedule_run r
     set state = case when o.began then 'lost' else 'missed' end, due_at = null, finished_at = %(at)s,
         error = case when o.began then 'the gateway that made the call ended before it did'
                      else 'the schedule was switched off' end
    from over o where r.schedule_id = o.schedule_id and r.fire_at = o.fire_at
  returning r.schedule_id, r.state, r.error
)
update tenant_extension_schedule s set last_run_at = %(at)s, last_run_status = e.state, last_error = e.error
  from ended e where s.id = e.schedule_id
"""

# Tenants take turns, so that one with a thousand schedules at midnight does not come before everybody else.
_TAKE: Final = """
with turns as (
  select r.schedule_id, r.fire_at, r.due_at,
         row_number() over (partition by r.tenant_id order by r.due_at) as turn, coalesce(b.calls, 0) as calls
    from tenant_extension_schedule_run r
    left join unnest(%(tenants)s::text[], %(calls)s::integer[]) as b (tenant_id, calls) on b.tenant_id = r.tenant_id
   where r.due_at <= %(at)s
), chosen as (
  select r.schedule_id, r.fire_at from tenant_extension_schedule_run r
   where r.due_at <= %(at)s and (r.schedule_id, r.fire_at) in (
     select schedule_id, fire_at from turns where turn + calls <= %(share)s order by turn + calls, due_at limit %(limit)s)
   for update of r skip locked
)
update tenant_extension_schedule_run r
   set state = 'running', attempt = r.attempt + 1, due_at = %(until)s, started_at = %(at)s
  from chosen c, tenant_extension_schedule s
 where r.schedule_id = c.schedule_id and r.fire_at = c.fire_at and s.id = r.schedule_id
returning r.schedule_id, r.fire_at, r.attempt, s.tenant_id, s.install_id, s.endpoint_method, s.endpoint_path, s.payload,
          s.delivery
"""

_FINISH: Final = """
with ended as (
  update tenant_extension_schedule_run
     set state = %(state)s, due_at = %(at)s + make_interval(secs => %(again_s)s), finished_at = %(ended_at)s,
         http_status = %(http_status)s, code = %(code)s, error = %(error)s, execution_id = %(execution_id)s
   where schedule_id = %(id)s and fire_at = %(fire_at)s and state = 'running' and attempt = %(attempt)s
  returning started_at
)
update tenant_extension_schedule s
   set last_run_at = e.started_at, last_error = %(error)s,
       last_run_status = case %(state)s when 'waiting' then 'retrying' else %(state)s end
  from ended e where s.id = %(id)s
"""

_PRUNE: Final = """
delete from tenant_extension_schedule_run
 where schedule_id = %(id)s and due_at is null and fire_at < (
   select fire_at from tenant_extension_schedule_run where schedule_id = %(id)s
    order by fire_at desc offset %(kept)s - 1 limit 1)
"""


async def give_up(tx: Tx, at: datetime, limit: int) -> int:
    """End runs whose lease ended and that may not be made again, and those that nobody wants any more; how many."""
    cursor = await tx.execute(_GIVE_UP, {"at": at, "attempts": SCHEDULE_ATTEMPTS_MAX, "limit": limit})
    return cursor.rowcount


async def take(tx: Tx, at: datetime, *, under_way: Mapping[str, int], limit: int) -> list[Claim]:
    """Runs for the caller to make, until a lease from now ends.

    Args:
        at: now.
        under_way: how many calls of each tenant the caller makes already.
        limit: how many at most.
    """
    async with tx.cursor(row_factory=class_row(Claim)) as cursor:
        await cursor.execute(
            _TAKE,
            {
                "at": at,
                "until": at + LEASE,
                "tenants": list(under_way),
                "calls": list(under_way.values()),
                "share": SCHEDULE_TENANT_RUNS_MAX,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def finish(tx: Tx, claim: Claim, end: End, at: datetime) -> bool:
    """Write how an attempt ended, and forget the oldest runs of its schedule; false when the claim was lost meanwhile."""
    about = {"id": claim.schedule_id, "fire_at": claim.fire_at, "attempt": claim.attempt, "at": at}
    await tx.execute("select 1 from tenant_extension_schedule where id = %s for update", (claim.schedule_id,))
    cursor = await tx.execute(
        _FINISH, about | msgspec.structs.asdict(end) | {"ended_at": at if end.again_s is None else None}
    )
    await tx.execute(_PRUNE, {"id": claim.schedule_id, "kept": SCHEDULE_RUNS_KEPT})
    return cursor.rowcount == 1

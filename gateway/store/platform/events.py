"""Deliveries of events across tenants: claiming what is due, removing what is past its time. Never what an event says.

A claim takes turns. First the queue of each install gives its oldest due delivery, then tenants take turns with theirs;
so nobody's backlog stands in front of anybody else's single event. Rows another gateway is claiming are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from psycopg.rows import class_row

from gateway.store.deliveries import Claim
from gateway.store.pool import Tx
from shared.limits import EVENT_CLAIM_INSTALLS_MAX

# The first part is the distinct installs of the index on (install_id, due_at), found by jumping from one to the next: so
# many, from a random one on and around, so that a claim costs the same however many there are.
_CLAIM: Final = """
with recursive queue as (
  (select d.install_id, 0 as lap, 1 as place from extension_event_delivery d
    where d.state = 'waiting' and d.install_id >= %(start)s::uuid order by d.install_id limit 1)
  union all
  (select d.install_id, 1, 1 from extension_event_delivery d
    where d.state = 'waiting' and d.install_id < %(start)s::uuid
      and not exists (select 1 from extension_event_delivery x
                       where x.state = 'waiting' and x.install_id >= %(start)s::uuid)
    order by d.install_id limit 1)
  union all
  select n.install_id, n.lap, q.place + 1
    from queue q cross join lateral (
      (select d.install_id, q.lap from extension_event_delivery d
        where d.state = 'waiting' and d.install_id > q.install_id and (q.lap = 0 or d.install_id < %(start)s::uuid)
        order by d.install_id limit 1)
      union all
      (select d.install_id, 1 from extension_event_delivery d
        where d.state = 'waiting' and q.lap = 0 and d.install_id < %(start)s::uuid
          and not exists (select 1 from extension_event_delivery x
                           where x.state = 'waiting' and x.install_id > q.install_id)
        order by d.install_id limit 1)) as n
   where q.place < %(installs_max)s
), head as (
  select d.tenant_id, d.event_id, d.install_id, d.due_at,
         row_number() over (partition by d.tenant_id order by d.due_at) as turn
    from queue q
    join tenant_extension_install i on i.id = q.install_id and i.is_enabled
    join extension_version v on v.id = i.version_id and v.revoked_at is null
   cross join lateral (
      select w.tenant_id, w.event_id, w.install_id, w.due_at from extension_event_delivery w
       where w.install_id = q.install_id and w.state = 'waiting' and w.due_at <= now()
       order by w.due_at limit 1 for update skip locked) as d
   where q.install_id <> all (%(full_installs)s::uuid[])
), chosen as (
  select h.* from head h
    left join unnest(%(tenants)s::text[], %(running)s::integer[]) as b (tenant_id, running) using (tenant_id)
   where h.turn <= %(tenant_max)s - coalesce(b.running, 0)
   order by h.turn + coalesce(b.running, 0), h.due_at limit %(limit)s
)
update extension_event_delivery d
   set attempt = d.attempt + 1, due_at = now() + make_interval(secs => %(lease_s)s)
  from chosen c
 where d.tenant_id = c.tenant_id and d.event_id = c.event_id and d.install_id = c.install_id
returning d.tenant_id, d.event_id, d.install_id, d.attempt"""

_EXPIRE: Final = """
update extension_event_delivery d
   set state = 'dead', code = 'expired', detail = %s, finished_at = now()
  from (select tenant_id, event_id, install_id from extension_event_delivery
         where state = 'waiting' and due_at <= now() and created_at < now() - make_interval(days => %s)
         limit %s for update skip locked) as old
 where d.tenant_id = old.tenant_id and d.event_id = old.event_id and d.install_id = old.install_id"""

_REMOVE: Final = """
delete from extension_event_delivery d
 using (select tenant_id, event_id, install_id from extension_event_delivery
         where (state = 'dead' and finished_at < now() - make_interval(days => %s))
            or (state = 'delivered' and finished_at < now() - make_interval(secs => %s))
         limit %s) as old
 where d.tenant_id = old.tenant_id and d.event_id = old.event_id and d.install_id = old.install_id"""

_TRIM: Final = """
delete from extension_event_delivery d
 using (select install_id from extension_event_delivery where state = 'dead'
         group by install_id having count(*) > %(keep)s) as crowded
 cross join lateral (
   select tenant_id, event_id from extension_event_delivery x
    where x.install_id = crowded.install_id and x.state = 'dead'
    order by x.finished_at desc, x.event_id offset %(keep)s limit %(limit)s) as old
 where d.state = 'dead' and d.install_id = crowded.install_id
   and d.tenant_id = old.tenant_id and d.event_id = old.event_id"""

_FORGET: Final = """
delete from extension_event e
 using (select tenant_id, id from extension_event x
         where x.created_at < now() - make_interval(secs => %s)
           and not exists (select 1 from extension_event_delivery d
                            where d.tenant_id = x.tenant_id and d.event_id = x.id)
         order by x.created_at limit %s) as old
 where e.tenant_id = old.tenant_id and e.id = old.id"""


async def claim(
    tx: Tx,
    *,
    limit: int,
    tenant_max: int,
    lease_s: int,
    full_installs: Sequence[str],
    running: Mapping[str, int],
    start: str,
    installs_max: int = EVENT_CLAIM_INSTALLS_MAX,
) -> list[Claim]:
    """Take deliveries that are due, at most one of each install, for as long as a lease.

    Args:
        limit: how many at most.
        tenant_max: how many one tenant may have under way here.
        full_installs: that have as many under way here as they may.
        running: how many each tenant has under way here.
        start: a random id; installs are looked at from there on.
        installs_max: how many of them.
    """
    async with tx.cursor(row_factory=class_row(Claim)) as cursor:
        await cursor.execute(
            _CLAIM,
            {
                "limit": limit,
                "tenant_max": tenant_max,
                "lease_s": lease_s,
                "full_installs": list(full_installs),
                "tenants": list(running),
                "running": list(running.values()),
                "start": start,
                "installs_max": installs_max,
            },
        )
        return await cursor.fetchall()


async def expire(tx: Tx, *, wait_max_days: int, limit: int) -> int:
    """Give up what has waited too long, because its install rests; how many."""
    told = f"it could not be delivered within {wait_max_days} days: the extension was disabled or revoked, or failed"
    return (await tx.execute(_EXPIRE, (told, wait_max_days, limit))).rowcount


async def remove_finished(tx: Tx, *, kept_s: int, dead_kept_days: int, limit: int) -> int:
    """Remove deliveries that ended long ago; how many."""
    return (await tx.execute(_REMOVE, (dead_kept_days, kept_s, limit))).rowcount


async def trim_dead(tx: Tx, *, keep: int, limit: int) -> int:
    """Remove dead letters of installs that have more than the newest `keep`, `limit` of each install; how many."""
    return (await tx.execute(_TRIM, {"keep": keep, "limit": limit})).rowcount


async def forget(tx: Tx, *, kept_s: int, limit: int) -> int:
    """Remove events that are old enough and have no deliveries left; how many."""
    return (await tx.execute(_FORGET, (kept_s, limit))).rowcount

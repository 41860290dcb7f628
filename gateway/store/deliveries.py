"""Deliveries of events: one attempt's words and settlement, what an administrator sees, redelivery. One tenant at a time.

Claiming crosses tenants and is done elsewhere; from the claim on, everything about an event is read and written as its
tenant, so that no mistake here can show one tenant's event to another's install.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

import msgspec
from psycopg.rows import class_row

from gateway.store.events import Event
from gateway.store.notices import EVENT_DUE
from gateway.store.pool import Database, Tx

State = Literal["waiting", "delivered", "dead"]

# ---- one delivery -------------------------------------------------------------------------------------------

_LOAD: Final = """
select e.id, e.source, e.topic, e.subject, e.occurred_at, e.media_type, e.payload, e.origin_id, e.hops, d.failures,
       s.handler
  from extension_event_delivery d
  join extension_event e on e.tenant_id = d.tenant_id and e.id = d.event_id
  join tenant_extension_install i on i.id = d.install_id
  left join extension_event_subscription s on s.version_id = i.version_id and s.topic = e.topic
 where d.tenant_id = %(tenant)s and d.event_id = %(event)s::uuid and d.install_id = %(install)s::uuid
   and d.state = 'waiting' and d.attempt = %(attempt)s"""

_SETTLE: Final = """
with settled as (
  update extension_event_delivery d
     set state = %(state)s, failures = d.failures + %(failed)s::boolean::integer,
         due_at = clock_timestamp() + make_interval(secs => %(pause_s)s),
         http_status = %(http_status)s, code = %(code)s, detail = %(detail)s, execution_id = %(execution_id)s::uuid,
         finished_at = case when %(state)s <> 'waiting' then clock_timestamp() end
   where d.tenant_id = %(tenant)s and d.event_id = %(event)s::uuid and d.install_id = %(install)s::uuid
     and d.state = 'waiting' and d.attempt = %(attempt)s
  returning d.state
), emptied as (
  update extension_event e set payload = null
   where %(state)s = 'delivered' and exists (select 1 from settled)
     and e.tenant_id = %(tenant)s and e.id = %(event)s::uuid
     and not exists (select 1 from extension_event_delivery o
                      where o.tenant_id = e.tenant_id and o.event_id = e.id
                        and o.install_id <> %(install)s::uuid and o.state <> 'delivered')
)
select count(*) > 0 as held from settled"""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at one delivery; nobody else has it until its lease ends."""

    tenant_id: str
    event_id: str
    install_id: str
    attempt: int


class Loaded(Event, frozen=True, kw_only=True):
    """The event of a claimed delivery.

    Attributes:
        failures: how often the extension failed on it.
        handler: where the installed version wants it; none: it does not subscribe any more.
    """

    failures: int
    handler: str | None


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an attempt.

    Attributes:
        failed: whether it counts as a failure of the extension.
        pause_s: before the next attempt, when there is to be one.
    """

    state: State
    failed: bool = False
    pause_s: float = 0
    http_status: int | None = None
    code: str | None = None
    detail: str | None = None
    execution_id: str | None = None


class _Held(msgspec.Struct, frozen=True, kw_only=True):
    held: bool


async def load(store: Database, claim: Claim) -> Loaded | None:
    """The event of a claimed delivery; none when the attempt is not the current one any more."""
    rows = await store.ask(claim.tenant_id, _LOAD, _about(claim), Loaded)
    return rows[0] if rows else None


async def settle(store: Database, claim: Claim, settlement: Settlement) -> bool:
    """Say what became of an attempt; false, and nothing written, when it is not the current one any more."""
    about = {**_about(claim), **msgspec.structs.asdict(settlement)}
    (row,) = await store.ask(claim.tenant_id, _SETTLE, about, _Held)
    return row.held


def _about(claim: Claim) -> dict[str, str | int]:
    return {
        "tenant": claim.tenant_id,
        "event": claim.event_id,
        "install": claim.install_id,
        "attempt": claim.attempt,
    }


# ---- what an administrator sees -----------------------------------------------------------------------------

_DELIVERIES: Final = """
select d.event_id, e.source, e.topic, e.subject, e.occurred_at, e.hops, d.state, d.attempt, d.failures, d.due_at,
       d.http_status, d.code, d.detail, d.execution_id, d.created_at, d.finished_at
  from extension_event_delivery d join extension_event e on e.tenant_id = d.tenant_id and e.id = d.event_id
 where d.tenant_id = %(tenant)s and d.install_id = %(install)s::uuid
   and (%(state)s::text is null or d.state = %(state)s)
   and (%(before)s::timestamptz is null
        or (d.created_at, d.event_id) < (%(before)s::timestamptz, %(before_id)s::uuid))
 order by d.created_at desc, d.event_id desc limit %(limit)s"""

_REDELIVER: Final = """
with chosen as (
  select d.event_id from extension_event_delivery d
   where d.tenant_id = %(tenant)s and d.install_id = %(install)s::uuid and d.state = 'dead'
     and (%(event)s::uuid is null or d.event_id = %(event)s::uuid)
   order by d.created_at, d.event_id limit %(limit)s for update
), again as (
  update extension_event_delivery d
     set state = 'waiting', failures = 0, due_at = clock_timestamp(), created_at = clock_timestamp(), finished_at = null
    from chosen c
   where d.tenant_id = %(tenant)s and d.install_id = %(install)s::uuid and d.event_id = c.event_id
  returning 1
)
select count(*) from again"""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery, without what the event says."""

    event_id: str
    source: str
    topic: str
    subject: str | None
    occurred_at: datetime
    hops: int
    state: State
    attempt: int
    failures: int
    due_at: datetime
    http_status: int | None
    code: str | None
    detail: str | None
    execution_id: str | None
    created_at: datetime
    finished_at: datetime | None


async def deliveries(
    tx: Tx, *, tenant_id: str, install_id: str, state: State | None, before: tuple[datetime, str] | None, limit: int
) -> list[Delivery]:
    """Deliveries to an install, the newest first, strictly before a time and event."""
    async with tx.cursor(row_factory=class_row(Delivery)) as cursor:
        await cursor.execute(
            _DELIVERIES,
            {
                "tenant": tenant_id,
                "install": install_id,
                "state": state,
                "before": None if before is None else before[0],
                "before_id": None if before is None else before[1],
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def redeliver(tx: Tx, *, tenant_id: str, install_id: str, event_id: str | None, limit: int) -> int:
    """Let dead letters wait again as if they were new, one or the oldest ones; how many."""
    cursor = await tx.execute(
        _REDELIVER, {"tenant": tenant_id, "install": install_id, "event": event_id, "limit": limit}
    )
    row = await cursor.fetchone()
    assert row is not None
    await tx.execute("select pg_notify(%s, '')", (EVENT_DUE,))
    return int(row[0])

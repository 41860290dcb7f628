"""The execution log's statements: rows opened and closed many at a time, across tenants, and counted as usage.

The platform login writes them, because one commit carries the calls of many tenants; tenants read their own rows
through row-level security. Times are the database's, so that a gateway's clock can neither lose a call nor keep one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import psycopg
from psycopg.rows import scalar_row

from gateway.store.pool import Database, Tx

Refused = psycopg.Error
"""The database was reached and did not take a row: not a fault of the connection (the pool turns those into 503)."""

_OPENING: Final[dict[str, str]] = {
    "id": "uuid",
    "tenant_id": "text",
    "request_id": "text",
    "registry_id": "uuid",
    "install_id": "uuid",
    "version_id": "uuid",
    "content_hash": "text",
    "principal": "text",
    "principal_kind": "text",
    "method": "text",
    "endpoint": "text",
}
_CLOSING: Final[dict[str, str]] = {
    "state": "text",
    "http_status": "integer",
    "duration_ms": "double precision",
    "queue_ms": "double precision",
    "cpu_ms": "double precision",
    "memory_peak_bytes": "bigint",
    "egress_bytes": "bigint",
    "host_calls": "integer",
    "cold": "boolean",
    "code": "text",
    "blame": "text",
}


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a call before it is dispatched.

    Attributes:
        id: of the row, a UUID.
        endpoint: the declared template; empty when the call meets none.
        timeout_ms: the call's time; the row is lost long after it.
    """

    id: str
    tenant_id: str
    request_id: str
    registry_id: str
    install_id: str
    version_id: str
    content_hash: str
    principal: str
    principal_kind: str
    method: str
    endpoint: str
    timeout_ms: int


class Closing(msgspec.Struct, frozen=True, kw_only=True):
    """How a call ended. `code` and `blame` are none when the guest answered.

    Attributes:
        state: one of the terminal states.
        duration_ms: from the opened row to the end, as the gateway measured it.
    """

    state: str
    http_status: int
    duration_ms: float
    queue_ms: float = 0.0
    cpu_ms: float = 0.0
    memory_peak_bytes: int = 0
    egress_bytes: int = 0
    host_calls: int = 0
    cold: bool = False
    code: str | None = None
    blame: str | None = None


Finished = tuple[Opening, Closing]


def _columns(types: dict[str, str]) -> str:
    return ", ".join(types)


def _arrays(types: dict[str, str]) -> str:
    return ", ".join(f"%s::{kind}[]" for kind in types.values())


_OPEN: Final = f"""
insert into extension_execution_log ({_columns(_OPENING)}, started_at, deadline_at)
select {_columns(_OPENING)}, now(), now() + timeout_ms * interval '1 millisecond'
from unnest({_arrays(_OPENING)}, %s::integer[]) as o({_columns(_OPENING)}, timeout_ms)
returning started_at
""".encode()  # noqa: S608 - the names are the constants above

# Rows of `ended` become usage of their hour. Ordered, so that two gateways lock the same rows in the same order.
_COUNT: Final = """
insert into extension_quota_usage as u
       (tenant_id, registry_id, window_start, invocations, cpu_ms, mem_mb_ms, egress_bytes, errors)
select tenant_id, registry_id, date_trunc('hour', started_at, 'UTC'), sum(calls), coalesce(sum(cpu_ms), 0),
       coalesce(sum(memory_peak_bytes / 1048576.0 * duration_ms), 0), coalesce(sum(egress_bytes), 0), sum(failed)
from ended group by 1, 2, 3 order by 1, 2, 3
on conflict (tenant_id, registry_id, window_start) do update
set invocations = u.invocations + excluded.invocations, cpu_ms = u.cpu_ms + excluded.cpu_ms,
    mem_mb_ms = u.mem_mb_ms + excluded.mem_mb_ms, egress_bytes = u.egress_bytes + excluded.egress_bytes,
    errors = u.errors + excluded.errors
"""

# The reaper's `lost` is a guess; who dispatched the call knows better, however late. Nothing else is overwritten.
_CLOSE: Final = f"""
with known as (
  select c.*, o.state as was
  from unnest(%s::uuid[], %s::timestamptz[], {_arrays(_CLOSING)}) as c(id, started_at, {_columns(_CLOSING)})
  join extension_execution_log o on o.id = c.id and o.started_at = c.started_at
  where o.state in ('open', 'lost')
), ended as (
  update extension_execution_log as e
  set {", ".join(f"{name} = c.{name}" for name in _CLOSING)},
      finished_at = e.started_at + c.duration_ms * interval '1 millisecond'
  from known c
  where e.id = c.id and e.started_at = c.started_at and e.state = c.was
  returning e.tenant_id, e.registry_id, e.started_at, e.cpu_ms, e.memory_peak_bytes, e.duration_ms, e.egress_bytes,
            (c.was = 'open')::integer as calls,
            (e.state <> 'ok')::integer - (c.was = 'lost')::integer as failed
), counted as ({_COUNT})
select count(*) from ended
""".encode()  # noqa: S608

_RECORD: Final = f"""
with ended as (
insert into extension_execution_log ({_columns(_OPENING)}, {_columns(_CLOSING)}, started_at, finished_at, deadline_at)
select {_columns(_OPENING)}, {_columns(_CLOSING)}, now() - duration_ms * interval '1 millisecond', now(), now()
from unnest({_arrays(_OPENING)}, {_arrays(_CLOSING)}) as r({_columns(_OPENING)}, {_columns(_CLOSING)})
returning tenant_id, registry_id, started_at, cpu_ms, memory_peak_bytes, duration_ms, egress_bytes, 1 as calls,
          (state <> 'ok')::integer as failed
) {_COUNT}
""".encode()  # noqa: S608

_REAP: Final = f"""
with ended as (
update extension_execution_log as e set state = 'lost', finished_at = now(), blame = 'host'
from (select id, started_at from extension_execution_log
      where state = 'open' and deadline_at < now() - %s * interval '1 second'
      order by deadline_at limit %s for update skip locked) as dead
where e.id = dead.id and e.started_at = dead.started_at
returning e.tenant_id, e.registry_id, e.started_at, null::double precision as cpu_ms, null::bigint as memory_peak_bytes,
          null::double precision as duration_ms, null::bigint as egress_bytes, 1 as calls, 1 as failed
), counted as ({_COUNT})
select count(*) from ended
""".encode()  # noqa: S608


class Started(msgspec.Struct, frozen=True):
    """When a batch of rows was opened."""

    started_at: datetime


async def open_rows(store: Database, rows: Sequence[Opening]) -> datetime:
    """Commit opening rows (at least one), in one exchange, since every call waits for it.

    Returns:
        The one time they all started, which with the id finds a row again.
    """
    found = await store.ask_platform(_OPEN, [*_pivot(rows, _OPENING), [row.timeout_ms for row in rows]], Started)
    return found[0].started_at


async def close_rows(tx: Tx, rows: Sequence[tuple[str, datetime, Closing]]) -> int:
    """Close rows given as (id, start, how it ended); how many were still open or presumed lost."""
    keys = [[row[0] for row in rows], [row[1] for row in rows]]
    return await _ended(tx, _CLOSE, [*keys, *_pivot([row[2] for row in rows], _CLOSING)])


async def record_rows(tx: Tx, rows: Sequence[Finished]) -> None:
    """Insert rows of calls that could not be opened when they began and have ended since."""
    openings, closings = [row[0] for row in rows], [row[1] for row in rows]
    await tx.execute(_RECORD, [*_pivot(openings, _OPENING), *_pivot(closings, _CLOSING)])


async def reap(tx: Tx, grace_s: int, limit: int) -> int:
    """Close as `lost` what is open `grace_s` seconds after its deadline; how many, at most `limit`."""
    return await _ended(tx, _REAP, (grace_s, limit))


async def _ended(tx: Tx, statement: bytes, arguments: Sequence[Any]) -> int:
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(statement, arguments)
        return int(await cursor.fetchone() or 0)


def _pivot(rows: Sequence[msgspec.Struct], types: dict[str, str]) -> list[list[Any]]:
    """One array for each column: what `unnest` turns back into rows."""
    return [[getattr(row, name) for row in rows] for name in types]

"""What a tenant used, by the hour and by extension, and its calls one by one: as the tenant may read them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from psycopg.rows import class_row

from gateway.store.pool import Tx


class Hour(msgspec.Struct, frozen=True, kw_only=True):
    """One extension in one hour.

    Attributes:
        window_start: of the hour, UTC.
        cpu_ms: milliseconds of one core.
        mem_mb_ms: MiB held, times the milliseconds for which.
        errors: calls that ended otherwise than with the guest's answer.
    """

    window_start: datetime
    extension_id: str
    publisher: str
    name: str
    invocations: int
    cpu_ms: float
    mem_mb_ms: float
    egress_bytes: int
    errors: int


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One call, as the execution log has it. What was measured is none while it is open, or when nobody could."""

    execution_id: str
    request_id: str
    version_id: str
    content_hash: str
    principal: str
    principal_kind: str
    method: str
    endpoint: str
    state: str
    started_at: datetime
    finished_at: datetime | None
    http_status: int | None
    duration_ms: float | None
    queue_ms: float | None
    cpu_ms: float | None
    memory_peak_bytes: int | None
    egress_bytes: int | None
    host_calls: int | None
    cold: bool | None
    code: str | None
    blame: str | None


_HOURS: Final = """
select u.window_start, u.registry_id as extension_id, coalesce(r.publisher, '') as publisher, coalesce(r.name, '') as name,
       u.invocations, u.cpu_ms, u.mem_mb_ms, u.egress_bytes, u.errors
from extension_quota_usage u
left join extension_registry r on r.id = u.registry_id
where u.tenant_id = %(tenant)s and u.window_start >= %(since)s and u.window_start < %(until)s
  and (%(extension)s::uuid is null or u.registry_id = %(extension)s::uuid)
  and (u.window_start, u.registry_id) > (%(after_start)s, %(after_id)s::uuid)
order by u.window_start, u.registry_id limit %(limit)s
"""

_EXECUTIONS: Final = """
select id as execution_id, request_id, version_id, content_hash, principal, principal_kind, method, endpoint, state,
       started_at, finished_at, http_status, duration_ms, queue_ms, cpu_ms, memory_peak_bytes, egress_bytes, host_calls,
       cold, code, blame
from extension_execution_log
where tenant_id = %(tenant)s and install_id = %(install)s and (started_at, id) < (%(before_at)s, %(before_id)s::uuid)
  and (%(state)s::text is null or state = %(state)s) and (%(request)s::text is null or request_id = %(request)s)
order by started_at desc, id desc limit %(limit)s
"""


async def hours(
    tx: Tx,
    tenant_id: str,
    *,
    since: datetime,
    until: datetime,
    extension_id: str | None,
    after: tuple[datetime, str],
    limit: int,
) -> list[Hour]:
    """Hours that begin in [since, until), oldest first, strictly after `after` (an hour and an extension's id)."""
    async with tx.cursor(row_factory=class_row(Hour)) as cursor:
        await cursor.execute(
            _HOURS,
            {
                "tenant": tenant_id,
                "since": since,
                "until": until,
                "extension": extension_id,
                "after_start": after[0],
                "after_id": after[1],
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def executions(
    tx: Tx,
    tenant_id: str,
    install_id: str,
    *,
    before: tuple[datetime, str],
    state: str | None,
    request_id: str | None,
    limit: int,
) -> list[Execution]:
    """Calls of an install, newest first, strictly before `before` (a time and an execution's id)."""
    async with tx.cursor(row_factory=class_row(Execution)) as cursor:
        await cursor.execute(
            _EXECUTIONS,
            {
                "tenant": tenant_id,
                "install": install_id,
                "before_at": before[0],
                "before_id": before[1],
                "state": state,
                "request": request_id,
                "limit": limit,
            },
        )
        return await cursor.fetchall()

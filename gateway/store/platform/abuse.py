"""What looks like abuse, counted from the log and from refused signatures; and the alerts that were raised about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec
from psycopg.rows import class_row

from gateway.store.pool import Tx

Kind = Literal["sandbox_violations", "signature_failures", "cpu_spend", "egress_spend"]
SubjectKind = Literal["version", "publisher", "tenant"]


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """A subject and how often it did something."""

    subject: str
    times: int


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant, or a publisher, used in the last hour."""

    subject_kind: SubjectKind
    subject: str
    cpu_ms: int
    egress_bytes: int


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One thing an operator should look at; `brake_id` when something was stopped because of it."""

    id: str
    kind: Kind
    subject_kind: SubjectKind
    subject: str
    reason: str
    measured: int
    allowed: int
    brake_id: str | None
    created_at: datetime
    last_at: datetime
    resolved_at: datetime | None


class OpenCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many alerts of a kind nobody has resolved."""

    kind: Kind
    times: int


_COLUMNS: Final = (
    """id, kind, subject_kind, subject, reason, measured, allowed, brake_id, created_at, last_at, resolved_at"""
)

# What happened before a brake was released was judged by the operator who released it.
_VIOLATING: Final = """
select e.version_id as subject, count(*) as times
  from extension_execution_log e
 where e.code = 'sandbox_violation' and e.started_at > now() - make_interval(mins => %(minutes)s)
   and e.started_at > coalesce((select max(k.released_at) from emergency_brake k
                                 where k.subject = 'version:' || e.version_id::text), '-infinity')
   and not exists (select 1 from emergency_brake k
                    where k.subject = 'version:' || e.version_id::text and k.released_at is null)
 group by e.version_id having count(*) >= %(most)s"""

_FAILING: Final = """
select f.publisher as subject, count(*) as times
  from publish_refusal f join publisher p on p.name = f.publisher
 where f.created_at > now() - interval '1 hour' and p.suspended_at is null
   and f.created_at > coalesce((select max(k.released_at) from emergency_brake k
                                 where k.subject = 'publisher:' || f.publisher), '-infinity')
 group by f.publisher having count(*) >= %(most)s"""

_SPENT: Final = """
with hour as materialized (
  select tenant_id, registry_id, coalesce(sum(cpu_ms), 0) as cpu_ms, coalesce(sum(egress_bytes), 0) as egress_bytes
    from extension_execution_log where started_at > now() - interval '1 hour' group by 1, 2
), each as (
  select 'tenant' as subject_kind, tenant_id as subject, sum(cpu_ms) as cpu_ms, sum(egress_bytes) as egress_bytes
    from hour group by 2
  union all
  select 'publisher', r.publisher, sum(h.cpu_ms), sum(h.egress_bytes)
    from hour h join extension_registry r on r.id = h.registry_id group by 2
)
select subject_kind, subject, cpu_ms::bigint as cpu_ms, egress_bytes::bigint as egress_bytes
  from each order by subject_kind, subject"""


async def violating(tx: Tx, *, most: int, minutes: int) -> list[Counted]:
    """Versions not stopped yet whose sandboxes died as `sandbox_violation` at least `most` times in `minutes`."""
    async with tx.cursor(row_factory=class_row(Counted)) as cursor:
        await cursor.execute(_VIOLATING, {"most": most, "minutes": minutes})
        return await cursor.fetchall()


async def failing(tx: Tx, *, most: int) -> list[Counted]:
    """Publishers not suspended yet with at least `most` refused signatures of their own in the last hour."""
    async with tx.cursor(row_factory=class_row(Counted)) as cursor:
        await cursor.execute(_FAILING, {"most": most})
        return await cursor.fetchall()


async def spent(tx: Tx) -> list[Spent]:
    """What every tenant and every publisher used in the last hour."""
    async with tx.cursor(row_factory=class_row(Spent)) as cursor:
        await cursor.execute(_SPENT)
        return await cursor.fetchall()


async def raise_alert(
    tx: Tx,
    kind: Kind,
    subject_kind: SubjectKind,
    subject: str,
    *,
    reason: str,
    measured: int,
    allowed: int,
    brake_id: str | None = None,
) -> bool:
    """Raise an alert, or bring the open one about the same up to date; whether it is a new one."""
    cursor = await tx.execute(
        """insert into abuse_alert (kind, subject_kind, subject, reason, measured, allowed, brake_id)
           values (%s, %s, %s, %s, %s, %s, %s)
           on conflict (kind, subject_kind, subject) where resolved_at is null do update
             set measured = excluded.measured, last_at = now(), reason = excluded.reason
           returning created_at = last_at""",
        (kind, subject_kind, subject, reason, measured, allowed, brake_id),
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def resolve(tx: Tx, kinds: Sequence[Kind], subject_kind: SubjectKind, subject: str) -> None:
    """Close what is open about a subject."""
    await tx.execute(
        """update abuse_alert set resolved_at = now()
            where kind = any (%s) and subject_kind = %s and subject = %s and resolved_at is null""",
        (list(kinds), subject_kind, subject),
    )


async def resolve_spend(tx: Tx, kind: Kind, above: Sequence[tuple[SubjectKind, str]]) -> None:
    """Close spend alerts about everybody who is not above the limit any more."""
    await tx.execute(
        """update abuse_alert set resolved_at = now()
            where kind = %s and resolved_at is null and (subject_kind, subject) not in (
              select * from unnest(%s::text[], %s::text[]))""",
        (kind, [one[0] for one in above], [one[1] for one in above]),
    )


async def open_counts(tx: Tx) -> list[OpenCount]:
    """How many alerts of each kind are open."""
    async with tx.cursor(row_factory=class_row(OpenCount)) as cursor:
        await cursor.execute("select kind, count(*) as times from abuse_alert where resolved_at is null group by kind")
        return await cursor.fetchall()


async def page(tx: Tx, *, active: bool | None, after: tuple[datetime, str] | None, limit: int) -> list[Alert]:
    """Alerts, the newest first, strictly after `after`."""
    async with tx.cursor(row_factory=class_row(Alert)) as cursor:
        await cursor.execute(
            f"""select {_COLUMNS} from abuse_alert
                 where (%(active)s::boolean is null or (resolved_at is null) = %(active)s)
                   and (%(at)s::timestamptz is null or (created_at, id) < (%(at)s::timestamptz, %(id)s::uuid))
                 order by created_at desc, id desc limit %(limit)s""".encode(),  # noqa: S608 - a constant
            {"active": active, "at": after[0] if after else None, "id": after[1] if after else None, "limit": limit},
        )
        return await cursor.fetchall()


async def forget_refusals(tx: Tx) -> int:
    """Remove refused signatures that no count looks at any more; how many."""
    return (await tx.execute("delete from publish_refusal where created_at < now() - interval '1 day'")).rowcount

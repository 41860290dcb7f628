"""Targets that a tenant's installs were denied: counted, listed, cleared. Bounded for each install by who adds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
import psycopg
from psycopg.rows import class_row

from gateway.store.pool import Tx

Refused = psycopg.Error
"""The database was reached and did not take a row, as for an install that is gone: asking again changes nothing."""


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be added to one target's count."""

    target: str
    reason: str
    grantable: bool
    observed: bool
    times: int


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """One target of an install, as it stands."""

    target: str
    reason: str
    grantable: bool
    observed: bool
    times: int
    first_at: datetime
    last_at: datetime


async def add(tx: Tx, tenant_id: str, install_id: str, rows: Sequence[Denied], *, kept: int) -> None:
    """Add to the counts of an install; of more than `kept` targets those go that were denied longest ago."""
    # Two gateways that add and remove at once would each wait for rows of the other.
    await tx.execute("select pg_advisory_xact_lock(hashtextextended(%s, 11))", (install_id,))
    await tx.execute(
        """insert into tenant_extension_denied_target as d
             (tenant_id, install_id, target, reason, grantable, observed, times)
           select %s, %s, target, reason, grantable, observed, times
             from unnest(%s::text[], %s::text[], %s::boolean[], %s::boolean[], %s::bigint[])
               as r(target, reason, grantable, observed, times)
           on conflict (install_id, target, reason) do update
              set times = d.times + excluded.times, grantable = excluded.grantable, observed = excluded.observed,
                  last_at = now()""",
        (
            tenant_id,
            install_id,
            [row.target for row in rows],
            [row.reason for row in rows],
            [row.grantable for row in rows],
            [row.observed for row in rows],
            [row.times for row in rows],
        ),
    )
    await tx.execute(
        """delete from tenant_extension_denied_target as d
            using (select target, reason from tenant_extension_denied_target where install_id = %(install)s
                    order by last_at desc, target, reason offset %(kept)s) as old
            where d.install_id = %(install)s and (d.target, d.reason) = (old.target, old.reason)""",
        {"install": install_id, "kept": kept},
    )


async def of_install(tx: Tx, install_id: str) -> list[Counted]:
    """Every target an install was denied, the latest first."""
    async with tx.cursor(row_factory=class_row(Counted)) as cursor:
        await cursor.execute(
            """select target, reason, grantable, observed, times, first_at, last_at
                 from tenant_extension_denied_target where install_id = %s order by last_at desc, target, reason""",
            (install_id,),
        )
        return await cursor.fetchall()


async def clear(tx: Tx, install_id: str) -> int:
    """Forget what an install was denied; how many targets that were."""
    cursor = await tx.execute("delete from tenant_extension_denied_target where install_id = %s", (install_id,))
    return cursor.rowcount

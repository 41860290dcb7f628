"""Who ran it: the execution log by tenant, install and version since a time, for whoever pulled a brake."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, LiteralString

import msgspec
from psycopg.rows import class_row

from gateway.store.pool import Tx

Scope = Literal["version", "publisher", "tenant", "all"]
Place = tuple[str, str, str]
"""Tenant, install, version: where a page ends."""


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """One install's calls of one version. `failed`: those that ended neither `ok` nor `cancelled`."""

    tenant_id: str
    install_id: str
    extension_id: str
    version_id: str
    executions: int
    first_at: datetime
    last_at: datetime
    failed: int


# The version comes first where it is known: that is the index. A publisher is its versions.
_WHERE: Final[dict[Scope, LiteralString]] = {
    "version": "e.version_id = %(name)s::uuid",
    "publisher": """e.version_id = any (array(
        select v.id from extension_version v join extension_registry r on r.id = v.registry_id
         where r.publisher = %(name)s))""",
    "tenant": "e.tenant_id = %(name)s",
    "all": "true",
}


async def page(
    tx: Tx, scope: Scope, name: str, *, since: datetime, until: datetime, after: Place | None, limit: int
) -> Sequence[Ran]:
    """Groups in the order of tenant, install and version, strictly after `after`."""
    async with tx.cursor(row_factory=class_row(Ran)) as cursor:
        await cursor.execute(
            f"""select e.tenant_id, e.install_id, e.registry_id as extension_id, e.version_id, count(*) as executions,
                       min(e.started_at) as first_at, max(e.started_at) as last_at,
                       count(*) filter (where e.state not in ('ok', 'open', 'cancelled')) as failed
                  from extension_execution_log e
                 where {_WHERE[scope]} and e.started_at >= %(since)s and e.started_at < %(until)s
                   and (%(tenant)s::text is null or (e.tenant_id, e.install_id, e.version_id)
                        > (%(tenant)s::text, %(install)s::uuid, %(version)s::uuid))
                 group by e.tenant_id, e.install_id, e.version_id, e.registry_id
                 order by e.tenant_id, e.install_id, e.version_id
                 limit %(limit)s""".encode(),  # noqa: S608 - constants
            {
                "name": name,
                "since": since,
                "until": until,
                "tenant": after[0] if after else None,
                "install": after[1] if after else None,
                "version": after[2] if after else None,
                "limit": limit,
            },
        )
        return await cursor.fetchall()

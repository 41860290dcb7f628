"""Everything of an install, removed for good. Whatever a table with an `install_id` is added for, it is removed here.

The execution log stays: it is the tenant's account of what ran on its behalf, and goes with its months; it has no
data of the extension's. So does the audit log.

Rows are removed in the order in which writers lock them, records before their counts, and the install itself last: a
writer that was late finds no install to count for, and fails.
"""

from __future__ import annotations

from typing import Final, LiteralString

import psycopg

from gateway.store.pool import Tx

Refused: Final = psycopg.IntegrityError
"""Somebody was late and added something meanwhile: to be tried again."""

_ALL: Final[tuple[LiteralString, ...]] = (
    "delete from ext_storage_records where install_id = %(install)s",
    "delete from ext_storage_namespaces where install_id = %(install)s",
    "delete from ext_storage_usage where install_id = %(install)s",
    # Once more: somebody may have added a record and waited for the counts that are gone now.
    "delete from ext_storage_records where install_id = %(install)s",
    "delete from ext_storage_namespaces where install_id = %(install)s",
    "delete from tenant_extension_schedule where install_id = %(install)s",
    "delete from extension_event_delivery where install_id = %(install)s",
    "delete from tenant_extension_denied_target where install_id = %(install)s",
    "delete from tenant_extension_install_secrets where install_id = %(install)s",
    "delete from tenant_extension_install_upgrade where install_id = %(install)s",
    "delete from tenant_extension_install_config where install_id = %(install)s",
    "delete from install_version_history where install_id = %(install)s",
    "delete from tenant_extension_install where id = %(install)s",
)


async def give_up(tx: Tx, install_id: str) -> None:
    """Nobody can bring an uninstalled install back from now on."""
    await tx.execute(
        "update tenant_extension_install set purge_after = now() where id = %s and status = 'uninstalled'",
        (install_id,),
    )


async def hold(tx: Tx, install_id: str) -> bool:
    """Whether an install is uninstalled and past its time; then nobody else touches it before the transaction ends."""
    cursor = await tx.execute(
        """select 1 from tenant_extension_install
            where id = %s and status = 'uninstalled' and purge_after <= now() for update""",
        (install_id,),
    )
    return await cursor.fetchone() is not None


async def remove_some(tx: Tx, install_id: str, limit: int) -> int:
    """Remove some of an install's records and of the events it published, at most `limit` of each; how many."""
    cursor = await tx.execute(
        """delete from ext_storage_records r
            using (select tenant_id, install_id, namespace, key from ext_storage_records
                    where install_id = %s order by tenant_id, install_id, namespace, key limit %s for update) as few
            where r.tenant_id = few.tenant_id and r.install_id = few.install_id
              and r.namespace = few.namespace and r.key = few.key""",
        (install_id, limit),
    )
    return cursor.rowcount + await _remove_events(tx, install_id, limit)


async def _remove_events(tx: Tx, install_id: str, limit: int) -> int:
    cursor = await tx.execute(
        """with few as (
             select tenant_id, id from extension_event where install_id = %s order by created_at limit %s
           ), deliveries as (
             delete from extension_event_delivery d using few
              where (d.tenant_id, d.event_id) = (few.tenant_id, few.id)
           ) select id from few""",
        (install_id, limit),
    )
    found = [str(row[0]) for row in await cursor.fetchall()]
    await tx.execute("delete from extension_event where id = any(%s::uuid[]) and install_id = %s", (found, install_id))
    return len(found)


async def remove_all(tx: Tx, install_id: str) -> None:
    """Remove the install and whatever hangs on it."""
    for statement in _ALL:
        await tx.execute(statement, {"install": install_id})

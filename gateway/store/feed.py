"""The state feed: appended by whoever changes something, in the order everyone will read it.

Numbers must become visible in order, or a reader that has seen 7 would never ask for a 6 that commits later. So one
transaction at a time appends, from its append to its commit: append last.
"""

from __future__ import annotations

from typing import Final

from gateway.store.pool import Tx
from shared.wire import StateKind

_LOCK: Final = "select pg_advisory_xact_lock(1634494305, 3)"  # "alga", 3

_UI_LIVE: Final = """
with shown as (
  select v.id::text as version_id, v.revoked_at, r.publisher
    from extension_registry r
    join extension_version v on v.registry_id = r.id
    join extension_bundle b on b.version_id = v.id
   where r.id = split_part(%(subject)s, '/', 1)::uuid and b.content_hash = split_part(%(subject)s, '/', 2)
)
insert into state_feed (kind, subject)
select 'ui_live', %(subject)s
 where not exists (select 1 from shown where revoked_at is not null)
   and not exists (
     select 1 from emergency_brake k
      where k.released_at is null
        and (k.scope = 'all' or (k.scope = 'tenant' and k.name = app_tenant())
             or (k.scope = 'version' and k.name in (select version_id from shown))
             or (k.scope = 'publisher' and k.name in (select publisher from shown))))"""


async def lock(tx: Tx) -> None:
    """Wait until nobody else appends; held until commit."""
    await tx.execute(_LOCK)


async def append(tx: Tx, kind: StateKind, subject: str) -> None:
    """Add one entry; none for the UI of a version that is revoked or that an emergency brake stops for this tenant.

    Args:
        tx: of the tenant whose install it is about (the database refuses anything else), or of the platform.
        kind: what happened.
        subject: the install's id, or `<extension_id>/<content_hash>`.
    """
    await lock(tx)
    if kind == "ui_live":
        await tx.execute(_UI_LIVE, {"subject": subject})
        return
    await tx.execute("insert into state_feed (kind, subject) values (%s, %s)", (kind, subject))

"""Which UIs are served right now: those somebody has enabled, of versions nobody revoked, behind no emergency brake.

Runners' asset listeners know extensions and digests only. So a brake on a version, a publisher, a tenant or everything
also says `ui_gone` for what nobody may use any more, and its release `ui_live` for what somebody may use again.
"""

from __future__ import annotations

from typing import Final, LiteralString

from gateway.store import feed
from gateway.store.pool import Tx
from shared.brakes import Brake

LIVE: Final = """i.status = 'enabled' and v.revoked_at is null and not exists (
    select 1 from emergency_brake k
     where k.released_at is null
       and (k.scope = 'all' or (k.scope = 'version' and k.name = v.id::text)
            or (k.scope = 'publisher' and k.name = r.publisher) or (k.scope = 'tenant' and k.name = i.tenant_id)))"""
"""Whether install `i` of version `v` of extension `r` keeps that version's UI served."""

INSTALLED: Final = """tenant_extension_install i
    join extension_version v on v.id = i.version_id
    join extension_registry r on r.id = i.registry_id
    join extension_bundle b on b.version_id = v.id"""

_PAIR: Final = "i.registry_id::text || '/' || b.content_hash"

_TOUCHED: Final[dict[str, LiteralString]] = {
    "all": "true",
    "version": "v.id::text = %(name)s",
    "publisher": "r.publisher = %(name)s",
    "tenant": "i.tenant_id = %(name)s",
    "capability": "false",  # it stops calls that may use the capability; a page is no such call
}


async def retire(tx: Tx, brake: Brake) -> None:
    """Announce as gone what this brake, which is pulled already, leaves to nobody."""
    await feed.lock(tx)
    await tx.execute(
        f"""insert into state_feed (kind, subject)
            select 'ui_gone', pair from (
              select {_PAIR} as pair, bool_or({LIVE}) as live from {INSTALLED}
               where i.status = 'enabled' and (i.registry_id, v.id) in (
                 select i.registry_id, v.id from {INSTALLED} where i.status = 'enabled' and {_TOUCHED[brake.scope]})
               group by 1) as touched
             where not live""".encode(),  # noqa: S608 - constants
        {"name": brake.name},
    )


async def revive(tx: Tx, brake: Brake) -> None:
    """Announce as live what this brake, which is released already, had taken away and somebody may use again."""
    await feed.lock(tx)
    await tx.execute(
        f"""insert into state_feed (kind, subject)
            select distinct 'ui_live', {_PAIR} from {INSTALLED} where {LIVE} and {_TOUCHED[brake.scope]}""".encode(),  # noqa: S608
        {"name": brake.name},
    )


async def retire_version(tx: Tx, version_id: str) -> None:
    """Announce as gone the UI of a version that was just revoked, if anybody had it installed."""
    await feed.lock(tx)
    await tx.execute(
        f"""insert into state_feed (kind, subject)
            select distinct 'ui_gone', {_PAIR} from {INSTALLED} where v.id = %s""".encode(),  # noqa: S608
        (version_id,),
    )

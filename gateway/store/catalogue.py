"""Extensions as one account finds them, and what their owner may change about that."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec
from psycopg.rows import class_row

from gateway.store.pool import Tx

Visibility = Literal["private", "unlisted", "public"]

_INSTALLED: Final = """exists (select 1 from tenant_extension_install i
        where i.registry_id = r.id and i.tenant_id = app_tenant() and i.status <> 'uninstalled')"""

LISTED: Final = f"""r.owner_account = app_tenant() or {_INSTALLED}
       or (r.visibility = 'private' and app_tenant() = any (r.allowed_tenants))
       or (r.visibility = 'public' and exists (
             select 1 from publisher p where p.name = r.publisher and p.approved and p.suspended_at is null))"""  # noqa: S608 - constants
"""Which rows `r` of `extension_registry` an account finds without knowing their name. Row-level security holds besides."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One extension, with its newest version that can be installed."""

    id: str
    publisher: str
    name: str
    display_name: str
    description: str
    visibility: Visibility
    owned: bool
    allowed_tenants: list[str]
    created_at: datetime
    version_id: str | None
    version: str | None
    content_hash: str | None
    installed: bool


_COLUMNS: Final = f"""
select r.id, r.publisher, r.name, r.display_name, r.description, r.visibility,
       r.owner_account = app_tenant() as owned, r.allowed_tenants, r.created_at,
       v.id as version_id, v.version, v.content_hash, {_INSTALLED} as installed
  from extension_registry r
  left join lateral (
    select v.id, v.version, b.content_hash
      from extension_version v join extension_bundle b on b.version_id = v.id
     where v.registry_id = r.id and v.state = 'ready' and v.revoked_at is null
     order by v.created_at desc, v.id desc limit 1) v on true
"""  # noqa: S608 - constants

# An exact name also finds what is unlisted.
_SEARCH: Final = f"""{_COLUMNS}
 where (r.publisher, r.name) > (%(after_publisher)s, %(after_name)s)
   and (%(publisher)s::text is null or r.publisher = %(publisher)s)
   and (%(q)s::text is null or position(lower(%(q)s) in lower(r.name)) > 0
        or position(lower(%(q)s) in lower(r.display_name)) > 0 or position(lower(%(q)s) in lower(r.description)) > 0
        or r.publisher || '.' || r.name = %(q)s)
   and ({LISTED} or (r.visibility = 'unlisted' and (r.name = %(q)s or r.publisher || '.' || r.name = %(q)s)))
 order by r.publisher, r.name
 limit %(limit)s""".encode()


async def search(
    tx: Tx, *, after: tuple[str, str], limit: int, q: str | None = None, publisher: str | None = None
) -> list[Listed]:
    """Extensions this account can find, by publisher and name, strictly after `after`.

    Args:
        q: part of the name, display name or description, in any case; an exact name also finds an unlisted extension.
        publisher: only this one's.
    """
    async with tx.cursor(row_factory=class_row(Listed)) as cursor:
        await cursor.execute(
            _SEARCH,
            {"after_publisher": after[0], "after_name": after[1], "q": q, "publisher": publisher, "limit": limit},
        )
        return await cursor.fetchall()


async def by_id(tx: Tx, registry_id: str) -> Listed | None:
    """One extension, when this account may see it."""
    async with tx.cursor(row_factory=class_row(Listed)) as cursor:
        await cursor.execute((_COLUMNS + " where r.id = %s").encode(), (registry_id,))
        return await cursor.fetchone()


async def change(
    tx: Tx,
    registry_id: str,
    *,
    visibility: Visibility | None,
    allowed_tenants: Sequence[str] | None,
    display_name: str | None,
) -> None:
    """Change what is given about an extension of one's own; the database refuses `public` without approval."""
    await tx.execute(
        """update extension_registry
              set visibility = coalesce(%s, visibility), allowed_tenants = coalesce(%s, allowed_tenants),
                  display_name = coalesce(%s, display_name), updated_at = now()
            where id = %s""",
        (visibility, None if allowed_tenants is None else list(allowed_tenants), display_name, registry_id),
    )

"""Which install of a tenant a reference means: one statement, always with the tenant in it.

Row-level security hides other tenants' rows already; the tenant stands in the statement as well, so that the index
is used and neither guard depends on the other. A reference to somebody else's install reads the same index and
finds the same nothing as one that never existed.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from psycopg.rows import class_row

from gateway.store.pool import Tx

_COLUMNS: Final = """
select i.id as install_id, i.registry_id as extension_id, i.version_id, r.publisher, r.name, v.version,
       v.revoked_at is not null as revoked, v.entry is not null as runnable, b.content_hash, i.is_enabled as enabled,
       i.granted_caps, i.granted_egress, i.granted_secrets, i.secrets_version, s.secrets, s.asked_secrets, i.endpoint_policy,
       i.debug_enabled, i.generation,
       coalesce(c.config, '{}') as config, coalesce(c.version, 0) as config_version, v.manifest,
       coalesce(q.invocations, 0) as used_invocations, coalesce(q.cpu_ms, 0) as used_cpu_ms,
       coalesce(q.egress_bytes, 0) as used_egress_bytes
from tenant_extension_install i
join extension_registry r on r.id = i.registry_id
join extension_version v on v.id = i.version_id
join lateral (select content_hash from extension_bundle where version_id = i.version_id order by id limit 1) b on true
left join tenant_extension_install_config c on c.install_id = i.id
left join extension_quota_usage q on q.tenant_id = i.tenant_id and q.registry_id = i.registry_id
      and q.window_start = date_trunc('hour', now(), 'UTC')
cross join lateral (
  select coalesce(jsonb_agg(jsonb_build_object(
           'name', x.name, 'algorithm', x.algorithm, 'key_id', x.key_id, 'version', x.version::text,
           'expires_at', to_char(x.expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
           'ciphertext_b64', translate(encode(x.ciphertext, 'base64'), chr(10), ''), 'hosts', to_jsonb(x.hosts)
         ) order by x.name), '[]') as secrets, coalesce(array_agg(x.name) filter (where x.asked), '{}') as asked_secrets
  from tenant_extension_install_secrets x where x.install_id = i.id
) s
where i.tenant_id = %(tenant)s and i.status <> 'uninstalled' and v.manifest is not null
"""

_BY_ID: Final = _COLUMNS + "and (i.id = %(id)s::uuid or i.registry_id = %(id)s::uuid) limit 2"

_BY_NAME: Final = _COLUMNS + "and (r.name = %(whole)s or (r.publisher = %(publisher)s and r.name = %(rest)s)) limit 2"


class InstallRow(msgspec.Struct, frozen=True, kw_only=True):
    """One install as the database has it; JSON columns as bytes."""

    install_id: str
    extension_id: str
    version_id: str
    publisher: str
    name: str
    version: str
    revoked: bool
    runnable: bool
    content_hash: str
    enabled: bool
    granted_caps: list[str]
    granted_egress: list[str]
    granted_secrets: list[str]
    secrets_version: int
    secrets: bytes
    asked_secrets: list[str]
    endpoint_policy: Literal["advisory", "enforce"] | None
    debug_enabled: bool
    generation: int
    config: bytes
    config_version: int
    manifest: bytes
    used_invocations: int
    used_cpu_ms: float
    used_egress_bytes: int


async def by_id(tx: Tx, tenant_id: str, uuid: str) -> list[InstallRow]:
    """The install whose own id or whose extension's id is `uuid` (canonical); at most two rows."""
    async with tx.cursor(row_factory=class_row(InstallRow)) as cursor:
        await cursor.execute(_BY_ID, {"tenant": tenant_id, "id": uuid})
        return await cursor.fetchall()


async def by_name(tx: Tx, tenant_id: str, whole: str) -> list[InstallRow]:
    """The installs that `whole` can mean, as a bare name and as `publisher.name`; at most two rows."""
    publisher, _, rest = whole.partition(".")
    async with tx.cursor(row_factory=class_row(InstallRow)) as cursor:
        await cursor.execute(_BY_NAME, {"tenant": tenant_id, "whole": whole, "publisher": publisher, "rest": rest})
        return await cursor.fetchall()

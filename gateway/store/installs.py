"""A tenant's installs, their grants and settings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec
from psycopg.rows import class_row

from gateway.store.pool import Tx

Status = Literal["enabled", "disabled", "uninstalled"]


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A version that waits for consent; `config` are the settings that come with it, or null."""

    version_id: str
    version: str
    content_hash: str
    manifest: msgspec.Raw
    config: msgspec.Raw
    requested_by: str
    requested_at: datetime


class Install(msgspec.Struct, frozen=True, kw_only=True):
    """One install with the names of its extension, version and bundle. JSON columns as bytes.

    Attributes:
        deprecated_at, deprecated_message: of the version that is installed.
        pending: a `Pending`, unless its version was revoked.
    """

    id: str
    tenant_id: str
    registry_id: str
    version_id: str
    publisher: str
    name: str
    version: str
    content_hash: str
    status: Status
    granted_caps: list[str]
    granted_egress: list[str]
    granted_secrets: list[str]
    generation: int
    manifest: bytes
    created_at: datetime
    updated_at: datetime
    purge_after: datetime | None
    deprecated_at: datetime | None
    deprecated_message: str | None
    pending: bytes | None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one install as JSON bytes; `version` rises by one with each change."""

    config: bytes
    version: int


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """The complete grants of an install: what is not here is denied."""

    capabilities: Sequence[str]
    egress: Sequence[str]
    secrets: Sequence[str]


_INSTALL: Final = """
select i.id, i.tenant_id, i.registry_id, i.version_id, r.publisher, r.name, v.version, b.content_hash, i.status,
       i.granted_caps, i.granted_egress, i.granted_secrets, i.generation, v.manifest, i.created_at, i.updated_at,
       i.purge_after, v.deprecated_at, v.deprecated_message, p.pending
  from tenant_extension_install i
  join extension_registry r on r.id = i.registry_id
  join extension_version v on v.id = i.version_id
  join extension_bundle b on b.version_id = v.id
  left join lateral (
    select jsonb_build_object('version_id', w.id, 'version', w.version, 'content_hash', c.content_hash,
             'manifest', w.manifest, 'config', u.config, 'requested_by', u.requested_by,
             'requested_at', u.requested_at) as pending
      from tenant_extension_install_upgrade u
      join extension_version w on w.id = u.version_id and w.revoked_at is null and w.state = 'ready'
      join extension_bundle c on c.version_id = w.id
     where u.install_id = i.id) p on true
"""


async def by_id(tx: Tx, install_id: str, *, lock: bool = False) -> Install | None:
    """The tenant's own install, uninstalled ones included. `lock` keeps others from changing it until commit."""
    if lock:
        # By itself: a statement that waits for a row sees that row anew, and what it joins as it was before.
        await tx.execute("select from tenant_extension_install where id = %s for update", (install_id,))
    async with tx.cursor(row_factory=class_row(Install)) as cursor:
        await cursor.execute(_INSTALL + "where i.id = %s", (install_id,))
        return await cursor.fetchone()


async def by_extension(tx: Tx, registry_id: str) -> Install | None:
    """The tenant's install of an extension, uninstalled ones included, locked until commit."""
    await tx.execute("select from tenant_extension_install where registry_id = %s for update", (registry_id,))
    async with tx.cursor(row_factory=class_row(Install)) as cursor:
        await cursor.execute(_INSTALL + "where i.registry_id = %s", (registry_id,))
        return await cursor.fetchone()


async def page(tx: Tx, after: str | None, limit: int) -> list[Install]:
    """Installs in the order of their ids, strictly after `after`; not the uninstalled ones."""
    async with tx.cursor(row_factory=class_row(Install)) as cursor:
        await cursor.execute(
            _INSTALL
            + """where i.status <> 'uninstalled' and (%(after)s::uuid is null or i.id > %(after)s::uuid)
                 order by i.id limit %(limit)s""",
            {"after": after, "limit": limit},
        )
        return await cursor.fetchall()


async def put(
    tx: Tx,
    *,
    new_id: str,
    tenant_id: str,
    registry_id: str,
    version_id: str,
    granted: Granted,
    actor: str,
) -> str | None:
    """Install, or bring back what was uninstalled (its id and data live on); the id.

    `None` when it is there, or is being removed for good.
    """
    cursor = await tx.execute(
        """insert into tenant_extension_install
             (id, tenant_id, registry_id, version_id, granted_caps, granted_egress, granted_secrets, installed_by)
           values (%s, %s, %s, %s, %s, %s, %s, %s)
           on conflict (tenant_id, registry_id) do update
              set version_id = excluded.version_id, status = 'enabled', granted_caps = excluded.granted_caps,
                  granted_egress = excluded.granted_egress, granted_secrets = excluded.granted_secrets,
                  installed_by = excluded.installed_by, generation = tenant_extension_install.generation + 1,
                  purge_after = null, updated_at = now()
            where tenant_extension_install.status = 'uninstalled' and tenant_extension_install.purge_after > now()
           returning id""",
        (
            new_id,
            tenant_id,
            registry_id,
            version_id,
            list(granted.capabilities),
            list(granted.egress),
            list(granted.secrets),
            actor,
        ),
    )
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def set_status(tx: Tx, install_id: str, status: Status, purge_after: datetime | None = None) -> None:
    """Enable, disable or uninstall; the generation rises, so that host tokens of running calls end."""
    await tx.execute(
        """update tenant_extension_install
              set status = %s, purge_after = %s, generation = generation + 1, updated_at = now() where id = %s""",
        (status, purge_after, install_id),
    )


async def debug_enabled(tx: Tx, install_id: str) -> bool:
    """Whether the install's calls are debugged by its own switch."""
    cursor = await tx.execute("select debug_enabled from tenant_extension_install where id = %s", (install_id,))
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def set_debug_enabled(tx: Tx, install_id: str, *, enabled: bool) -> None:
    """Turn that switch. What runs keeps its generation: nobody gains or loses a right by it."""
    await tx.execute(
        "update tenant_extension_install set debug_enabled = %s, updated_at = now() where id = %s",
        (enabled, install_id),
    )


async def config(tx: Tx, install_id: str) -> Config | None:
    """The install's settings; `None` when none were ever written."""
    async with tx.cursor(row_factory=class_row(Config)) as cursor:
        await cursor.execute(
            "select config, version from tenant_extension_install_config where install_id = %s", (install_id,)
        )
        return await cursor.fetchone()


async def put_config(tx: Tx, *, install: Install, config: bytes, actor: str) -> int:
    """Replace the settings; their new version. The install's generation rises as well."""
    version = await write_config(tx, install=install, config=config, actor=actor)
    await tx.execute(
        "update tenant_extension_install set generation = generation + 1, updated_at = now() where id = %s",
        (install.id,),
    )
    return version


async def write_config(tx: Tx, *, install: Install, config: bytes, actor: str) -> int:
    """Replace the settings and nothing else; their new version."""
    cursor = await tx.execute(
        """insert into tenant_extension_install_config (install_id, tenant_id, config, updated_by)
           values (%s, %s, %s, %s)
           on conflict (install_id) do update
              set config = excluded.config, version = tenant_extension_install_config.version + 1,
                  updated_by = excluded.updated_by, updated_at = now()
           returning version""",
        (install.id, install.tenant_id, config.decode(), actor),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def put_grants(tx: Tx, install_id: str, granted: Granted) -> None:
    """Replace the grants. The generation rises: running calls began under others."""
    await tx.execute(
        """update tenant_extension_install
              set granted_caps = %(caps)s, granted_egress = %(egress)s,
                  secrets_version = secrets_version + (granted_secrets is distinct from %(secrets)s::text[])::integer,
                  granted_secrets = %(secrets)s, generation = generation + 1, updated_at = now()
            where id = %(install)s""",
        {
            "install": install_id,
            "caps": list(granted.capabilities),
            "egress": list(granted.egress),
            "secrets": list(granted.secrets),
        },
    )

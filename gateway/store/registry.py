"""Publishers, extensions, versions and their endpoints, as one account sees them.

Row-level security decides what is seen: the owner's own, what is offered to the account, what it has installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec
from psycopg.rows import class_row, scalar_row

from gateway.store.pool import Tx

State = Literal["preparing", "ready", "rejected"]


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version with the names of its extension and its bundle. JSON columns as bytes."""

    id: str
    registry_id: str
    publisher: str
    name: str
    version: str
    owner_account: str
    state: State
    reason: bytes | None
    warnings: list[str]
    manifest: bytes | None
    capabilities: list[str]
    content_hash: str
    size_bytes: int
    signature: bytes
    created_at: datetime
    revoked_at: datetime | None


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One extension in a list, with its newest version that can be installed."""

    id: str
    publisher: str
    name: str
    display_name: str
    description: str
    visibility: str
    version_id: str | None
    version: str | None
    content_hash: str | None
    installed: bool


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a publisher has under way and stored."""

    preparing: int
    published_last_hour: int
    stored_bytes: int


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the compiler found in a bundle, as columns."""

    runtime: str
    entry: str | None
    manifest: bytes
    capabilities: Sequence[str]
    component_sha256: str | None
    description: str
    warnings: Sequence[str]


class EndpointRow(msgspec.Struct, frozen=True, kw_only=True):
    """One declared endpoint."""

    method: str
    path: str
    handler: str | None
    description: str
    schedulable: bool
    timeout_ms: int | None


_VERSION: Final = """
select v.id, v.registry_id, r.publisher, r.name, v.version, r.owner_account, v.state, v.reason, v.warnings, v.manifest,
       v.capabilities, b.content_hash, b.size_bytes, b.signature, v.created_at, v.revoked_at
  from extension_version v
  join extension_registry r on r.id = v.registry_id
  join extension_bundle b on b.version_id = v.id
"""


async def claim_publisher(tx: Tx, name: str, account: str) -> bool:
    """Make the publisher name this account's, unless it is somebody else's; whether it is this account's now."""
    await tx.execute(
        "insert into publisher (name, owner_account) values (%s, %s) on conflict do nothing", (name, account)
    )
    cursor = await tx.execute("select 1 from publisher where name = %s and owner_account = %s", (name, account))
    return await cursor.fetchone() is not None


async def lock_publisher(tx: Tx, name: str) -> None:
    """Let one transaction at a time count and publish for this publisher."""
    await tx.execute("select pg_advisory_xact_lock(hashtextextended(%s, 1634494305))", (name,))


async def usage(tx: Tx, publisher: str) -> Usage:
    """What the publisher has under way, did in the last hour, and has stored."""
    async with tx.cursor(row_factory=class_row(Usage)) as cursor:
        await cursor.execute(
            """select count(*) filter (where v.state = 'preparing') as preparing,
                      count(*) filter (where v.created_at > now() - interval '1 hour') as published_last_hour,
                      coalesce(sum(b.size_bytes), 0)::bigint as stored_bytes
                 from extension_registry r
                 join extension_version v on v.registry_id = r.id
                 join extension_bundle b on b.version_id = v.id
                where r.publisher = %s""",
            (publisher,),
        )
        found = await cursor.fetchone()
    assert found is not None
    return found


async def upsert_extension(tx: Tx, *, new_id: str, publisher: str, name: str, account: str) -> str:
    """The id of `publisher.name`, registered now if it was not."""
    await tx.execute(
        """insert into extension_registry (id, publisher, name, owner_account) values (%s, %s, %s, %s)
           on conflict (publisher, name) do nothing""",
        (new_id, publisher, name, account),
    )
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("select id from extension_registry where publisher = %s and name = %s", (publisher, name))
        return str(await cursor.fetchone())


async def insert_version(
    tx: Tx,
    *,
    version_id: str,
    bundle_id: str,
    registry_id: str,
    version: str,
    content_hash: str,
    signature: bytes,
    size_bytes: int,
    storage_key: str,
    allow_unused_imports: bool,
    created_by: str,
) -> bool:
    """Add a version in state `preparing` with its bundle; `False` when this version is there already."""
    cursor = await tx.execute(
        """insert into extension_version (id, registry_id, version, allow_unused_imports, created_by)
           values (%s, %s, %s, %s, %s) on conflict (registry_id, version) do nothing""",
        (version_id, registry_id, version, allow_unused_imports, created_by),
    )
    if cursor.rowcount == 0:
        return False
    await tx.execute(
        """insert into extension_bundle (id, version_id, content_hash, signature, size_bytes, storage_key)
           values (%s, %s, %s, %s, %s, %s)""",
        (bundle_id, version_id, content_hash, signature.decode(), size_bytes, storage_key),
    )
    return True


async def version_by_id(tx: Tx, version_id: str) -> Version | None:
    """The version, when this account may see it."""
    async with tx.cursor(row_factory=class_row(Version)) as cursor:
        await cursor.execute(_VERSION + "where v.id = %s", (version_id,))
        return await cursor.fetchone()


async def version_by_name(tx: Tx, registry_id: str, version: str) -> Version | None:
    """The version of an extension, when this account may see it."""
    async with tx.cursor(row_factory=class_row(Version)) as cursor:
        await cursor.execute(_VERSION + "where v.registry_id = %s and v.version = %s", (registry_id, version))
        return await cursor.fetchone()


async def newest_ready(tx: Tx, registry_id: str) -> Version | None:
    """The version that was published last among those that can be installed."""
    async with tx.cursor(row_factory=class_row(Version)) as cursor:
        await cursor.execute(
            _VERSION
            + """where v.registry_id = %s and v.state = 'ready' and v.revoked_at is null
                 order by v.created_at desc, v.id limit 1""",
            (registry_id,),
        )
        return await cursor.fetchone()


async def extensions_named(tx: Tx, reference: str) -> list[str]:
    """Ids of the extensions that `reference` can mean: a bare name, or `publisher.name`. At most two."""
    publisher, _, rest = reference.partition(".")
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            "select id from extension_registry where name = %s or (publisher = %s and name = %s) order by id limit 2",
            (reference, publisher, rest),
        )
        return [str(found) for found in await cursor.fetchall()]


async def mark_ready(tx: Tx, version: Version, found: Found, endpoints: Sequence[EndpointRow]) -> bool:
    """Complete a version; `False` when it was not being prepared any more."""
    cursor = await tx.execute(
        """update extension_version
              set state = 'ready', runtime = %s, entry = %s, manifest = %s, capabilities = %s, component_sha256 = %s,
                  warnings = %s, reason = null, prepare_lease_until = null, updated_at = now()
            where id = %s and state = 'preparing'""",
        (
            found.runtime,
            found.entry,
            found.manifest.decode(),
            list(found.capabilities),
            found.component_sha256,
            list(found.warnings),
            version.id,
        ),
    )
    if cursor.rowcount == 0:
        return False
    await tx.execute(
        "update extension_registry set description = %s, updated_at = now() where id = %s",
        (found.description, version.registry_id),
    )
    async with tx.cursor() as many:
        await many.executemany(
            """insert into extension_api_endpoint
                 (version_id, ordinal, method, path, handler, description, schedulable, timeout_ms)
               values (%s, %s, %s, %s, %s, %s, %s, %s)""",
            [
                (
                    version.id,
                    ordinal,
                    row.method,
                    row.path,
                    row.handler,
                    row.description,
                    row.schedulable,
                    row.timeout_ms,
                )
                for ordinal, row in enumerate(endpoints)
            ],
        )
    return True


async def mark_rejected(tx: Tx, version_id: str, reason: bytes) -> bool:
    """End a version's preparation with a reason; `False` when it was not being prepared any more."""
    cursor = await tx.execute(
        """update extension_version
              set state = 'rejected', reason = %s, prepare_lease_until = null, updated_at = now()
            where id = %s and state = 'preparing'""",
        (reason.decode(), version_id),
    )
    return cursor.rowcount == 1


async def list_extensions(tx: Tx, after: tuple[str, str], limit: int) -> list[Listed]:
    """Extensions this account can find, by publisher and name, strictly after `after`.

    Its own, those offered to it, those it has installed, and public ones of approved publishers. Unlisted ones are
    seen by who knows their id, and not here.
    """
    async with tx.cursor(row_factory=class_row(Listed)) as cursor:
        await cursor.execute(
            """select r.id, r.publisher, r.name, r.display_name, r.description, r.visibility,
                      v.id as version_id, v.version, v.content_hash, i.installed
                 from extension_registry r
                 left join lateral (
                   select v.id, v.version, b.content_hash
                     from extension_version v join extension_bundle b on b.version_id = v.id
                    where v.registry_id = r.id and v.state = 'ready' and v.revoked_at is null
                    order by v.created_at desc, v.id limit 1) v on true
                cross join lateral (
                   select exists (select 1 from tenant_extension_install i
                                   where i.registry_id = r.id and i.status <> 'uninstalled') as installed) i
                where (r.publisher, r.name) > (%s, %s)
                  and (r.owner_account = app_tenant() or i.installed or app_tenant() = any (r.allowed_tenants)
                       or (r.visibility = 'public'
                           and exists (select 1 from publisher p where p.name = r.publisher and p.approved)))
                order by r.publisher, r.name
                limit %s""",
            (*after, limit),
        )
        return await cursor.fetchall()

"""Publishers, extensions, versions and their endpoints, as one account sees them.

Row-level security decides what is seen: the owner's own, what is offered to the account, what it has installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec
from psycopg.rows import class_row, scalar_row

from gateway.store import sboms
from gateway.store.pool import Tx
from shared.wire import Sbom

State = Literal["preparing", "ready", "rejected"]


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version with the names of its extension and its bundle. JSON columns as bytes; `sbom` without its packages."""

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
    deprecated_at: datetime | None = None
    deprecated_message: str | None = None
    sbom: bytes | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the compiler found in a bundle, as columns."""

    runtime: str
    entry: str | None
    manifest: bytes
    capabilities: Sequence[str]
    component_sha256: str | None
    description: str
    warnings: Sequence[str]
    sbom: Sbom | None = None


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
       v.capabilities, b.content_hash, b.size_bytes, b.signature, v.created_at, v.revoked_at,
       v.deprecated_at, v.deprecated_message, b.sbom
  from extension_version v
  join extension_registry r on r.id = v.registry_id
  join extension_bundle b on b.version_id = v.id
"""


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


async def lock_digest(tx: Tx, content_hash: str) -> None:
    """Keep everybody else from publishing or collecting this digest until commit."""
    await tx.execute("select pg_advisory_xact_lock(hashtextextended(%s, 1634494306))", (content_hash,))


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


async def versions_of(tx: Tx, registry_id: str, after: tuple[datetime, str] | None, limit: int) -> list[Version]:
    """Versions of an extension that this account may see, newest first, strictly after `after`."""
    async with tx.cursor(row_factory=class_row(Version)) as cursor:
        await cursor.execute(
            _VERSION
            + """where v.registry_id = %(id)s
                   and (%(at)s::timestamptz is null or (v.created_at, v.id) < (%(at)s::timestamptz, %(version)s::uuid))
                 order by v.created_at desc, v.id desc limit %(limit)s""",
            {
                "id": registry_id,
                "at": after[0] if after else None,
                "version": after[1] if after else None,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def deprecate(tx: Tx, version_id: str, message: str | None) -> bool:
    """Mark a version of one's own as deprecated, or with `None` as not; whether that changed anything."""
    cursor = await tx.execute(
        """update extension_version
              set deprecated_at = case when %(message)s::text is null then null else coalesce(deprecated_at, now()) end,
                  deprecated_message = %(message)s, updated_at = now()
            where id = %(id)s and deprecated_message is distinct from %(message)s""",
        {"id": version_id, "message": message},
    )
    return cursor.rowcount == 1


async def replace_signature(tx: Tx, version_id: str, before: bytes, after: bytes) -> bool:
    """Replace the envelope of one's own version; `False` when it is not `before` any more."""
    cursor = await tx.execute(
        "update extension_bundle set signature = %s::jsonb where version_id = %s and signature = %s::jsonb",
        (after.decode(), version_id, before.decode()),
    )
    return cursor.rowcount == 1


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
    if found.sbom is not None:
        await sboms.insert(tx, version.id, found.sbom)
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

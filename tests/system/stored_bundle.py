"""What database and bundle store of the running stack hold of an extension, seen from outside: rows beside objects."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import msgspec
import psycopg
from psycopg.rows import class_row

from deploy.local.record import Stack
from gateway.objects import keys
from gateway.objects.client import ObjectStore, open_objects
from gateway.settings import load_settings
from shared.digest import sha256_hex
from shared.ids import ContentHash
from shared.limits import BUNDLE_MAX_BYTES, MANIFEST_MAX_BYTES, SIGNATURE_MAX_BYTES
from shared.signing import BundleStatement, decode_envelope
from tests.system.runners import environment_of


class Row(msgspec.Struct, frozen=True):
    """One version with its bundle; `published` and `settled` are the entries of the audit log about it."""

    id: str
    version: str
    state: str
    content_hash: str | None
    size_bytes: int | None
    storage_key: str | None
    has_manifest: bool
    published: int
    settled: int


_ROWS = """
select v.id::text, v.version, v.state, b.content_hash, b.size_bytes, b.storage_key, v.manifest is not null as has_manifest,
       (select count(*) from extension_audit_log a where a.subject_id = v.id::text and a.action = 'version.published')
         as published,
       (select count(*) from extension_audit_log a where a.subject_id = v.id::text
          and a.action in ('version.ready', 'version.rejected')) as settled
  from extension_registry r
  join extension_version v on v.registry_id = r.id
  left join extension_bundle b on b.version_id = v.id
 where r.name = %s order by v.created_at"""


@contextlib.asynccontextmanager
async def database(stack: Stack) -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    """PostgreSQL as its superuser, each statement for itself."""
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection:
        yield connection


@contextlib.asynccontextmanager
async def objects(stack: Stack) -> AsyncIterator[ObjectStore]:
    """The bundle store with the gateway's credentials."""
    async with open_objects(load_settings(environment_of(stack.pids["gateway"]))) as store:
        yield store


async def rows_of(connection: psycopg.AsyncConnection[tuple[object, ...]], name: str) -> list[Row]:
    """Every version of an extension."""
    async with connection.cursor(row_factory=class_row(Row)) as cursor:
        await cursor.execute(_ROWS, (name,))
        return await cursor.fetchall()


async def check_whole(row: Row, store: ObjectStore) -> None:
    """Fail unless everything that a version's row says is there, and nothing is there by half."""
    assert (row.content_hash, row.storage_key) != (None, None), "a version without its bundle"
    assert row.published == 1
    digest = ContentHash(row.content_hash or "")
    archive = await store.get_small(keys.bundle(digest), BUNDLE_MAX_BYTES)
    assert archive is not None, "a row names an object that is not there"
    assert f"sha256:{sha256_hex(archive.data)}" == digest
    assert (len(archive.data), keys.bundle(digest)) == (row.size_bytes, row.storage_key)
    envelope = await store.get_small(keys.signature(digest), SIGNATURE_MAX_BYTES)
    assert envelope is not None, "a row names an object without its signature"
    payload = decode_envelope(envelope.data).payload
    said = msgspec.json.decode(msgspec.json.decode(f'"{payload}"', type=bytes), type=BundleStatement)
    assert said.content_hash == digest
    assert row.settled == (row.state != "preparing")
    if row.state == "ready":
        stored = await store.get_small(keys.manifest(digest), MANIFEST_MAX_BYTES)
        assert stored is not None, "a version is ready without its manifest"
        assert sha256_hex(stored.data) == said.manifest_sha256
    assert row.has_manifest == (row.state == "ready")

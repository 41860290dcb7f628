"""Uploads that were staged and not yet finalised."""

from __future__ import annotations

from datetime import datetime

import msgspec
from psycopg.rows import class_row

from gateway.store.pool import Tx


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """One staged archive. `etag` pins the bytes that were hashed."""

    id: str
    tenant_id: str
    content_hash: str
    size_bytes: int
    storage_key: str
    etag: str
    expires_at: datetime


async def insert(tx: Tx, upload: Upload, created_by: str) -> None:
    """Record a staged archive."""
    await tx.execute(
        """insert into bundle_upload (id, tenant_id, content_hash, size_bytes, storage_key, etag, created_by, expires_at)
           values (%s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            upload.id,
            upload.tenant_id,
            upload.content_hash,
            upload.size_bytes,
            upload.storage_key,
            upload.etag,
            created_by,
            upload.expires_at,
        ),
    )


async def find(tx: Tx, upload_id: str) -> Upload | None:
    """The tenant's own upload, unless its time is over."""
    async with tx.cursor(row_factory=class_row(Upload)) as cursor:
        await cursor.execute(
            """select id, tenant_id, content_hash, size_bytes, storage_key, etag, expires_at
                 from bundle_upload where id = %s and expires_at > now()""",
            (upload_id,),
        )
        return await cursor.fetchone()


async def mark_finalized(tx: Tx, upload_id: str, version_id: str) -> None:
    """Remember which version the upload became."""
    await tx.execute("update bundle_upload set version_id = %s where id = %s", (version_id, upload_id))

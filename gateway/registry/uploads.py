"""Step one of publishing: an archive arrives as a stream and waits, unread, under its digest.

Nothing is decompressed and nothing is believed: the answer names the digest of the bytes that arrived, and what they
are is decided when a signature vouches for them.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec

from gateway.identity.actor import Actor
from gateway.objects import keys
from gateway.objects.client import ObjectStore
from gateway.store import uploads
from gateway.store.platform import uploads as platform_uploads
from gateway.store.pool import Database
from shared.errors import BundleInvalid
from shared.limits import BUNDLE_MAX_BYTES, UPLOAD_KEPT_S


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What the publisher gets for an upload; `expires_at` is when it is thrown away unless finalised."""

    upload_id: str
    content_hash: str
    size_bytes: int
    expires_at: datetime


async def receive(store: Database, objects: ObjectStore, actor: Actor, chunks: AsyncIterator[bytes]) -> Receipt:
    """Stage one archive.

    Raises:
        PayloadTooLarge: more than `BUNDLE_MAX_BYTES`.
        BundleInvalid: no bytes at all.
        BundleUnavailable: the object store failed.
        AccessPolicyUnavailable: the database failed; the object is collected by a bucket rule.
    """
    upload_id = str(uuid.uuid4())
    storage_key = keys.staging(upload_id)
    staged = await objects.stage(storage_key, chunks, BUNDLE_MAX_BYTES)
    if staged.size_bytes == 0:
        await objects.delete(storage_key)
        raise BundleInvalid("the body is empty; send the archive that `alga-ext pack` wrote")
    upload = uploads.Upload(
        id=upload_id,
        tenant_id=actor.tenant_id,
        content_hash=staged.content_hash,
        size_bytes=staged.size_bytes,
        storage_key=storage_key,
        etag=staged.etag,
        expires_at=datetime.now(UTC) + timedelta(seconds=UPLOAD_KEPT_S),
    )
    async with store.tenant(actor.tenant_id) as tx:
        await uploads.insert(tx, upload, actor.name)
    return Receipt(
        upload_id=upload.id,
        content_hash=upload.content_hash,
        size_bytes=upload.size_bytes,
        expires_at=upload.expires_at,
    )


async def collect_expired(store: Database, objects: ObjectStore, batch: int = 100) -> int:
    """Remove staged archives nobody finalised in time, object first; how many."""
    async with store.platform() as tx:
        expired = await platform_uploads.expired(tx, batch)
    for upload in expired:
        await objects.delete(upload.storage_key)
        async with store.platform() as tx:
            await platform_uploads.remove(tx, upload.id)
    return len(expired)

"""Step two of publishing: a signature turns a staged archive into a version.

    signature verified → publisher owned → archive copied to its digest → signature stored → rows → prepared

Each step can be repeated, and each leaves either nothing or what the next one needs: rows never name an object that
is not there, and finalising the same bytes again answers with the same ids. A version is immutable: other bytes under
the same number are refused.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import msgspec

from gateway.identity.actor import Actor
from gateway.objects import keys
from gateway.objects.client import ObjectStore
from gateway.registry import refusals
from gateway.registry.prepare import Preparations
from gateway.registry.publishers import check_active, claim
from gateway.registry.signatures import Signatures, Vouched
from gateway.store import audit_log, publishers, registry, uploads
from gateway.store.pool import Database, Tx
from gateway.store.registry import Version
from gateway.store.uploads import Upload
from shared import ids
from shared.errors import (
    ContentHashMismatch,
    Forbidden,
    NotFound,
    QuotaExceeded,
    RateLimited,
    SignatureMissing,
    SignatureRefused,
    VersionExists,
)
from shared.limits import (
    FINALIZE_WAIT_MAX_S,
    PUBLISHER_PREPARING_MAX,
    PUBLISHER_STORED_MAX_BYTES,
    PUBLISHER_VERSIONS_PER_HOUR_MAX,
)


class Finalize(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /api/registry/bundles/{upload_id}/finalize`.

    Attributes:
        signature: the DSSE envelope.
        declared_hash: what the publisher believes the digest to be; compared.
        allow_unused_imports: take a component that imports what its manifest does not declare, with a warning.
    """

    signature: msgspec.Raw = msgspec.Raw()
    declared_hash: str | None = None
    allow_unused_imports: bool = False


class Publishing:
    """Turns uploads into versions.

    Args:
        store, objects: where rows and bytes are.
        signatures: what counts as vouched for.
        preparations: what makes a version runnable.
        limited: whether publishers have quotas; a developer's machine, which publishes on every save, has none.
    """

    def __init__(
        self,
        store: Database,
        objects: ObjectStore,
        signatures: Signatures,
        preparations: Preparations,
        *,
        limited: bool,
    ) -> None:
        self._store = store
        self._objects = objects
        self._signatures = signatures
        self._preparations = preparations
        self._limited = limited

    async def finalize(self, actor: Actor, upload_id: str, request: Finalize) -> Version:
        """The version the upload became: `ready`, `rejected`, or still `preparing` when that takes long.

        Raises:
            NotFound: no such upload of this tenant, or its time is over.
            SignatureRefused, ContentHashMismatch: nobody vouches for these bytes.
            Forbidden: the publisher name belongs to another account, or is suspended.
            VersionExists: the version was published with other bytes.
            RateLimited, QuotaExceeded: the publisher did too much.
            BundleUnavailable, AccessPolicyUnavailable: a store failed; repeat the call.
        """
        upload = await self._upload(actor, upload_id)
        digest = ids.ContentHash(upload.content_hash)
        if request.declared_hash is not None and ids.content_hash(request.declared_hash) != digest:
            raise ContentHashMismatch(f"the bytes that arrived have {digest}")
        if bytes(request.signature) in (b"", b"null"):
            raise SignatureMissing("send the DSSE envelope as `signature`; `alga-ext sign` writes it")
        vouched = await self._vouched(actor, bytes(request.signature), digest)
        await self._own_publisher(actor, vouched)
        await self._store_objects(upload, vouched)
        version_id = await self._record(actor, upload, vouched, allow_unused_imports=request.allow_unused_imports)
        # The same bytes may have been garbage until a moment ago, and removed since: from the row on they are not.
        await self._store_objects(upload, vouched)
        await self._preparations.settle(version_id, FINALIZE_WAIT_MAX_S)
        return await self.version(actor, version_id)

    async def version(self, actor: Actor, version_id: str) -> Version:
        """A version this account may see. Raises `NotFound`."""
        async with self._store.tenant(actor.tenant_id) as tx:
            version = await registry.version_by_id(tx, version_id)
        if version is None:
            raise NotFound("no such version")
        return version

    async def _upload(self, actor: Actor, upload_id: str) -> Upload:
        async with self._store.tenant(actor.tenant_id) as tx:
            upload = await uploads.find(tx, upload_id)
        if upload is None:
            raise NotFound("no such upload; uploads are kept for a day, send the archive again")
        return upload

    async def _vouched(self, actor: Actor, signature: bytes, digest: ids.ContentHash) -> Vouched:
        try:
            return await self._signatures.verify(signature, digest, published_at=datetime.now(UTC))
        except (SignatureRefused, ContentHashMismatch) as error:
            await refusals.note(self._store, actor, signature, error.code)
            raise

    async def _store_objects(self, upload: Upload, vouched: Vouched) -> None:
        digest = ids.ContentHash(upload.content_hash)
        await self._objects.copy_once(upload.storage_key, upload.etag, keys.bundle(digest), upload.size_bytes)
        await self._signatures.keep(self._objects, vouched)

    async def _own_publisher(self, actor: Actor, vouched: Vouched) -> None:
        name = vouched.statement.publisher
        async with self._store.tenant(actor.tenant_id) as tx:
            publisher, _ = await claim(tx, actor, name)
        if publisher is None:
            raise Forbidden(f"the publisher name {name} belongs to another account; publish under one of your own")
        check_active(publisher)

    async def _record(self, actor: Actor, upload: Upload, vouched: Vouched, *, allow_unused_imports: bool) -> str:
        statement = vouched.statement
        async with self._store.tenant(actor.tenant_id) as tx:
            await registry.lock_digest(tx, upload.content_hash)
            await publishers.lock(tx, statement.publisher)
            registry_id = await registry.upsert_extension(
                tx,
                new_id=str(uuid.uuid4()),
                publisher=statement.publisher,
                name=statement.name,
                account=actor.tenant_id,
            )
            present = await registry.version_by_name(tx, registry_id, statement.version)
            if present is not None:
                return _same(present, upload)
            await self._within_quota(tx, statement.publisher, upload.size_bytes)
            version_id = str(uuid.uuid4())
            await registry.insert_version(
                tx,
                version_id=version_id,
                bundle_id=str(uuid.uuid4()),
                registry_id=registry_id,
                version=statement.version,
                content_hash=upload.content_hash,
                signature=vouched.stored,
                size_bytes=upload.size_bytes,
                storage_key=keys.bundle(ids.ContentHash(upload.content_hash)),
                allow_unused_imports=allow_unused_imports,
                created_by=actor.name,
            )
            await uploads.mark_finalized(tx, upload.id, version_id)
            named = f"{statement.publisher}.{statement.name}@{statement.version}"
            change = actor.did(
                "version.published", "version", version_id, named=named, content_hash=upload.content_hash
            )
            await audit_log.record(tx, change)
        return version_id

    async def _within_quota(self, tx: Tx, publisher: str, size_bytes: int) -> None:
        if not self._limited:
            return
        used = await publishers.usage(tx, publisher)
        if used.preparing >= PUBLISHER_PREPARING_MAX:
            raise RateLimited(
                f"{used.preparing} versions of {publisher} are still being prepared; wait for one", retry_after_s=10
            )
        if used.published_last_hour >= PUBLISHER_VERSIONS_PER_HOUR_MAX:
            raise RateLimited(
                f"{publisher} may publish {PUBLISHER_VERSIONS_PER_HOUR_MAX} versions an hour", retry_after_s=600
            )
        if used.stored_bytes + size_bytes > PUBLISHER_STORED_MAX_BYTES:
            raise QuotaExceeded(f"{publisher} may store {PUBLISHER_STORED_MAX_BYTES} bytes of bundles")


def _same(present: Version, upload: Upload) -> str:
    if present.content_hash != upload.content_hash:
        raise VersionExists(
            f"{present.version} was published with {present.content_hash}; raise the version number",
            content_hash=present.content_hash,
            version_id=present.id,
        )
    return present.id

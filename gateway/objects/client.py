"""The bundle bucket: one S3 client for the life of the process, every call with a deadline.

Whatever the store cannot do becomes `BundleUnavailable`. Large things only ever stream through: an upload holds one
part in memory while its digest is computed on the way.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, Final

import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from gateway.proxy.transport import TRANSPORT_ERRORS
from gateway.settings import GatewaySettings
from shared.errors import BundleUnavailable, PayloadTooLarge
from shared.ids import ContentHash
from shared.limits import (
    OBJECT_CALL_MAX_S,
    OBJECT_CONNECT_MAX_S,
    OBJECT_COPY_MAX_S,
    UPLOAD_PART_BYTES,
)

_RETRY_AFTER_S: Final = 5
_ATTEMPTS: Final = 3  # of one call, with full jitter between them, inside its deadline
_CONNECTIONS_MAX: Final = 32
_ANY: Final = "*"  # If-None-Match: only when nothing is there (RFC 9110 §13.1.2)


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """What an upload turned out to be. `etag` pins these bytes for the copy that follows."""

    content_hash: ContentHash
    size_bytes: int
    etag: str


class Lying(msgspec.Struct, frozen=True, kw_only=True):
    """One object of a listing."""

    key: str
    size_bytes: int
    modified_at: datetime


class SmallObject(msgspec.Struct, frozen=True):
    """An object small enough to hold, and the tag that pins this state of it."""

    data: bytes
    etag: str


class ObjectStore:
    """Objects of one bucket.

    Args:
        client: an open aiobotocore S3 client.
        bucket: where everything is.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def stage(self, key: str, chunks: AsyncIterator[bytes], max_bytes: int) -> Staged:
        """Write a stream of unknown length under a fresh key and tell its digest.

        Args:
            key: not in use.
            chunks: the bytes; what it raises passes through and nothing is left behind.
            max_bytes: beyond, the rest is not read.

        Raises:
            PayloadTooLarge: more than `max_bytes`.
            BundleUnavailable: the store failed.
        """
        digest, size = hashlib.sha256(), 0
        async with AsyncExitStack() as stack:
            part, upload = bytearray(), _Parts(self, key)
            stack.push_async_exit(upload.abandon_on_error)
            async for chunk in chunks:
                size += len(chunk)
                if size > max_bytes:
                    raise PayloadTooLarge(f"a bundle has at most {max_bytes} bytes", max_bytes=max_bytes)
                digest.update(chunk)
                part += chunk
                if len(part) >= UPLOAD_PART_BYTES:
                    await upload.add(bytes(part))
                    part.clear()
            etag = await upload.finish(bytes(part))
        return Staged(content_hash=ContentHash(f"sha256:{digest.hexdigest()}"), size_bytes=size, etag=etag)

    async def put_once(self, key: str, data: bytes, content_type: str) -> bool:
        """Write an object that is never changed afterwards; `False` when there is one already."""
        try:
            await self.call("put_object", Key=key, Body=data, ContentType=content_type, IfNoneMatch=_ANY)
        except _RefusedError as error:
            if error.status in (409, 412):  # there, or being written by someone else right now
                return False
            raise error.unavailable() from error
        return True

    async def replace(self, key: str, data: bytes, content_type: str, etag: str) -> bool:
        """Write over the state that `etag` pins; `False` when it is not that any more."""
        try:
            await self.call("put_object", Key=key, Body=data, ContentType=content_type, IfMatch=etag)
        except _RefusedError as error:
            if error.status in (404, 409, 412):
                return False
            raise error.unavailable() from error
        return True

    async def copy_once(self, source: str, source_etag: str, target: str, size_bytes: int) -> None:
        """Copy a staged object to its final name unless it is there.

        The final name is its digest, so two writers write the same bytes; some stores ignore a condition on the
        target of a copy, which is why it is looked for first.

        Raises:
            BundleUnavailable: the store failed, or the staged object is gone or not the one that was hashed.
        """
        if await self.size(target) == size_bytes:
            return
        try:
            await self.call(
                "copy_object",
                within_s=OBJECT_COPY_MAX_S,
                Key=target,
                CopySource={"Bucket": self._bucket, "Key": source},
                CopySourceIfMatch=source_etag,
            )
        except _RefusedError as error:
            raise error.unavailable() from error

    async def get_small(self, key: str, max_bytes: int) -> SmallObject | None:
        """An object of at most `max_bytes`; `None` when there is none. Raises `BundleUnavailable`."""
        try:
            answer = await self.call("get_object", Key=key)
        except _RefusedError as error:
            if error.status == 404:
                return None
            raise error.unavailable() from error
        with _failures():
            async with asyncio.timeout(OBJECT_CALL_MAX_S), answer["Body"] as body:
                data: bytes = await body.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise BundleUnavailable(f"{key} is larger than {max_bytes} bytes")
        return SmallObject(data, answer["ETag"])

    async def size(self, key: str) -> int | None:
        """The size of an object in bytes; `None` when there is none. Raises `BundleUnavailable`."""
        try:
            answer = await self.call("head_object", Key=key)
        except _RefusedError as error:
            if error.status == 404:
                return None
            raise error.unavailable() from error
        size: int = answer["ContentLength"]
        return size

    async def delete(self, key: str) -> None:
        """Remove an object; no error when there is none. Raises `BundleUnavailable`."""
        try:
            await self.call("delete_object", Key=key)
        except _RefusedError as error:
            raise error.unavailable() from error

    async def page(self, prefix: str, after: str, at_most: int) -> list[Lying]:
        """Objects below a prefix in the order of their keys, strictly after `after`. Raises `BundleUnavailable`."""
        try:
            answer = await self.call("list_objects_v2", Prefix=prefix, StartAfter=after, MaxKeys=at_most)
        except _RefusedError as error:
            raise error.unavailable() from error
        return [
            Lying(key=one["Key"], size_bytes=one["Size"], modified_at=one["LastModified"])
            for one in answer.get("Contents", ())
        ]

    async def check(self) -> None:
        """Whether the bucket answers. Raises `BundleUnavailable`."""
        try:
            await self.call("head_bucket")
        except _RefusedError as error:
            raise error.unavailable() from error

    async def call(self, operation: str, *, within_s: float = OBJECT_CALL_MAX_S, **arguments: Any) -> Any:
        """One call of the S3 API on this bucket, with a deadline."""
        with _failures():
            async with asyncio.timeout(within_s):
                return await getattr(self._client, operation)(Bucket=self._bucket, **arguments)


class _RefusedError(Exception):
    """The store answered, but not what was hoped for."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{status} {code}")
        self.status = status

    def unavailable(self) -> BundleUnavailable:
        return BundleUnavailable("The bundle store refused", retry_after_s=_RETRY_AFTER_S)


class _Parts:
    """A multipart upload that begins with its first full part and leaves nothing behind when it fails."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._key = key
        self._upload_id: str | None = None
        self._parts: list[dict[str, Any]] = []

    async def add(self, data: bytes) -> None:
        try:
            if self._upload_id is None:
                self._upload_id = (await self._store.call("create_multipart_upload", Key=self._key))["UploadId"]
            number = len(self._parts) + 1
            answer = await self._store.call(
                "upload_part", Key=self._key, UploadId=self._upload_id, PartNumber=number, Body=data
            )
        except _RefusedError as error:
            raise error.unavailable() from error
        part = {"PartNumber": number, "ETag": answer["ETag"]}
        if "ChecksumCRC32" in answer:
            part["ChecksumCRC32"] = answer["ChecksumCRC32"]
        self._parts.append(part)

    async def finish(self, rest: bytes) -> str:
        """Write what is left; the finished object's ETag."""
        try:
            if self._upload_id is None:
                answer = await self._store.call("put_object", Key=self._key, Body=rest, IfNoneMatch=_ANY)
                return str(answer["ETag"])
            if rest:
                await self.add(rest)
            answer = await self._store.call(
                "complete_multipart_upload",
                within_s=OBJECT_COPY_MAX_S,
                Key=self._key,
                UploadId=self._upload_id,
                MultipartUpload={"Parts": self._parts},
            )
            return str(answer["ETag"])
        except _RefusedError as error:
            raise error.unavailable() from error

    async def abandon_on_error(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or self._upload_id is None:
            return
        # The failure or cancellation goes on either way; a bucket rule collects what even this leaves behind.
        abort = self._store.call("abort_multipart_upload", Key=self._key, UploadId=self._upload_id)
        await asyncio.gather(asyncio.shield(asyncio.ensure_future(abort)), return_exceptions=True)


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
        raise _RefusedError(status, str(error.response.get("Error", {}).get("Code", ""))) from error
    except (BotoCoreError, *TRANSPORT_ERRORS) as error:
        raise BundleUnavailable("The bundle store does not answer", retry_after_s=_RETRY_AFTER_S) from error


@asynccontextmanager
async def open_objects(settings: GatewaySettings) -> AsyncIterator[ObjectStore]:
    """The store's client, open for the length of the block."""
    config = AioConfig(
        connect_timeout=OBJECT_CONNECT_MAX_S,
        read_timeout=None,  # every call has a deadline; aiohttp 3.14's own timer can end another call than its own
        max_pool_connections=_CONNECTIONS_MAX,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        s3={"addressing_style": "path" if settings.s3_force_path_style else "auto"},
    )
    async with get_session().create_client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key,
        config=config,
    ) as client:
        yield ObjectStore(client, settings.s3_bucket)

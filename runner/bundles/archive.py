"""Whole bundles: fetched, checked against digest and signature, and only then handed out to be unpacked.

A runner needs one for the UI alone; execution works from the signed statement and native code. The compiler role
needs one for every digest it prepares. What is handed out is a private copy (`Scratch`), hashed as it was written, so
nothing can change between the check and the use.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO

import structlog

from runner.bundles.cache import DiskCache
from runner.bundles.objects import Objects
from runner.bundles.scratch import Scratch
from runner.bundles.statements import Statements
from runner.bundles.tampering import Tampering
from shared.deadline import Deadline
from shared.digest import CHUNK_BYTES
from shared.errors import BundleUntrusted
from shared.ids import ContentHash, digest_hex
from shared.limits import BUNDLE_MAX_BYTES

_log = structlog.get_logger()


class Archives:
    """See the module.

    Args:
        objects: the store.
        cache: the node's disk.
        statements: who vouches for a digest.
        tampered: told `disk` or `store` each time bytes from there fail their check.
    """

    def __init__(
        self,
        objects: Objects,
        cache: DiskCache,
        statements: Statements,
        tampered: Callable[[str], object] = lambda _where: None,
    ) -> None:
        self._objects = objects
        self._cache = cache
        self._statements = statements
        self._tampering = Tampering(tampered)

    @contextlib.asynccontextmanager
    async def opened(self, content_hash: ContentHash, deadline: Deadline) -> AsyncIterator[BinaryIO]:
        """The verified archive at its first byte, gone at the end of the block.

        Raises:
            BundleNotFound, Revoked, BundleUntrusted, BundleUnavailable: as `Statements.verified`.
            BundleUntrusted: the store's bytes do not have the digest, twice in a row; nothing of them is kept.
            CacheFull: it is too large for memory and the disk takes nothing.
        """
        await self._statements.verified(content_hash, deadline)
        name = f"archives/{digest_hex(content_hash)}.tar.zst"
        with self._cache.scratch() as scratch:
            if not await self._from_disk(name, content_hash, scratch):
                async with self._cache.exclusive(name, deadline) as waited:
                    if not (waited and await self._from_disk(name, content_hash, scratch)):
                        await self._from_store(content_hash, scratch, deadline)
                        await self._cache.adopt(name, scratch.file)
            yield scratch.rewound()

    async def _from_disk(self, name: str, content_hash: ContentHash, scratch: Scratch) -> bool:
        blob = await self._cache.open_blob(name)
        if blob is None:
            return False
        with blob:
            found = await asyncio.to_thread(_copied, blob, scratch)
        if found == digest_hex(content_hash):
            return True
        self._tampering.found("disk", "content_hash_mismatch", content_hash=content_hash)
        await self._cache.drop(name)
        scratch.clear()
        return False

    async def _from_store(self, content_hash: ContentHash, scratch: Scratch, deadline: Deadline) -> None:
        for _attempt in range(2):
            if await self._fetched(content_hash, scratch, deadline) == digest_hex(content_hash):
                return
            _log.error("bundle_untrusted", content_hash=content_hash, reason="content_hash_mismatch")
            scratch.clear()
        self._tampering.found("store", "content_hash_mismatch", content_hash=content_hash)
        raise BundleUntrusted("the stored archive does not have the digest it is stored under")

    async def _fetched(self, content_hash: ContentHash, scratch: Scratch, deadline: Deadline) -> str:
        """Download into `scratch` and return the digest of what arrived."""
        target = _Hashed(scratch)
        key = f"sha256/{digest_hex(content_hash)}/bundle.tar.zst"
        parts = self._objects.stream(key, max_bytes=BUNDLE_MAX_BYTES, deadline=deadline, restart=target.restart)
        async with contextlib.aclosing(parts):
            async for part in parts:
                await asyncio.to_thread(target.write, part)
        return target.hexdigest()


class _Hashed:
    """A scratch that is hashed while it is written."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._digest = hashlib.sha256()

    def write(self, part: bytes) -> None:
        self._digest.update(part)
        self._scratch.write(part)

    def restart(self) -> None:
        self._digest = hashlib.sha256()
        self._scratch.clear()

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _copied(source: BinaryIO, scratch: Scratch) -> str:
    target = _Hashed(scratch)
    size = 0
    while (part := source.read(CHUNK_BYTES)) and size <= BUNDLE_MAX_BYTES:
        size += len(part)
        target.write(part)
    return target.hexdigest()

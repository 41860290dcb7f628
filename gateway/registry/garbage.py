"""Objects of the bucket that no row names: staged by a gateway that died, copied for a version that never was, rejected.

The bucket is walked page by page, by one gateway at a time; how far stands in the database, so that another one goes on
from there. Nothing younger than `GARBAGE_KEPT_S` goes, and nothing a row names: a digest is judged again and removed
inside a transaction that holds the lock a publisher of the same bytes takes before it writes its row.

`aot/` is not walked: native code belongs to a component, which many bundles may share.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec
import structlog

from gateway.objects.client import Lying, ObjectStore
from gateway.store import registry
from gateway.store.platform import garbage
from gateway.store.pool import Database
from shared.errors import BundleUnavailable
from shared.registry_limits import (
    GARBAGE_DELETE_MAX_MS,
    GARBAGE_KEPT_S,
    GARBAGE_LEASE_S,
    GARBAGE_PAGE_MAX_COUNT,
)

LEASE: Final = "garbage"
PREFIXES: Final = ("sha256/", "staging/")  # in the order of their keys: a position is the last key that was judged

_DIGEST: Final = re.compile(r"sha256/([0-9a-f]{64})/(?:bundle\.tar\.zst|manifest\.json|SIGNATURE\.json)")
_STAGED: Final = re.compile(r"staging/[0-9a-f-]{36}/bundle\.tar\.zst")

_log = structlog.get_logger(__name__)

Why = Literal["staging_orphan", "digest_without_version"]


class Garbage(msgspec.Struct, frozen=True, kw_only=True):
    """One object that no row names."""

    key: str
    size_bytes: int
    modified_at: datetime
    why: Why
    content_hash: str | None = None


async def look(store: Database, objects: ObjectStore, after: str, at_most: int) -> tuple[list[Garbage], str | None]:
    """A dry run over one page of the bucket: what would go, and where the next page begins; none at the end."""
    lying, position = await _page(objects, after, at_most)
    return await _judged(store, lying), position


async def collect(store: Database, objects: ObjectStore, holder: str, page: int = GARBAGE_PAGE_MAX_COUNT) -> int | None:
    """Walk the rest of the bucket and remove garbage; how many objects, or none when another gateway does it.

    Raises:
        BundleUnavailable, AccessPolicyUnavailable: a store failed; the next turn goes on where this one stopped.
    """
    async with store.platform() as tx:
        position = await garbage.take(tx, LEASE, holder, GARBAGE_LEASE_S)
    if position is None:
        return None
    removed = 0
    while True:
        lying, next_position = await _page(objects, position, page)
        found = await _judged(store, lying)
        removed += await _remove_staged(objects, [one for one in found if one.content_hash is None])
        for digest in sorted({one.content_hash for one in found if one.content_hash is not None}):
            removed += await _remove_digest(store, objects, digest, [o.key for o in found if o.content_hash == digest])
        async with store.platform() as tx:
            if not await garbage.note(tx, LEASE, holder, next_position or "", GARBAGE_LEASE_S):
                return removed
        if next_position is None:
            return removed
        position = next_position


def garbage_sweep(store: Database, objects: ObjectStore) -> Callable[[], Awaitable[None]]:
    """The turn of a gateway's upkeep."""
    holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4()}"

    async def sweep() -> None:
        removed = await collect(store, objects, holder)
        if removed:
            _log.info("garbage_collected", objects=removed)

    return sweep


async def _page(objects: ObjectStore, after: str, at_most: int) -> tuple[list[Lying], str | None]:
    """Objects after a key, of one prefix, and the position after them; none when all prefixes were walked."""
    for index, prefix in enumerate(PREFIXES):
        if after and after > prefix and not after.startswith(prefix):
            continue
        found = await objects.page(prefix, after if after.startswith(prefix) else "", at_most)
        if len(found) == at_most:
            return found, found[-1].key
        if found or index + 1 == len(PREFIXES):
            return found, PREFIXES[index + 1] if index + 1 < len(PREFIXES) else None
    return [], None


async def _judged(store: Database, lying: Sequence[Lying]) -> list[Garbage]:
    before = datetime.now(UTC) - timedelta(seconds=GARBAGE_KEPT_S)
    old = [one for one in lying if one.modified_at < before]
    staged = {one.key for one in old if _STAGED.fullmatch(one.key)}
    digests = {one.key: f"sha256:{match[1]}" for one in old if (match := _DIGEST.fullmatch(one.key))}
    if not staged and not digests:
        return []
    async with store.platform() as tx:
        named = await garbage.staged(tx, sorted(staged))
        kept = await garbage.kept(tx, sorted(set(digests.values())), GARBAGE_KEPT_S)
    found: list[Garbage] = []
    for one in old:
        digest = digests.get(one.key)
        why: Why | None = None
        if digest is not None and digest not in kept:
            why = "digest_without_version"
        elif one.key in staged - named:
            why = "staging_orphan"
        if why is not None:
            found.append(
                Garbage(
                    key=one.key, size_bytes=one.size_bytes, modified_at=one.modified_at, why=why, content_hash=digest
                )
            )
    return found


async def _remove_staged(objects: ObjectStore, found: Sequence[Garbage]) -> int:
    # An upload's key is fresh and its row comes right after the object: a day later none will come any more.
    for one in found:
        await objects.delete(one.key)
    return len(found)


async def _remove_digest(store: Database, objects: ObjectStore, digest: str, found: Sequence[str]) -> int:
    async with store.platform() as tx:
        await registry.lock_digest(tx, digest)
        if await garbage.kept(tx, [digest], GARBAGE_KEPT_S):
            return 0
        try:
            async with asyncio.timeout(GARBAGE_DELETE_MAX_MS / 1000):
                for key in sorted(found):
                    await objects.delete(key)
        except TimeoutError as error:
            raise BundleUnavailable("the bundle store is too slow to collect garbage") from error
    return len(found)

"""Records of an install: what may be asked, within which limits, and what is told when it may not.

Both ways in use this: the internal listener, for guests, and the REST form. Where the rows are locked and the quotas
kept is the database's business; what is checked here needs no database.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from gateway.storage.slots import Slots
from gateway.store import storage
from gateway.store.pool import Database
from gateway.store.storage import Asker, Record, Standing, Write, Written
from shared.errors import (
    StorageLimitExceeded,
    StorageNamespaceDenied,
    StorageNotFound,
    StorageQuotaExceeded,
    StorageRevisionMismatch,
    StorageValidationFailed,
)
from shared.limits import (
    STORAGE_BULK_MAX_BYTES,
    STORAGE_BULK_MAX_COUNT,
    STORAGE_METADATA_MAX_BYTES,
    STORAGE_TTL_MAX_S,
    STORAGE_TTL_MIN_S,
)
from shared.storage import CAPABILITY, REVISION_MAX, check_cursor, check_key, check_namespace, check_value

T = TypeVar("T")
S = TypeVar("S", bound=Standing)

_MISMATCH: Final = "the record is absent or has another revision; read it, then write over the one it has"


class Records:
    """Every install's records, one install at a time.

    Each method raises `StorageValidationFailed` for a name that is none, `StorageNamespaceDenied` when the asker may
    not use the install's storage, `StorageNotFound` when the tenant has no such install, and `StorageRateLimited` when
    too many of the tenant's questions wait.

    Args:
        store: where they are.
    """

    def __init__(self, store: Database) -> None:
        self._store = store
        self._slots = Slots()

    async def get(self, asker: Asker, namespace: str, key: str) -> Record:
        """One record. Raises `StorageNotFound` when there is none."""
        check_namespace(namespace)
        check_key(key)
        async with self._slots.turn(asker.tenant_id):
            record = _allowed(asker, await storage.get(self._store, asker, namespace, key))
        if record.key is None:
            raise StorageNotFound("there is no such record, or it is past its time")
        return record

    async def page(
        self, asker: Asker, namespace: str, *, after: str = "", prefix: str = "", limit: int, values: bool = True
    ) -> list[Record]:
        """Records in key order, those after the key `after` whose keys begin with `prefix`.

        Whoever asks again after the last key sees each record that is there all the while exactly once.
        """
        check_namespace(namespace)
        check_cursor(after)
        check_cursor(prefix)
        async with self._slots.turn(asker.tenant_id):
            rows = await storage.page(
                self._store, asker, namespace, after=after, prefix=prefix, limit=limit, values=values
            )
        _allowed(asker, rows[0] if rows else None)
        return [row for row in rows if row.key is not None]

    async def put(self, asker: Asker, namespace: str, write: Write) -> Written:
        """Write one record, all of it: metadata and time of an earlier one go with its value.

        Raises:
            StorageLimitExceeded: the value, its metadata or its time is beyond the limit.
            StorageRevisionMismatch: the record has another revision than the one that must be current.
            StorageQuotaExceeded: the install's storage is full.
        """
        check_namespace(namespace)
        _check(write)

        async def attempt() -> Written:
            written = _allowed(asker, await storage.put(self._store, asker, namespace, write))
            if written.key is None:
                raise StorageRevisionMismatch(_MISMATCH)
            return written

        return await self._making_room(asker, attempt)

    async def put_all(self, asker: Asker, namespace: str, writes: Sequence[Write]) -> list[Written]:
        """Write several records or none of them; in key order. Raises what `put` raises."""
        check_namespace(namespace)
        _check_all(writes)

        async def attempt() -> list[Written]:
            async with self._store.tenant(asker.tenant_id) as tx:
                _allowed(asker, await storage.standing(tx, asker))
                held = await storage.hold(tx, asker, namespace, [write.key for write in writes])
                if any(write.revision not in (None, held.get(write.key, 0)) for write in writes):
                    raise StorageRevisionMismatch(f"nothing was written: of at least one key, {_MISMATCH}")
                written = await storage.put_all(tx, asker, namespace, writes)
                if len(written) < len(writes) or written[0].key is None:
                    raise StorageRevisionMismatch("nothing was written: somebody else wrote one of the keys just now")
                return written

        return await self._making_room(asker, attempt)

    async def delete(self, asker: Asker, namespace: str, key: str, *, revision: int | None = None) -> None:
        """Remove one record.

        Raises:
            StorageNotFound: there is none.
            StorageRevisionMismatch: it has another revision than `revision`.
        """
        check_namespace(namespace)
        check_key(key)
        _check_revision(revision)
        async with self._slots.turn(asker.tenant_id):
            found = _allowed(asker, await storage.delete(self._store, asker, namespace, key, revision=revision))
        if found.deleted:
            return
        if found.present:
            raise StorageRevisionMismatch(_MISMATCH)
        raise StorageNotFound("there is no such record, or it is past its time")

    async def _making_room(self, asker: Asker, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of `attempt`; what is past its time, and not removed yet, is no reason to refuse it."""
        async with self._slots.turn(asker.tenant_id):
            while True:
                try:
                    return await attempt()
                except StorageQuotaExceeded:
                    if not await storage.expire(self._store, asker):
                        raise


def _allowed(asker: Asker, found: S | None) -> S:
    """What was found, when the asker may know it."""
    if found is None and asker.generation is None:
        raise StorageNotFound("no such extension is installed for this tenant")
    if found is None or not found.current:
        raise StorageNamespaceDenied("the install was changed, disabled or removed since this call began")
    if not found.granted:
        raise StorageNamespaceDenied(f"{CAPABILITY} is not granted to this install", capability=CAPABILITY)
    return found


def _check(write: Write) -> None:
    check_key(write.key)
    check_value(write.value)
    _check_revision(write.revision)
    if _metadata_bytes(write) > STORAGE_METADATA_MAX_BYTES:
        raise StorageLimitExceeded(f"metadata may have at most {STORAGE_METADATA_MAX_BYTES} bytes as JSON")
    if write.ttl_s is not None and not STORAGE_TTL_MIN_S <= write.ttl_s <= STORAGE_TTL_MAX_S:
        raise StorageLimitExceeded(f"a record lives {STORAGE_TTL_MIN_S} to {STORAGE_TTL_MAX_S} seconds, or for ever")


def _check_all(writes: Sequence[Write]) -> None:
    if not writes:
        raise StorageValidationFailed("a bulk needs at least one item")
    if len(writes) > STORAGE_BULK_MAX_COUNT:
        raise StorageLimitExceeded(f"a bulk may have at most {STORAGE_BULK_MAX_COUNT} items")
    for write in writes:
        _check(write)
    if len({write.key for write in writes}) < len(writes):
        raise StorageValidationFailed("a bulk may name each key once")
    if sum(len(write.value) + _metadata_bytes(write) for write in writes) > STORAGE_BULK_MAX_BYTES:
        raise StorageLimitExceeded(f"a bulk may have at most {STORAGE_BULK_MAX_BYTES} bytes of values and metadata")


def _check_revision(revision: int | None) -> None:
    if revision is None:
        return
    if revision < 0:
        raise StorageValidationFailed("a revision is a whole number, 0 for a record that must be absent")
    if revision > REVISION_MAX:
        raise StorageRevisionMismatch(_MISMATCH)


def _metadata_bytes(write: Write) -> int:
    return len((write.metadata or "").encode())

"""The records extensions keep: each question one statement, with the right to ask it in the same statement.

Every statement begins at the install and says what it found there, so that a record is touched only when the tenant
has the install, `cap:storage.kv` is granted to it and, for a running guest, nothing about the install has changed since
its call began. Revisions are counted by the statement that writes. What would pass a quota fails in the database
(the migration that makes these tables says how) and is told here as `StorageQuotaExceeded`.

A record past its time is as good as absent, whether or not it was removed yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
from psycopg.errors import CheckViolation
from psycopg.rows import class_row

from gateway.store.pool import Database, Tx
from shared.errors import StorageQuotaExceeded
from shared.limits import (
    STORAGE_KEYS_PER_NAMESPACE_MAX,
    STORAGE_MAX_BYTES,
    STORAGE_NAMESPACES_MAX,
    STORAGE_SWEEP_MAX_COUNT,
)
from shared.storage import CAPABILITY

Row = TypeVar("Row")

QUOTAS: Final[dict[str, str]] = {
    "ext_storage_keys_quota": f"a namespace may have at most {STORAGE_KEYS_PER_NAMESPACE_MAX} keys",
    "ext_storage_namespaces_quota": f"an install may have at most {STORAGE_NAMESPACES_MAX} namespaces",
    "ext_storage_bytes_quota": f"an install may keep at most {STORAGE_MAX_BYTES} bytes of values and metadata",
}
"""Constraint of the database → what it means."""

_INSTALL: Final = """
with install as (
  select i.tenant_id, i.id, %(capability)s = any (i.granted_caps) as granted,
         %(generation)s::bigint is null or (i.generation = %(generation)s::bigint and i.is_enabled) as current
    from tenant_extension_install i
   where i.tenant_id = %(tenant)s and i.id = %(install)s::uuid and i.status <> 'uninstalled'
), allowed as (
  select tenant_id, id from install where granted and current
)"""

_LIVE: Final = "(r.expires_at is null or r.expires_at > now())"

_THIS: Final = (
    """r.tenant_id = a.tenant_id and r.install_id = a.id and r.namespace = %(namespace)s and r.key = %(key)s"""
)

_GET: Final = f"""{_INSTALL}
select i.granted, i.current, r.key, r.value, r.metadata, r.revision, r.expires_at, r.created_at, r.updated_at
  from install i left join (allowed a join ext_storage_records r on {_THIS} and {_LIVE}) on true"""

_LIST: Final = f"""{_INSTALL}
select i.granted, i.current, p.*
  from install i left join lateral (
    select r.key, case when %(values)s then r.value else '' end as value, r.metadata, r.revision, r.expires_at,
           r.created_at, r.updated_at
      from allowed a join ext_storage_records r on r.tenant_id = a.tenant_id and r.install_id = a.id
     where r.namespace = %(namespace)s and r.key > %(after)s and r.key >= %(prefix)s
       and starts_with(r.key, %(prefix)s) and {_LIVE}
     order by r.key limit %(limit)s) as p on true
 order by p.key"""

_WRITTEN: Final = """
select i.granted, i.current, w.key, w.revision, w.expires_at, w.created_at, w.updated_at
  from install i left join written w on true"""

_ENDS: Final = "now() + make_interval(secs => %(ttl_s)s::integer)"

# Without a revision, or with 0, which only an absent record has.
_PUT: Final = f"""{_INSTALL}, written as (
  insert into ext_storage_records as r (tenant_id, install_id, namespace, key, value, metadata, expires_at)
  select a.tenant_id, a.id, %(namespace)s, %(key)s, %(value)s, %(metadata)s, {_ENDS} from allowed a
  on conflict (tenant_id, install_id, namespace, key) do update
     set value = excluded.value, metadata = excluded.metadata, expires_at = excluded.expires_at, updated_at = now(),
         revision = case when {_LIVE} then r.revision + 1 else 1 end,
         created_at = case when {_LIVE} then r.created_at else now() end
   where %(revision)s::bigint is null or not {_LIVE}
  returning r.key, r.revision, r.expires_at, r.created_at, r.updated_at
){_WRITTEN}"""

# Over one revision: an update, since an insert could not be told from it when the record goes away meanwhile.
_REPLACE: Final = f"""{_INSTALL}, written as (
  update ext_storage_records r
     set value = %(value)s, metadata = %(metadata)s, expires_at = {_ENDS}, updated_at = now(), revision = r.revision + 1
    from allowed a
   where {_THIS} and {_LIVE} and r.revision = %(revision)s::bigint
  returning r.key, r.revision, r.expires_at, r.created_at, r.updated_at
){_WRITTEN}"""

_DELETE: Final = f"""{_INSTALL}, gone as (
  delete from ext_storage_records r using allowed a
   where {_THIS} and (%(revision)s::bigint is null or r.revision = %(revision)s::bigint or not {_LIVE})
  returning {_LIVE} as live
)
select i.granted, i.current, coalesce((select live from gone), false) as deleted,
       exists (select 1 from allowed a join ext_storage_records r on {_THIS} and {_LIVE}) as present
  from install i"""

_EXPIRE: Final = f"""{_INSTALL}, past as (
  select r.namespace, r.key
    from allowed a join ext_storage_records r on r.tenant_id = a.tenant_id and r.install_id = a.id
   where r.expires_at <= now()
   order by r.expires_at limit %(limit)s for update of r skip locked
), gone as (
  delete from ext_storage_records r using allowed a, past p
   where r.tenant_id = a.tenant_id and r.install_id = a.id and r.namespace = p.namespace and r.key = p.key
  returning 1
)
select i.granted, i.current, (select count(*) from gone) as removed from install i"""


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """Whose records are asked for.

    Attributes:
        generation: the install's when the guest's call began; none for a caller who is not a running guest.
    """

    tenant_id: str
    install_id: str
    generation: int | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of the install: whether storage is granted to it, and whether it is what the asker believes."""

    granted: bool
    current: bool


class Record(Standing, frozen=True, kw_only=True):
    """One record, or none of it when there is no such record (or no right to it): then `key` is none as well.

    Attributes:
        metadata: JSON text.
    """

    key: str | None
    value: bytes | None
    metadata: str | None
    revision: int
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime


class Written(Standing, frozen=True, kw_only=True):
    """A record after a write; `key` is none when nothing was written."""

    key: str | None
    revision: int
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime


class Deleted(Standing, frozen=True, kw_only=True):
    """What a deletion did.

    Attributes:
        deleted: whether a record was there and is gone.
        present: whether there was one, perhaps with another revision.
    """

    deleted: bool
    present: bool


class Removed(Standing, frozen=True, kw_only=True):
    """How many records that were past their time were removed."""

    removed: int


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One record to write.

    Attributes:
        metadata: JSON text.
        ttl_s: how long it lives; none: without an end.
        revision: the one that must be current, 0 for an absent record; none: whatever is there is overwritten.
    """

    key: str
    value: bytes
    metadata: str | None = None
    ttl_s: int | None = None
    revision: int | None = None


async def get(store: Database, asker: Asker, namespace: str, key: str) -> Record | None:
    """One record; none when the tenant has no such install."""
    return _only(await store.ask(asker.tenant_id, _GET, _about(asker, namespace=namespace, key=key), Record))


async def page(
    store: Database, asker: Asker, namespace: str, *, after: str, prefix: str, limit: int, values: bool
) -> list[Record]:
    """Records in key order; a single one without a key when there are none; none when there is no such install.

    Args:
        after: keys after this one only; the empty text is before all of them.
        prefix: of the keys.
        limit: how many at most.
        values: whether their values are wanted.
    """
    about = _about(asker, namespace=namespace, after=after, prefix=prefix, limit=limit, values=values)
    return await store.ask(asker.tenant_id, _LIST, about, Record)


async def put(store: Database, asker: Asker, namespace: str, write: Write) -> Written | None:
    """Write one record; none when the tenant has no such install. Raises `StorageQuotaExceeded`."""
    statement = _REPLACE if write.revision else _PUT
    with _quotas():
        about = _about(asker, namespace=namespace, **msgspec.structs.asdict(write))
        return _only(await store.ask(asker.tenant_id, statement, about, Written))


async def delete(
    store: Database, asker: Asker, namespace: str, key: str, *, revision: int | None = None
) -> Deleted | None:
    """Remove one record; none when the tenant has no such install."""
    about = _about(asker, namespace=namespace, key=key, revision=revision)
    return _only(await store.ask(asker.tenant_id, _DELETE, about, Deleted))


async def expire(store: Database, asker: Asker) -> int:
    """Remove an install's records that are past their time, up to a bound; how many."""
    found = _only(await store.ask(asker.tenant_id, _EXPIRE, _about(asker, limit=STORAGE_SWEEP_MAX_COUNT), Removed))
    return 0 if found is None else found.removed


# ---- several at once ----------------------------------------------------------------------------------------

_STANDING: Final = f"{_INSTALL} select granted, current from install"

_HELD: Final = f"""
select r.key, r.revision from ext_storage_records r
 where r.tenant_id = %(tenant)s and r.install_id = %(install)s::uuid and r.namespace = %(namespace)s
   and r.key = any (%(keys)s) and {_LIVE}
 order by r.key for update"""

_PUT_ALL: Final = f"""{_INSTALL}, written as (
  insert into ext_storage_records as r (tenant_id, install_id, namespace, key, value, metadata, expires_at)
  select a.tenant_id, a.id, %(namespace)s, w.key, w.value, w.metadata, now() + make_interval(secs => w.ttl_s)
    from allowed a, unnest(%(keys)s::text[], %(values)s::bytea[], %(metadata)s::text[], %(ttls_s)s::integer[])
                      as w (key, value, metadata, ttl_s)
   order by w.key collate "C"
  on conflict (tenant_id, install_id, namespace, key) do update
     set value = excluded.value, metadata = excluded.metadata, expires_at = excluded.expires_at, updated_at = now(),
         revision = case when {_LIVE} then r.revision + 1 else 1 end,
         created_at = case when {_LIVE} then r.created_at else now() end
   where not {_LIVE} or not r.key = any (%(fresh)s)
  returning r.key, r.revision, r.expires_at, r.created_at, r.updated_at
){_WRITTEN} order by w.key"""


class Held(msgspec.Struct, frozen=True):
    """A record that nobody else can change before the transaction ends."""

    key: str
    revision: int


async def standing(tx: Tx, asker: Asker) -> Standing | None:
    """What the asker may do; none when the tenant has no such install."""
    async with tx.cursor(row_factory=class_row(Standing)) as cursor:
        await cursor.execute(_STANDING, _about(asker))
        return await cursor.fetchone()


async def hold(tx: Tx, asker: Asker, namespace: str, keys: Sequence[str]) -> dict[str, int]:
    """The revisions of those records that exist, locked in key order until the transaction ends."""
    async with tx.cursor(row_factory=class_row(Held)) as cursor:
        await cursor.execute(_HELD, _about(asker, namespace=namespace, keys=sorted(keys)))
        return {held.key: held.revision for held in await cursor.fetchall()}


async def put_all(tx: Tx, asker: Asker, namespace: str, writes: Sequence[Write]) -> list[Written]:
    """Write records whose revisions were compared with what `hold` said; in key order.

    One that must be absent and was made by somebody since is missing from the result: then nothing may be committed.

    Raises:
        StorageQuotaExceeded: nothing may be committed either.
    """
    about = _about(
        asker,
        namespace=namespace,
        keys=[write.key for write in writes],
        values=[write.value for write in writes],
        metadata=[write.metadata for write in writes],
        ttls_s=[write.ttl_s for write in writes],
        fresh=[write.key for write in writes if write.revision == 0],
    )
    async with tx.cursor(row_factory=class_row(Written)) as cursor:
        with _quotas():
            await cursor.execute(_PUT_ALL, about)
        return await cursor.fetchall()


def _about(asker: Asker, **more: Any) -> dict[str, Any]:
    return {
        "tenant": asker.tenant_id,
        "install": asker.install_id,
        "generation": asker.generation,
        "capability": CAPABILITY,
        **more,
    }


def _only(rows: Sequence[Row]) -> Row | None:
    return rows[0] if rows else None


@contextmanager
def _quotas() -> Iterator[None]:
    try:
        yield
    except CheckViolation as error:
        meaning = QUOTAS.get(error.diag.constraint_name or "")
        if meaning is None:
            raise
        raise StorageQuotaExceeded(meaning) from error

"""Publishing events: always inside the tenant's transaction.

Publishing is one statement: the events, and a delivery for each enabled install whose version subscribes to the topic.
An event nobody subscribes to is kept without its payload; so is one that everybody has.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from psycopg.rows import class_row

from gateway.store.notices import EVENT_DUE
from gateway.store.pool import Tx
from shared.limits import EVENT_BACKLOG_MAX_COUNT

RATE_WINDOW_S: Final = 60

_LOCK: Final = "select pg_advisory_xact_lock(hashtextextended('event:' || %s, 0))"

_PUBLISHER: Final = """
select r.publisher, r.name, %(capability)s = any (i.granted_caps) as granted,
       i.generation = %(generation)s::bigint and i.is_enabled as current,
       p.published, coalesce(p.frees_s, 0) as frees_s
  from tenant_extension_install i
  join extension_registry r on r.id = i.registry_id
 cross join lateral (
    select count(*) as published,
           ceil(extract(epoch from min(e.created_at) + make_interval(secs => %(window_s)s) - clock_timestamp()))::integer
             as frees_s
      from extension_event e
     where e.tenant_id = i.tenant_id and e.install_id = i.id
       and e.created_at > clock_timestamp() - make_interval(secs => %(window_s)s)) as p
 where i.tenant_id = %(tenant)s and i.id = %(install)s::uuid and i.status <> 'uninstalled'"""

_PUBLISH: Final = """
with wanted as (
  select * from unnest(%(ids)s::uuid[], %(sources)s::text[], %(topics)s::text[], %(subjects)s::text[],
                       %(times)s::timestamptz[], %(media_types)s::text[], %(payloads)s::bytea[], %(digests)s::bytea[],
                       %(origin_ids)s::text[])
      as w (id, source, topic, subject, occurred_at, media_type, payload, sha256, origin_id)
), receiver as (
  select w.id as event_id, i.id as install_id,
         (select count(*) from (select 1 from extension_event_delivery d
                                 where d.install_id = i.id and d.state = 'waiting' limit %(backlog)s) as few)
           >= %(backlog)s as crowded
    from wanted w
    join extension_event_subscription s on s.topic = w.topic
    join tenant_extension_install i on i.version_id = s.version_id
   where i.tenant_id = %(tenant)s and i.is_enabled
), event as (
  insert into extension_event as e (tenant_id, id, source, topic, subject, occurred_at, media_type, payload, sha256,
                                    origin_id, install_id, hops)
  select %(tenant)s, w.id, w.source, w.topic, w.subject, w.occurred_at, w.media_type,
         case when exists (select 1 from receiver r where r.event_id = w.id) then w.payload end, w.sha256, w.origin_id,
         %(install)s::uuid, %(hops)s
    from wanted w order by w.id
  on conflict (tenant_id, id) do nothing
  returning e.id
), delivery as (
  insert into extension_event_delivery as d (tenant_id, event_id, install_id, state, code, detail, finished_at)
  select %(tenant)s, r.event_id, r.install_id, case when r.crowded then 'dead' else 'waiting' end,
         case when r.crowded then 'backlog_full' end,
         case when r.crowded then %(crowded)s end, case when r.crowded then clock_timestamp() end
    from receiver r join event e on e.id = r.event_id
  returning d.event_id, d.state
), told as (
  select pg_notify(%(channel)s, '') where exists (select 1 from delivery where state = 'waiting')
)
select w.id, e.id is not null as fresh, (select count(*) from delivery d where d.event_id = w.id) as deliveries,
       (select count(*) from told) as told
  from wanted w left join event e on e.id = w.id"""

_KNOWN: Final = """
select id, sha256 from extension_event where tenant_id = %s and id = any (%s::uuid[])"""

_CROWDED: Final = f"{EVENT_BACKLOG_MAX_COUNT} deliveries waited for this extension already"


class Publisher(msgspec.Struct, frozen=True, kw_only=True):
    """The install whose guest publishes.

    Attributes:
        granted: whether it may publish at all.
        current: whether it is what it was when the guest's call began.
        published: how many events it published in the last minute.
        frees_s: after how many seconds the oldest of those is a minute old.
    """

    publisher: str
    name: str
    granted: bool
    current: bool
    published: int
    frees_s: int


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event.

    Attributes:
        occurred_at: CloudEvents `time`.
        media_type: of the payload; none when there is none.
        payload: none when nobody needs it any more.
        origin_id: the host application's own id.
        hops: which event in a row of events it is, from 1.
    """

    id: str
    source: str
    topic: str
    subject: str | None
    occurred_at: datetime
    media_type: str | None
    payload: bytes | None
    origin_id: str | None
    hops: int


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """An event after its publication.

    Attributes:
        fresh: whether it was not there before.
        deliveries: how many installs will get it.
    """

    id: str
    fresh: bool
    deliveries: int
    told: int


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """An event that is there, by the digest of what was published."""

    id: str
    sha256: bytes


async def hold_publisher(
    tx: Tx, *, tenant_id: str, install_id: str, generation: int, capability: str
) -> Publisher | None:
    """What an install may publish now; nobody else publishes for it before the transaction ends.

    None when the tenant has no such install. The count is taken in a statement of its own after the lock, since a
    statement sees what was committed when it began.
    """
    await tx.execute(_LOCK, (install_id,))
    async with tx.cursor(row_factory=class_row(Publisher)) as cursor:
        await cursor.execute(
            _PUBLISHER,
            {
                "tenant": tenant_id,
                "install": install_id,
                "generation": generation,
                "capability": capability,
                "window_s": RATE_WINDOW_S,
            },
        )
        return await cursor.fetchone()


async def publish(
    tx: Tx, tenant_id: str, events: Sequence[Event], digests: Sequence[bytes], install_id: str | None
) -> dict[str, Accepted]:
    """Write events that are not there yet, with their deliveries; by id.

    Args:
        events: of one hop count.
        digests: of what was published, one for each.
        install_id: of the extension that publishes; none: the host application.
    """
    async with tx.cursor(row_factory=class_row(Accepted)) as cursor:
        await cursor.execute(
            _PUBLISH,
            {
                "tenant": tenant_id,
                "install": install_id,
                "hops": events[0].hops,
                "ids": [event.id for event in events],
                "sources": [event.source for event in events],
                "topics": [event.topic for event in events],
                "subjects": [event.subject for event in events],
                "times": [event.occurred_at for event in events],
                "media_types": [event.media_type for event in events],
                "payloads": [event.payload for event in events],
                "digests": list(digests),
                "origin_ids": [event.origin_id for event in events],
                "backlog": EVENT_BACKLOG_MAX_COUNT,
                "crowded": _CROWDED,
                "channel": EVENT_DUE,
            },
        )
        return {row.id: row for row in await cursor.fetchall()}


async def known(tx: Tx, tenant_id: str, ids: Sequence[str]) -> dict[str, bytes]:
    """Which of these events are there, and the digests of what was published."""
    async with tx.cursor(row_factory=class_row(Known)) as cursor:
        await cursor.execute(_KNOWN, (tenant_id, list(ids)))
        return {row.id: row.sha256 for row in await cursor.fetchall()}


async def owner_of(tx: Tx, tenant_id: str, topic: str) -> str | None:
    """The name of an installed extension whose topic this is; none when it is nobody's."""
    cursor = await tx.execute(
        """select r.name from tenant_extension_install i join extension_registry r on r.id = i.registry_id
            where i.tenant_id = %(tenant)s and i.status <> 'uninstalled'
              and (%(topic)s = r.name or starts_with(%(topic)s, r.name || '.'))
            order by r.name limit 1""",
        {"tenant": tenant_id, "topic": topic},
    )
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def forget_install(tx: Tx, install_id: str) -> None:
    """Remove every delivery to an install of the tenant, whatever became of it."""
    await tx.execute("delete from extension_event_delivery where install_id = %s", (install_id,))

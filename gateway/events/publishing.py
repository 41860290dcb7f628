"""Publishing: what may be published, by whom, and how often. Accepted means committed, with every delivery it leads to.

An extension publishes its own topics only, so many in any minute, and not without end in answer to other events. The
host application publishes what is nobody else's. Neither can publish into another tenant: the tenant comes from the
call's host token or the caller's credential, and everything is written in that tenant's own transaction.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec

from gateway.events import cloudevents, identity
from gateway.events.cloudevents import Content, Submitted
from gateway.events.metrics import EventMetrics
from gateway.storage.slots import Slots
from gateway.store import events as statements
from gateway.store.events import Event
from gateway.store.pool import Database
from shared.errors import Conflict, Forbidden, InvalidRequest, NotInstalled, RateLimited
from shared.events import CAPABILITY, belongs_to, check_payload, check_topic
from shared.limits import (
    EVENT_HOPS_MAX,
    EVENT_TENANT_CALLS_MAX,
    EVENTS_BATCH_MAX_COUNT,
    EVENTS_PER_MINUTE_MAX,
    INSTALL_CACHE_MAX_COUNT,
)
from shared.tokens import HostClaims


class AcceptedView(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the host application that was accepted.

    Attributes:
        id: what its receivers know it by.
        source: as it was given.
        origin_id: its own id, as it was given.
        repeated: whether it had been accepted before; then nothing was done.
        deliveries: how many installs get it because of this request.
    """

    id: str
    source: str
    type: str
    origin_id: str | None
    repeated: bool
    deliveries: int


class Publishing:
    """Takes events.

    Args:
        store: where they are kept.
        metrics: counts them.
        wake: called after a commit that made deliveries due.
        monotonic: seconds.
    """

    def __init__(
        self,
        store: Database,
        metrics: EventMetrics,
        wake: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._metrics, self._wake, self._monotonic = store, metrics, wake, monotonic
        # Publishers of one install wait for each other in the database, each holding a connection.
        self._slots = Slots(EVENT_TENANT_CALLS_MAX, RateLimited)
        self._resting: OrderedDict[str, float] = OrderedDict()  # install → when its rate has room again

    async def from_guest(self, claims: HostClaims, topic: str, payload: bytes) -> str:
        """Take one event of a running guest; its id.

        Raises:
            InvalidRequest, PayloadTooLarge: not a topic, or too much.
            Forbidden: not granted, not the extension's own topic, too many events in a row, or the install changed.
            RateLimited: too many in a minute.
        """
        try:
            return await self._from_guest(claims, topic, payload)
        except (Forbidden, RateLimited, InvalidRequest):
            self._metrics.refused.inc()
            raise

    async def _from_guest(self, claims: HostClaims, topic: str, payload: bytes) -> str:
        check_topic(topic)
        check_payload(payload)
        if claims.hops >= EVENT_HOPS_MAX:
            raise Forbidden(
                f"this call is already the answer to {claims.hops} events in a row, and at most {EVENT_HOPS_MAX} may lead "
                "to each other; publish from a call that no event led to"
            )
        self._check_resting(claims.install)
        content = Content(topic=topic, subject=None, media_type=cloudevents.media_type_of(payload), payload=payload)
        event_id = identity.event_id(claims.tenant, "", None)
        async with self._slots.turn(claims.tenant), self._store.tenant(claims.tenant) as tx:
            publisher = await statements.hold_publisher(
                tx,
                tenant_id=claims.tenant,
                install_id=claims.install,
                generation=claims.generation,
                capability=CAPABILITY,
            )
            _check_publisher(publisher)
            assert publisher is not None
            if not belongs_to(topic, publisher.name):
                raise Forbidden(
                    f"this extension may publish {publisher.name} and topics that begin with {publisher.name}. only"
                )
            if publisher.published >= EVENTS_PER_MINUTE_MAX:
                raise self._rest(claims.install, max(1, publisher.frees_s))
            source = cloudevents.extension_source(publisher.publisher, publisher.name)
            event = _event(content, event_id, source, None, claims.hops + 1)
            accepted = await statements.publish(
                tx, claims.tenant, [event], [identity.content_sha256(content)], claims.install
            )
        self._done("extension", [accepted[event_id].deliveries])
        return event_id

    async def from_host(self, tenant_id: str, submitted: Sequence[Submitted]) -> list[AcceptedView]:
        """Take events of the host application, all of them or none; in the order given.

        Raises:
            InvalidRequest, PayloadTooLarge, TenantMismatch: one of them is not acceptable.
            Forbidden: one has a topic of an installed extension.
            Conflict: one has source and id of an earlier one that said something else.
        """
        if not 1 <= len(submitted) <= EVENTS_BATCH_MAX_COUNT:
            raise InvalidRequest(f"a batch has 1 to {EVENTS_BATCH_MAX_COUNT} events")
        contents = [cloudevents.read(one, tenant_id) for one in submitted]
        digests = [identity.content_sha256(content) for content in contents]
        made = [
            _event(content, identity.event_id(tenant_id, one.source, one.id), one.source, one, 1)
            for one, content in zip(submitted, contents, strict=True)
        ]
        if len({event.id for event in made}) < len(made):
            raise InvalidRequest("a batch may name each source and id once")
        async with self._slots.turn(tenant_id), self._store.tenant(tenant_id) as tx:
            for topic in sorted({content.topic for content in contents}):
                if (owner := await statements.owner_of(tx, tenant_id, topic)) is not None:
                    raise Forbidden(
                        f"{topic} is a topic of the installed extension {owner}, which alone may publish it; "
                        f"use one that does not begin with {owner}"
                    )
            accepted = await statements.publish(tx, tenant_id, made, digests, None)
            there = await statements.known(tx, tenant_id, [event.id for event in made])
            for event, digest in zip(made, digests, strict=True):
                if there.get(event.id) != digest:
                    raise Conflict(
                        f"the event {event.origin_id} of {event.source} was published before and said something else; "
                        "give this one an id of its own"
                    )
        self._done("host", [row.deliveries for row in accepted.values() if row.fresh])
        return [
            AcceptedView(
                id=event.id,
                source=event.source,
                type=event.topic,
                origin_id=event.origin_id,
                repeated=not accepted[event.id].fresh,
                deliveries=accepted[event.id].deliveries,
            )
            for event in made
        ]

    def _check_resting(self, install_id: str) -> None:
        until = self._resting.get(install_id)
        if until is not None and (left_s := until - self._monotonic()) > 0:
            raise _too_many(left_s)

    def _rest(self, install_id: str, for_s: float) -> RateLimited:
        """From now on an install's events are refused without asking the database, as long as it would refuse them."""
        self._resting[install_id] = self._monotonic() + for_s
        self._resting.move_to_end(install_id)
        while len(self._resting) > INSTALL_CACHE_MAX_COUNT:
            self._resting.popitem(last=False)
        return _too_many(for_s)

    def _done(self, publisher: str, deliveries: Sequence[int]) -> None:
        self._metrics.published.labels(publisher).inc(len(deliveries))
        if any(deliveries):
            self._wake()


def _check_publisher(publisher: statements.Publisher | None) -> None:
    if publisher is None:
        raise NotInstalled("no such extension is installed for this tenant")
    if not publisher.current:
        raise Forbidden("the install was changed, disabled or removed since this call began")
    if not publisher.granted:
        raise Forbidden(f"{CAPABILITY} is not granted to this install", capability=CAPABILITY)


def _event(content: Content, event_id: str, source: str, given: Submitted | None, hops: int) -> Event:
    occurred_at = given.time if given is not None and given.time is not None else datetime.now(UTC)
    return Event(
        id=event_id,
        source=source,
        topic=content.topic,
        subject=content.subject,
        occurred_at=occurred_at,
        media_type=content.media_type,
        payload=content.payload,
        origin_id=None if given is None else given.id,
        hops=hops,
    )


def _too_many(left_s: float) -> RateLimited:
    seconds = int(left_s) + 1
    return RateLimited(
        f"an extension may publish {EVENTS_PER_MINUTE_MAX} events a minute; there is room again in {seconds} s",
        retry_after_s=seconds,
    )

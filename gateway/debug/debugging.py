"""Who may watch how much: a seat for each viewer, one feed for each stream, a row for each time somebody watched."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from gateway.debug.feeds import Feeds
from gateway.identity.actor import Actor
from gateway.installs.resolved import ResolvedInstall
from gateway.settings import GatewaySettings
from gateway.store import audit_log
from gateway.store.pool import Database
from gateway.streams.debug import open_debug_streams
from shared.errors import NotFound, Overloaded, RateLimited
from shared.limits import DEBUG_VIEWERS_MAX, DEBUG_VIEWERS_PER_TENANT_MAX

_RETRY_AFTER_S: Final = 10  # by then somebody may have closed a page


class Debugging:
    """The debug stream of one process.

    Args:
        store: where it is written down who watched what.
        feeds: reads the streams; `None` when none are configured.
        metrics: counts viewers.
    """

    def __init__(self, store: Database, feeds: Feeds | None, metrics: CollectorRegistry) -> None:
        self._store = store
        self._feeds = feeds
        self._seats: Counter[str] = Counter()
        self._viewers = Gauge("ext_debug_viewers", "Viewers of the live debug stream", registry=metrics)

    @property
    def feeds(self) -> Feeds:
        """Reads the streams. Raises `NotFound` when there are none."""
        if self._feeds is None:
            raise NotFound("this gateway has no debug stream; DEBUG_STREAM_REDIS_URL would give it one")
        return self._feeds

    @contextmanager
    def seat(self, tenant_id: str) -> Iterator[None]:
        """A place for one more viewer of a tenant.

        Raises:
            RateLimited: the tenant has as many as it may.
            Overloaded: this gateway has.
        """
        if self._seats[tenant_id] >= DEBUG_VIEWERS_PER_TENANT_MAX:
            raise RateLimited(
                f"{DEBUG_VIEWERS_PER_TENANT_MAX} viewers of this tenant watch debug streams already; close one",
                retry_after_s=_RETRY_AFTER_S,
            )
        if self._seats.total() >= DEBUG_VIEWERS_MAX:
            raise Overloaded("this gateway has as many viewers as it may", retry_after_s=_RETRY_AFTER_S)
        self._seats[tenant_id] += 1
        self._viewers.inc()
        try:
            yield
        finally:
            self._viewers.dec()
            self._seats[tenant_id] -= 1
            if not self._seats[tenant_id]:
                del self._seats[tenant_id]

    async def note(self, actor: Actor, install: ResolvedInstall, **detail: str | bool | None) -> None:
        """Write down who watches what. Raises `AccessPolicyUnavailable`: what cannot be recorded is not shown."""
        async with self._store.tenant(actor.tenant_id) as tx:
            await audit_log.record(tx, actor.did("debug.watched", "install", install.install_id, **detail))


@asynccontextmanager
async def open_debugging(
    store: Database, settings: GatewaySettings, metrics: CollectorRegistry
) -> AsyncIterator[Debugging]:
    """The debug stream of one process. Redis need not be there yet."""
    if settings.debug_redis_url is None:
        yield Debugging(store, None, metrics)
        return
    async with open_debug_streams(settings.debug_redis_url) as streams:
        yield Debugging(store, Feeds(streams, settings.debug_stream_prefix), metrics)

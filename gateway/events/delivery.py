"""Delivery: every gateway takes what is due, calls the handler, and says what became of it. At least once.

    claim (one short transaction, a lease) → load, as the tenant → call, no transaction open → settle, as the tenant

Any number of gateways do this beside each other. A gateway that dies leaves leases that end; an attempt that is not the
current one any more settles nothing. Each gateway has so many calls under way at once, so many of one tenant, so many of
one install. It sleeps until it is told (`NOTIFY`, or its own publishing), until a pause of its own ends, or for some
seconds at most. Asked to stop, it claims nothing more, waits for what runs, and hands the rest to others at once.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from gateway.events import cloudevents, verdict
from gateway.events.metrics import EventMetrics
from gateway.proxy.unattended import Due, Outcome
from gateway.store import deliveries as statements
from gateway.store import notices
from gateway.store.deliveries import Claim, Loaded, Settlement
from gateway.store.platform import events as platform
from gateway.store.pool import Database
from shared.errors import PlatformError
from shared.events import CLOUDEVENT
from shared.limits import (
    EVENT_DELIVERIES_MAX,
    EVENT_DRAIN_MAX_S,
    EVENT_INSTALL_DELIVERIES_MAX,
    EVENT_LEASE_S,
    EVENT_POLL_S,
    EVENT_TENANT_DELIVERIES_MAX,
)

if TYPE_CHECKING:
    from gateway.settings import GatewaySettings

_HEADERS: Final = ((b"content-type", CLOUDEVENT.encode()), (b"accept", b"application/json"))
_RELEASE_MAX_S: Final = 3  # giving back what was not finished, at the end of a process

_log = structlog.get_logger(__name__)


class Caller(Protocol):
    """Calls handlers: `gateway.proxy.unattended.Unattended`."""

    async def call(self, due: Due) -> Outcome:
        """What became of the call. Raises nothing but what cancels it."""
        ...


class Delivering:
    """The deliveries of one process.

    Args:
        store: where they are.
        caller: calls handlers.
        metrics: counts attempts.
        jitter: from 0 to 1.
    """

    def __init__(
        self, store: Database, caller: Caller, metrics: EventMetrics, jitter: Callable[[], float] = random.random
    ) -> None:
        self._store, self._caller, self._metrics, self._jitter = store, caller, metrics, jitter
        self._news = asyncio.Event()
        self._running: dict[asyncio.Task[None], Claim] = {}
        self._stopped = asyncio.Event()

    def wake(self) -> None:
        """Something may be due."""
        self._news.set()

    def stop(self) -> None:
        """Claim nothing more; what runs goes on."""
        self._stopped.set()
        self._news.set()

    async def run(self) -> None:
        """Deliver until `stop`. Not to be cancelled: a claim that is cut off would have to wait for its lease."""
        while not self._stopped.is_set():
            self._news.clear()
            try:
                while not self._stopped.is_set() and self._free() and await self._claim():
                    continue
            except PlatformError as error:
                _log.warning("event_claim_failed", code=error.code)
            except Exception:  # noqa: BLE001 - what nobody foresaw must not end every delivery of this gateway
                _log.exception("event_claim_failed")
            await self._wait(0 if self._stopped.is_set() else EVENT_POLL_S)

    async def drain(self, within_s: float) -> None:
        """Wait for what runs, then cancel it; others can have that at once."""
        if self._running:
            await asyncio.wait(list(self._running), timeout=within_s)
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait(self, at_most_s: float) -> None:
        """Until there are news; no longer than a poll, spread so that gateways do not ask in step."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(at_most_s * (1 - self._jitter() / 4), self._news.set)
        try:
            await self._news.wait()
        finally:
            timer.cancel()

    def _free(self) -> int:
        return EVENT_DELIVERIES_MAX - len(self._running)

    async def _claim(self) -> bool:
        """Take what is due, one of each install, and begin with it; whether there was anything."""
        claims = self._running.values()
        installs, tenants = Counter(c.install_id for c in claims), Counter(c.tenant_id for c in claims)
        async with self._store.platform() as tx:
            taken = await platform.claim(
                tx,
                limit=self._free(),
                tenant_max=EVENT_TENANT_DELIVERIES_MAX,
                lease_s=EVENT_LEASE_S,
                full_installs=[one for one, count in installs.items() if count >= EVENT_INSTALL_DELIVERIES_MAX],
                running=tenants,
                start=str(uuid.uuid4()),
            )
        for claim in taken:
            task = asyncio.create_task(self._deliver(claim), name="event delivery")
            self._running[task] = claim
            task.add_done_callback(self._ended)
        self._metrics.running.set(len(self._running))
        return bool(taken)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._metrics.running.set(len(self._running))
        self._news.set()  # a place is free
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("event_delivery_failed", error=repr(error))

    async def _deliver(self, claim: Claim) -> None:
        """One attempt. What it cannot settle is tried again by whoever claims it when the lease has ended."""
        try:
            loaded = await statements.load(self._store, claim)
            if loaded is None:
                return
            settlement = await self._attempt(claim, loaded)
            held = await statements.settle(self._store, claim, settlement)
        except PlatformError as error:
            _log.warning("event_delivery_unsettled", event_id=claim.event_id, code=error.code)
            return
        except asyncio.CancelledError:
            await self._release(claim)
            raise
        self._metrics.attempts.labels(_word(settlement)).inc()
        _log.info(
            "event_delivery",
            tenant_id=claim.tenant_id,
            install_id=claim.install_id,
            event_id=claim.event_id,
            attempt=claim.attempt,
            state=settlement.state if held else "superseded",
            status=settlement.http_status,
            code=settlement.code,
        )
        if settlement.state == "waiting" and settlement.pause_s < EVENT_POLL_S:
            asyncio.get_running_loop().call_later(settlement.pause_s, self._news.set)

    async def _attempt(self, claim: Claim, loaded: Loaded) -> Settlement:
        if loaded.handler is None:
            return verdict.NOT_SUBSCRIBED
        outcome = await self._caller.call(
            Due(
                tenant_id=claim.tenant_id,
                install_id=claim.install_id,
                kind="event",
                subject=claim.event_id,
                method="POST",
                path=loaded.handler,
                headers=_HEADERS,
                body=cloudevents.encode(claim.tenant_id, loaded),
                idempotency_key=claim.event_id,
                hops=loaded.hops,
            )
        )
        return verdict.judge(outcome, loaded.failures, self._jitter())

    async def _release(self, claim: Claim) -> None:
        """Let others have what was interrupted, now instead of at the end of its lease."""
        try:
            async with asyncio.timeout(_RELEASE_MAX_S):
                await statements.settle(self._store, claim, Settlement(state="waiting", code="interrupted"))
        except (PlatformError, TimeoutError) as error:
            _log.warning("event_release_failed", event_id=claim.event_id, error=type(error).__name__)


@asynccontextmanager
async def open_delivering(
    store: Database, caller: Caller, settings: GatewaySettings, metrics: EventMetrics, drain: asyncio.Event
) -> AsyncIterator[Delivering]:
    """The deliveries of one process, as long as the block.

    Args:
        drain: set when the process was asked to end; from then on nothing more is claimed.
    """
    delivering = Delivering(store, caller, metrics)

    async def listen() -> None:
        async for _ in notices.events_due(settings.database_direct_url):
            delivering.wake()

    async def stop() -> None:
        await drain.wait()
        delivering.stop()

    claiming = asyncio.create_task(delivering.run(), name="event claims")
    beside = [
        asyncio.create_task(listen(), name="event listener"),
        asyncio.create_task(stop(), name="event drain"),
    ]
    for task in (claiming, *beside):
        task.add_done_callback(_said)
    try:
        yield delivering
    finally:
        delivering.stop()
        for task in beside:
            await _end(task)
        await asyncio.wait([claiming])
        await delivering.drain(EVENT_DRAIN_MAX_S)


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel until it has ended: drivers may drop a cancellation (CPython issue 81839)."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=1)


def _said(task: asyncio.Task[None]) -> None:
    # Nothing restarts them: an error here is a defect, and must be seen.
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("event_task_ended", task=task.get_name(), error=repr(error))


def _word(settlement: Settlement) -> str:
    return "retried" if settlement.state == "waiting" else settlement.state

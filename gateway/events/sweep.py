"""Removes what is past its time: deliveries nobody could make, ended ones, surplus dead letters, events without any."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from gateway.store.platform import events
from gateway.store.pool import Database, Tx
from shared.limits import (
    EVENT_DEAD_KEPT_DAYS,
    EVENT_DEAD_MAX_COUNT,
    EVENT_KEPT_S,
    EVENT_SWEEP_MAX_COUNT,
    EVENT_WAIT_MAX_DAYS,
)

_log = structlog.get_logger(__name__)

Step = Callable[[Tx], Awaitable[int]]


def events_sweep(store: Database) -> Callable[[], Awaitable[None]]:
    """The work of the clock: all of it is removed, some rows in each transaction."""
    limit = EVENT_SWEEP_MAX_COUNT
    steps: list[Step] = [
        lambda tx: events.expire(tx, wait_max_days=EVENT_WAIT_MAX_DAYS, limit=limit),
        lambda tx: events.remove_finished(tx, kept_s=EVENT_KEPT_S, dead_kept_days=EVENT_DEAD_KEPT_DAYS, limit=limit),
        lambda tx: events.trim_dead(tx, keep=EVENT_DEAD_MAX_COUNT, limit=limit),
        lambda tx: events.forget(tx, kept_s=EVENT_KEPT_S, limit=limit),
    ]

    async def sweep_events() -> None:
        swept = sum([await _all(store, step) for step in steps])
        if swept:
            _log.info("events_swept", count=swept)

    return sweep_events


async def _all(store: Database, step: Step) -> int:
    swept, batch = 0, EVENT_SWEEP_MAX_COUNT
    while batch >= EVENT_SWEEP_MAX_COUNT:
        async with store.platform() as tx:
            batch = await step(tx)
        swept += batch
    return swept

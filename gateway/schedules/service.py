"""Schedules of one gateway: the doors' side and the clockwork, opened together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from gateway.schedules.firing import Calls, open_firing
from gateway.schedules.manage import Schedules
from gateway.schedules.timetable import Timetable
from gateway.store.pool import Database


@asynccontextmanager
async def open_schedules(
    store: Database, calls: Calls, metrics: CollectorRegistry, drain: asyncio.Event
) -> AsyncIterator[Schedules]:
    """Schedules that can be changed, and fire as long as the block runs and `drain` is not set."""
    async with open_firing(Timetable(store), calls, metrics, drain) as firing:
        yield Schedules(store, firing.look)

"""Everything about events in one process: publishing, delivering, and what an administrator asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from gateway.events.delivery import Caller, open_delivering
from gateway.events.metrics import EventMetrics
from gateway.events.publishing import Publishing
from gateway.events.reading import Deliveries
from gateway.store.pool import Database

if TYPE_CHECKING:
    from gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Events:
    """What doors use.

    Attributes:
        publishing: takes events.
        deliveries: what became of them, and dead letters' second chance.
    """

    publishing: Publishing
    deliveries: Deliveries


@asynccontextmanager
async def open_events(
    store: Database, caller: Caller, settings: GatewaySettings, metrics: CollectorRegistry, drain: asyncio.Event
) -> AsyncIterator[Events]:
    """Events, delivered as long as the block.

    Args:
        caller: calls handlers.
        drain: set when the process was asked to end: nothing more is delivered from then on.
    """
    counted = EventMetrics(metrics)
    async with open_delivering(store, caller, settings, counted, drain) as delivering:
        yield Events(Publishing(store, counted, delivering.wake), Deliveries(store, delivering.wake))

"""Closes what nobody will close: rows whose gateway died become `lost`, within a minute of their start.

Every gateway reaps; rows another one is closing are skipped.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.audit.metrics import ExecutionMetrics
from gateway.store.platform import executions
from shared.errors import AccessPolicyUnavailable
from shared.limits import AUDIT_BATCH_MAX_ROWS, EXECUTION_LOST_GRACE_S, EXECUTION_REAP_S

if TYPE_CHECKING:
    from gateway.store.pool import Database

_log = structlog.get_logger(__name__)


async def reap_once(store: Database) -> int:
    """Close every row whose deadline is long past as `lost`; how many."""
    total = 0
    while True:
        async with store.platform() as tx:
            count = await executions.reap(tx, EXECUTION_LOST_GRACE_S, AUDIT_BATCH_MAX_ROWS)
        total += count
        if count < AUDIT_BATCH_MAX_ROWS:
            return total


async def reap_for_ever(store: Database, metrics: ExecutionMetrics) -> None:
    """Reap every few seconds; a database that is away is asked again the next time."""
    while True:
        try:
            lost = await reap_once(store)
        except AccessPolicyUnavailable as error:
            _log.warning("reaper_waits_for_the_database", error=error.detail)
        else:
            metrics.lost.inc(lost)
            if lost:
                _log.warning("executions_lost", count=lost)
        await asyncio.sleep(EXECUTION_REAP_S)

"""What a gateway does by the clock: read the trust bundle again, make the log's next month, collect what is over.

Every replica does all of it; each piece is idempotent. A piece that fails is logged and tried again at its next turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from gateway.audit.denials import denied_targets_sweep
from gateway.events.sweep import events_sweep
from gateway.installs.purge import purge_expired
from gateway.objects.client import ObjectStore
from gateway.registry import uploads
from gateway.registry.abuse import AbuseMetrics, abuse_watch, spend_watch
from gateway.registry.garbage import garbage_sweep
from gateway.store.platform import console_sessions, partitions, storage
from gateway.store.pool import Database
from shared.errors import PlatformError
from shared.limits import (
    DENIED_TARGETS_SWEEP_S,
    EVENT_SWEEP_S,
    INSTALL_PURGE_S,
    STORAGE_SWEEP_MAX_COUNT,
    STORAGE_SWEEP_S,
    TRUST_POLL_S,
)
from shared.registry_limits import ABUSE_SPEND_WATCH_S, ABUSE_WATCH_S, GARBAGE_SWEEP_S
from shared.trust import TrustStore

_PARTITIONS_S: Final = 21_600  # four times a day: two months are always there
_UPLOADS_S: Final = 3_600
_SIGN_INS_S: Final = 3_600

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_upkeep(
    store: Database, objects: ObjectStore, trust: TrustStore, metrics: CollectorRegistry, *, limited: bool
) -> AsyncIterator[None]:
    """The clockwork, running as long as the block.

    Args:
        metrics: the registry `/metrics` renders.
        limited: whether publishers have quotas; without them nobody is suspended for what a developer tries.
    """
    abuse_metrics = AbuseMetrics(metrics)

    async def read_trust() -> None:
        trust.reload()

    async def make_partitions() -> None:
        async with store.platform() as tx:
            made = await partitions.ensure(tx)
        if made:
            _log.info("log_partitions_made", count=made)

    async def collect_uploads() -> None:
        collected = await uploads.collect_expired(store, objects)
        if collected:
            _log.info("uploads_collected", count=collected)

    async def collect_sign_ins() -> None:
        async with store.platform() as tx:
            collected = await console_sessions.remove_ended(tx)
        if collected:
            _log.info("sign_ins_collected", count=collected)

    async def sweep_storage() -> None:
        swept, batch = 0, STORAGE_SWEEP_MAX_COUNT
        while batch == STORAGE_SWEEP_MAX_COUNT:
            async with store.platform() as tx:
                batch = await storage.remove_expired(tx, STORAGE_SWEEP_MAX_COUNT)
            swept += batch
        if swept:
            _log.info("storage_swept", count=swept)

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_every(seconds, work.__name__, work), name=work.__name__)
            for seconds, work in (
                (TRUST_POLL_S, read_trust),
                (_PARTITIONS_S, make_partitions),
                (_UPLOADS_S, collect_uploads),
                (_SIGN_INS_S, collect_sign_ins),
                (STORAGE_SWEEP_S, sweep_storage),
                (DENIED_TARGETS_SWEEP_S, denied_targets_sweep(store)),
                (EVENT_SWEEP_S, events_sweep(store)),
                (GARBAGE_SWEEP_S, garbage_sweep(store, objects)),
                (ABUSE_WATCH_S, abuse_watch(store, abuse_metrics, limited=limited)),
                (ABUSE_SPEND_WATCH_S, spend_watch(store, abuse_metrics)),
                (INSTALL_PURGE_S, purge_expired(store)),
            )
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _every(seconds: float, name: str, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except PlatformError as error:
            _log.warning("upkeep_failed", work=name, code=error.code)
        await asyncio.sleep(seconds)

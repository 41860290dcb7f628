"""Denied targets, counted for each install off the request path: noted when an answer comes, written a moment later.

A runner says with each answer what the guest was denied. It is believed about the call it was given and nothing else, and
only in the forms the egress policy has: a target is an origin, a reason one of the policy's. What waits is added up in
bounded memory while the database is away; what does not fit is counted and forgotten, since it will be asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter

from gateway.store import denied_targets
from gateway.store.denied_targets import Denied
from gateway.store.platform import denied_targets as platform_denied_targets
from gateway.store.pool import Database
from shared.egress import Reason
from shared.egress_url import UrlError, parse_url
from shared.errors import AccessPolicyUnavailable
from shared.limits import (
    AUDIT_CLOSE_MAX_MS,
    DENIED_TARGETS_KEPT_MAX_COUNT,
    DENIED_TARGETS_WAITING_MAX_COUNT,
    EGRESS_DENIED_TARGETS_MAX_COUNT,
    EGRESS_FETCHES_MAX_COUNT,
    EGRESS_REDIRECTS_MAX_COUNT,
)
from shared.wire import DeniedTarget

_GATHER_S: Final = AUDIT_CLOSE_MAX_MS / 1000 / 2  # what comes meanwhile is one row
_DRAIN_MAX_S: Final = 2.0  # at shutdown
_TIMES_MAX: Final = EGRESS_FETCHES_MAX_COUNT * (EGRESS_REDIRECTS_MAX_COUNT + 1)  # what one execution can be denied
_REASONS: Final = frozenset(reason.value for reason in Reason)

_log = structlog.get_logger(__name__)

_Whose = tuple[str, str]
"""Tenant and install."""


class Denials:
    """What waits to be written. Built by `open_denials`.

    Args:
        store: where it goes.
        dropped: counts what was given up.
    """

    def __init__(self, store: Database, dropped: Counter) -> None:
        self._store, self._dropped = store, dropped
        self._waiting: dict[_Whose, dict[tuple[str, str], Denied]] = {}
        self._count = 0
        self._something = asyncio.Event()
        self._writing = asyncio.Lock()

    def note(self, tenant_id: str, install_id: str, reported: Iterable[DeniedTarget]) -> None:
        """Take what a runner reported about one call of this install. Returns at once and never raises."""
        for at, one in enumerate(reported):
            if at >= EGRESS_DENIED_TARGETS_MAX_COUNT:
                return
            if _is_sound(one):
                self._add((tenant_id, install_id), _counted(one))

    def forget(self, tenant_id: str, install_id: str) -> None:
        """Nothing of this install's waits any more."""
        self._count -= len(self._waiting.pop((tenant_id, install_id), {}))

    async def flush(self) -> None:
        """Write what waits. Raises `AccessPolicyUnavailable` and keeps what could not be written."""
        async with self._writing:
            for whose in list(self._waiting):
                rows = list(self._waiting.pop(whose, {}).values())
                self._count -= len(rows)
                try:
                    await self._write(whose, rows)
                except (AccessPolicyUnavailable, asyncio.CancelledError):
                    for row in rows:
                        self._add(whose, row)
                    raise

    async def write_for_ever(self) -> None:
        """Write, a moment after the first of each batch; try again while the database is away."""
        while True:
            await self._something.wait()
            await asyncio.sleep(_GATHER_S)
            self._something.clear()
            try:
                await self.flush()
            except AccessPolicyUnavailable as error:
                _log.warning("denied_targets_wait_for_the_database", count=self._count, error=error.detail)
            except Exception:  # noqa: BLE001 - whatever it was, the loop must go on; it is logged with its trace
                _log.exception("denied_targets_not_written")

    async def _write(self, whose: _Whose, rows: list[Denied]) -> None:
        if not rows:
            return
        tenant_id, install_id = whose
        try:
            async with self._store.tenant(tenant_id) as tx:
                await denied_targets.add(tx, tenant_id, install_id, rows, kept=DENIED_TARGETS_KEPT_MAX_COUNT)
        except denied_targets.Refused as error:
            self._dropped.inc(len(rows))
            _log.warning("denied_targets_refused", tenant_id=tenant_id, install_id=install_id, error=str(error))

    def _add(self, whose: _Whose, row: Denied) -> None:
        rows = self._waiting.setdefault(whose, {})
        key = row.target, row.reason
        before = rows.get(key)
        if before is None:
            if len(rows) >= DENIED_TARGETS_KEPT_MAX_COUNT or self._count >= DENIED_TARGETS_WAITING_MAX_COUNT:
                self._dropped.inc()
                if not rows:
                    del self._waiting[whose]
                return
            self._count += 1
            rows[key] = row
        else:
            rows[key] = Denied(
                target=row.target,
                reason=row.reason,
                grantable=row.grantable,
                observed=row.observed,
                times=before.times + row.times,
            )
        self._something.set()


@asynccontextmanager
async def open_denials(store: Database, metrics: CollectorRegistry) -> AsyncIterator[Denials]:
    """The counts of one process; what waits at the end of the block is written, within seconds."""
    dropped = Counter(
        "ext_egress_denied_uncounted_total",
        "Denied targets that were not kept for an administrator, as there were too many",
        registry=metrics,
    )
    denials = Denials(store, dropped)
    writing = asyncio.create_task(denials.write_for_ever(), name="denied targets")
    try:
        yield denials
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        try:
            async with asyncio.timeout(_DRAIN_MAX_S):
                await denials.flush()
        except (AccessPolicyUnavailable, TimeoutError) as error:
            _log.warning("denied_targets_lost_at_shutdown", error=str(error))


def denied_targets_sweep(store: Database) -> Callable[[], Awaitable[None]]:
    """Removes, whenever it is called, what was not denied again for `DENIED_TARGETS_KEPT_DAYS`."""

    async def sweep_denied_targets() -> None:
        async with store.platform() as tx:
            swept = await platform_denied_targets.remove_old(tx)
        if swept:
            _log.info("denied_targets_swept", count=swept)

    return sweep_denied_targets


def _is_sound(one: DeniedTarget) -> bool:
    if one.reason not in _REASONS or one.times < 1:
        return False
    try:
        return parse_url(one.target).origin == one.target
    except UrlError:
        return False


def _counted(one: DeniedTarget) -> Denied:
    return Denied(
        target=one.target,
        reason=one.reason,
        grantable=one.grantable,
        observed=one.observed,
        times=min(one.times, _TIMES_MAX),
    )

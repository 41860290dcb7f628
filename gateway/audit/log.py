"""The execution log: a call is dispatched only once a commit holds its row, and closed behind its answer.

Opening uses natural group commit: one batch commits at a time and whoever comes meanwhile joins the next, so a lone
call waits for nothing but its own commit and a thousand share a few. Closings gather for a moment and are written
together. One bad row cannot deny its neighbours: a batch the database refuses is tried again row by row.

When the log cannot be reached, `required` refuses calls (503) and `best-effort` lets them run and writes the whole
row later. Closings wait for a database that is away, in bounded memory; what is given up, or was open when its
gateway died, is closed as `lost` by whichever gateway reaps first.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import CollectorRegistry

from gateway.audit.metrics import ExecutionMetrics
from gateway.audit.reaper import reap_for_ever
from gateway.store.platform import executions
from gateway.store.platform.executions import Closing, Opening
from shared.errors import AccessPolicyUnavailable
from shared.limits import (
    AUDIT_BATCH_MAX_ROWS,
    AUDIT_CLOSE_MAX_MS,
    AUDIT_CLOSE_QUEUE_MAX_ROWS,
    AUDIT_OPEN_MAX_MS,
)

if TYPE_CHECKING:
    from gateway.settings import GatewaySettings
    from gateway.store.pool import Database, Tx

_GATHER_S: Final = AUDIT_CLOSE_MAX_MS / 1000 / 4  # closings wait this long for company; a commit takes the rest
_DRAIN_MAX_S: Final = 5.0  # at shutdown; what is left becomes `lost`

_log = structlog.get_logger(__name__)


class Execution:
    """One call's place in the log: given by `open`, ended by `close`, once."""

    __slots__ = ("_began_s", "_state", "committed", "opening", "started_at")

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self.started_at: datetime | None = None
        self.committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._began_s = time.monotonic()
        self._state = "open"

    @property
    def duration_ms(self) -> float:
        """Milliseconds since the row was asked for."""
        return (time.monotonic() - self._began_s) * 1000

    def end(self) -> bool:
        """Whether this is the first end of the call."""
        first = self._state == "open"
        self._state = "ended"
        return first


class ExecutionLog:
    """Writes the log of one process. Built by `open_execution_log`.

    Args:
        store: PostgreSQL.
        required: whether a call without an opened row must not run.
        metrics: what is counted.
    """

    def __init__(self, store: Database, *, required: bool, metrics: ExecutionMetrics) -> None:
        self._store = store
        self._required = required
        self._metrics = metrics
        self._waiting: deque[Execution] = deque()
        self._ended: deque[tuple[Execution, Closing]] = deque()
        self._somebody_waits = asyncio.Event()
        self._something_ended = asyncio.Event()
        self._closing = asyncio.Lock()

    async def open(self, opening: Opening) -> Execution:
        """Wait until a commit holds the row of a call.

        A caller that is cancelled meanwhile leaves no open row behind: it is closed as `cancelled`.

        Raises:
            AccessPolicyUnavailable: the row cannot be written, and the log is required.
        """
        execution = Execution(opening)
        self._waiting.append(execution)
        self._somebody_waits.set()
        try:
            async with asyncio.timeout(AUDIT_OPEN_MAX_MS / 1000):
                await asyncio.shield(execution.committed)
        except asyncio.CancelledError:
            self._give_up(execution, "cancelled")
            raise
        except (AccessPolicyUnavailable, TimeoutError) as error:
            if self._required:
                self._give_up(execution, "upstream_error")
                raise AccessPolicyUnavailable("the execution log cannot be written", retry_after_s=1) from error
            self._withdraw(execution)
            self._metrics.unopened.inc()
            _log.warning("execution_not_recorded", request_id=opening.request_id, error=str(error))
        return execution

    def close(self, execution: Execution, closing: Closing) -> None:
        """Note how a call ended. Returns at once; only the first end of a call counts."""
        if not execution.end():
            return
        self._metrics.closed(execution.opening, closing)
        if execution.committed.done():
            self._enqueue(execution, closing)
        else:  # best-effort went on without the row; only when its fate is known is it clear how to close it
            execution.committed.add_done_callback(lambda _: self._enqueue(execution, closing))

    async def flush(self) -> None:
        """Write what has ended so far. Raises `AccessPolicyUnavailable` and keeps what could not be written."""
        async with self._closing:
            while self._ended:
                batch = list(islice(self._ended, AUDIT_BATCH_MAX_ROWS))
                await self._write_closings(batch)
                for _ in batch:
                    self._ended.popleft()

    async def open_for_ever(self) -> None:
        """Commit opening rows, batch after batch."""
        while True:
            await self._somebody_waits.wait()
            self._somebody_waits.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), AUDIT_BATCH_MAX_ROWS))]
                await self._commit_openings(batch)

    async def close_for_ever(self) -> None:
        """Write closings, a moment after the first of each batch; try again while the database is away."""
        while True:
            await self._something_ended.wait()
            await asyncio.sleep(_GATHER_S)
            self._something_ended.clear()
            try:
                await self.flush()
            except AccessPolicyUnavailable as error:
                _log.warning("closings_wait_for_the_database", count=len(self._ended), error=error.detail)
                self._something_ended.set()

    async def _commit_openings(self, batch: list[Execution]) -> None:
        """Commit the rows of `batch` and wake who waits for them; one by one when the database refuses the batch."""
        try:
            started_at = await executions.open_rows(self._store, [execution.opening for execution in batch])
        except AccessPolicyUnavailable as error:
            for execution in batch:
                _fail(execution, error)
        except executions.Refused as error:
            if len(batch) > 1:
                for execution in batch:
                    await self._commit_openings([execution])
            else:
                _log.error("execution_row_refused", request_id=batch[0].opening.request_id, error=str(error))
                _fail(batch[0], AccessPolicyUnavailable("the database refused the execution's row"))
        else:
            for execution in batch:
                execution.started_at = started_at
                if not execution.committed.done():
                    execution.committed.set_result(None)

    async def _write_closings(self, batch: list[tuple[Execution, Closing]]) -> None:
        try:
            async with self._store.platform() as tx:
                await _close_or_record(tx, batch)
        except executions.Refused as error:
            if len(batch) > 1:
                for one in batch:
                    await self._write_closings([one])
            else:
                self._metrics.dropped.inc()
                _log.error("closing_refused", request_id=batch[0][0].opening.request_id, error=str(error))

    def _enqueue(self, execution: Execution, closing: Closing) -> None:
        if len(self._ended) >= AUDIT_CLOSE_QUEUE_MAX_ROWS:
            self._metrics.dropped.inc()
            return
        self._ended.append((execution, closing))
        self._something_ended.set()

    def _withdraw(self, execution: Execution) -> bool:
        """Take a row back that no batch has taken yet."""
        if execution not in self._waiting:
            return False
        self._waiting.remove(execution)
        execution.committed.cancel()
        return True

    def _give_up(self, execution: Execution, state: str) -> None:
        """The caller of an opening row does not wait any more: whatever becomes of the row, nothing was dispatched."""
        execution.end()
        if self._withdraw(execution):
            return
        closing = Closing(state=state, http_status=503, duration_ms=execution.duration_ms, blame="host")
        execution.committed.add_done_callback(
            lambda committed: (
                None if committed.cancelled() or committed.exception() else self._enqueue(execution, closing)
            )
        )


@asynccontextmanager
async def open_execution_log(
    store: Database, settings: GatewaySettings, metrics: CollectorRegistry
) -> AsyncIterator[ExecutionLog]:
    """The log of one process with its three loops; drained at the end of the block, within seconds."""
    counters = ExecutionMetrics(metrics)
    log = ExecutionLog(store, required=settings.audit_mode == "required", metrics=counters)
    loops: tuple[tuple[str, Callable[[], Awaitable[None]]], ...] = (
        ("open executions", log.open_for_ever),
        ("close executions", log.close_for_ever),
        ("reap executions", lambda: reap_for_ever(store, counters)),
    )
    tasks = [asyncio.create_task(_surviving(name, loop), name=name) for name, loop in loops]
    try:
        yield log
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _drain(log)


async def _surviving(name: str, loop: Callable[[], Awaitable[None]]) -> None:
    """Run a loop again after a fault nobody foresaw: without it every call would wait for its row in vain."""
    while True:
        try:
            await loop()
        except Exception:  # noqa: BLE001 - whatever it was, the loop must go on; it is logged with its trace
            _log.exception("audit_loop_failed", loop=name)
            await asyncio.sleep(1)


async def _drain(log: ExecutionLog) -> None:
    try:
        async with asyncio.timeout(_DRAIN_MAX_S):
            await log.flush()
    except (AccessPolicyUnavailable, TimeoutError) as error:
        _log.error("closings_lost_at_shutdown", error=str(error))


def _fail(execution: Execution, error: AccessPolicyUnavailable) -> None:
    if not execution.committed.done():
        execution.committed.set_exception(error)
        execution.committed.exception()  # marks it as seen: the caller may have gone


async def _close_or_record(tx: Tx, batch: list[tuple[Execution, Closing]]) -> None:
    opened = [
        (execution.opening.id, execution.started_at, closing)
        for execution, closing in batch
        if execution.started_at is not None
    ]
    if opened:
        await executions.close_rows(tx, opened)
    unopened = [(execution.opening, closing) for execution, closing in batch if execution.started_at is None]
    if unopened:
        await executions.record_rows(tx, unopened)


def new_id() -> str:
    """A fresh row id."""
    return str(uuid.uuid4())

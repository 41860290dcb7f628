"""Makes the calls of schedules whose time has come. Every gateway runs this; each fire time is claimed once among them.

One turn: fire times that came become runs, runs are taken with a lease (`gateway.schedules.timetable`), each is called by
a task of its own, and how it ended is written. No transaction is open while a guest runs.

    at most once     made again only when no guest code ran: no runner had room, or none was reached
    at least once    made again as well when the guest failed (no answer, 5xx, 408, 425, 429), or its gateway died;
                     each attempt carries the idempotency key `sched:{schedule}:{fire time}`

Either way at most `SCHEDULE_ATTEMPTS_MAX` calls, with growing pauses. A fire time that nobody claimed for
`SCHEDULE_LATE_MAX_S` was missed: after an outage a schedule runs once, for the last of them, or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from typing import Final, Protocol

import prometheus_client
import structlog
from prometheus_client import CollectorRegistry

from gateway.proxy.unattended import Due, Outcome
from gateway.schedules.timetable import Timetable
from gateway.store.platform.schedules import Claim, End
from shared.errors import BY_CODE, AccessPolicyUnavailable
from shared.limits import (
    GATEWAY_GRACE_MS,
    SCHEDULE_ATTEMPTS_MAX,
    SCHEDULE_ERROR_MAX_CHARS,
    SCHEDULE_LEASE_S,
    SCHEDULE_POLL_S,
    SCHEDULE_RETRY_S,
    SCHEDULE_RUNS_MAX,
    TIMEOUT_MAX_MS,
)

_SOONEST_S: Final = 0.25  # between two questions to the database while something waits for room
_DRAIN_MAX_S: Final = (TIMEOUT_MAX_MS + GATEWAY_GRACE_MS) / 1000 + 1  # the longest call, and writing how it ended
_FOR_NOW: Final = frozenset({408, 425, 429})  # RFC 9110 §15.5.9, RFC 8470, RFC 6585: the same call may succeed later

_log = structlog.get_logger(__name__)


class Calls(Protocol):
    """Makes a call that nobody asked for."""

    async def call(self, due: Due) -> Outcome:
        """Make it and wait for its end. Raises nothing but what cancels it."""
        ...


class Firing:
    """The clockwork of one gateway.

    Args:
        timetable: what is due.
        calls: makes them.
        attempts: counts those that ended, by how.
    """

    def __init__(self, timetable: Timetable, calls: Calls, attempts: prometheus_client.Counter) -> None:
        self._timetable = timetable
        self._calls = calls
        self._attempts = attempts
        self._under_way: dict[asyncio.Task[None], Claim] = {}
        self._look = asyncio.Event()
        self._stopped = False

    def look(self) -> None:
        """Have the next turn come now: something became due, or there is room again."""
        self._look.set()

    def stop(self) -> None:
        """Take nothing new from now on; what is under way goes on."""
        self._stopped = True
        self._look.set()

    async def turn(self) -> float:
        """Begin what is due, as far as there is room; for how many seconds nothing else will be.

        Raises:
            AccessPolicyUnavailable: the database does not answer.
        """
        tenants = Counter(claim.tenant_id for claim in self._under_way.values())
        turn = await self._timetable.turn(tenants, SCHEDULE_RUNS_MAX - len(self._under_way))
        for claim in turn.claims:
            task = asyncio.create_task(self._make(claim), name="schedule run")
            self._under_way[task] = claim
            task.add_done_callback(self._made)
        return min(max(_SOONEST_S, turn.free_s), SCHEDULE_POLL_S)

    async def turn_until_stopped(self) -> None:
        """Turn after turn. A database that is away is asked again a moment later."""
        while not self._stopped:
            self._look.clear()
            free_s: float = SCHEDULE_POLL_S
            try:
                free_s = await self.turn()
            except AccessPolicyUnavailable as error:
                _log.warning("schedules_wait_for_the_database", error=error.detail)
            except Exception:  # noqa: BLE001 - whatever it was, the clockwork must go on; it is logged with its trace
                _log.exception("schedules_failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(free_s):
                    await self._look.wait()

    async def drain(self, within_s: float = _DRAIN_MAX_S) -> None:
        """Wait for what is under way; what does not end in time is cancelled, and its lease will end."""
        if self._under_way:
            await asyncio.wait(list(self._under_way), timeout=within_s)
        left = list(self._under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _made(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._look.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("schedule_run_failed", error=repr(error))

    async def _make(self, claim: Claim) -> None:
        end = ended(claim, await self._calls.call(due(claim)))
        self._attempts.labels(end.state).inc()
        await self._timetable.finish(claim, end, within_s=SCHEDULE_LEASE_S / 4)


@asynccontextmanager
async def open_firing(
    timetable: Timetable, calls: Calls, metrics: CollectorRegistry, drain: asyncio.Event
) -> AsyncIterator[Firing]:
    """The clockwork, running as long as the block. It takes nothing new once `drain` is set, and drains in the end."""
    attempts = prometheus_client.Counter(
        "ext_schedule_attempts_total", "Calls made for schedules, by how they ended.", ["state"], registry=metrics
    )
    firing = Firing(timetable, calls, attempts)
    watch = asyncio.create_task(_stop_with(drain, firing), name="schedules end")
    loop = asyncio.create_task(firing.turn_until_stopped(), name="schedules")
    try:
        yield firing
    finally:
        watch.cancel()
        firing.stop()
        try:
            await loop  # not cancelled: what it has just taken would be lost to its lease
        finally:
            loop.cancel()
            await asyncio.gather(loop, watch, return_exceptions=True)
            await firing.drain()


async def _stop_with(drain: asyncio.Event, firing: Firing) -> None:
    await drain.wait()
    firing.stop()


# ---- a claim and its call -----------------------------------------------------------------------------------


def idempotency_key(claim: Claim) -> str:
    """`sched:{schedule}:{fire time}`, the time in UTC as RFC 3339 has it: the same for every attempt of a run."""
    fire_at = claim.fire_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return f"sched:{claim.schedule_id}:{fire_at}"


def due(claim: Claim) -> Due:
    """The call of a claim."""
    content = ((b"content-type", b"application/json"),) if claim.payload is not None else ()
    return Due(
        tenant_id=claim.tenant_id,
        install_id=claim.install_id,
        kind="schedule",
        subject=claim.schedule_id,
        method=claim.endpoint_method,
        path=claim.endpoint_path,
        headers=((b"accept", b"application/json"), *content),
        body=None if claim.payload is None else claim.payload.encode(),
        idempotency_key=idempotency_key(claim),
    )


def ended(claim: Claim, outcome: Outcome) -> End:
    """What an attempt's outcome means for its run."""
    error = _storable(outcome.detail)[:SCHEDULE_ERROR_MAX_CHARS] or None
    if outcome.status is not None and not outcome.ok:
        error = f"the handler answered {outcome.status}"
    again = _passing(outcome) and (claim.delivery == "at_least_once" or not outcome.started)
    again = again and claim.attempt < SCHEDULE_ATTEMPTS_MAX
    return End(
        state="ok" if outcome.ok else "waiting" if again else "failed",
        again_s=SCHEDULE_RETRY_S * 4 ** (claim.attempt - 1) if again else None,
        http_status=outcome.status,
        code=outcome.code,
        error=error,
        execution_id=outcome.execution_id,
    )


def _storable(text: str) -> str:
    """What a text column can hold: a guest may have had a say in these words."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _passing(outcome: Outcome) -> bool:
    """Whether the same call may succeed later."""
    status = outcome.status
    if status is None:
        kind = BY_CODE.get(outcome.code or "")
        status = 500 if kind is None else kind.status
    return status >= 500 or status in _FOR_NOW

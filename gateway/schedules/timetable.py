"""What is due and who makes it: the questions a firing gateway asks the database, each a short transaction.

The time is the database's, so that gateways whose clocks differ agree; tests give another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog

from gateway.schedules import cron
from gateway.schedules.cron import CronError
from gateway.store import schedules as tenant_side
from gateway.store.platform import schedules
from gateway.store.platform.schedules import Claim, End, Timed
from gateway.store.pool import Database, Tx
from shared.errors import AccessPolicyUnavailable
from shared.limits import SCHEDULE_LATE_MAX_S, SCHEDULE_POLL_S

Clock = Callable[[Tx], Awaitable[datetime]]

_LATE: Final = timedelta(seconds=SCHEDULE_LATE_MAX_S)
_LOOK_AGAIN: Final = timedelta(hours=1)  # at a schedule without a further fire time: a release may know its time zone
_BATCH_COUNT: Final = 100  # schedules moved on in one transaction: some tens of milliseconds
_WRITE_AGAIN_S: Final = 1.0

_OUTAGE: Final = "no gateway was there at its time"
_BACKLOG: Final = "an earlier fire time of the schedule still waited"

_log = structlog.get_logger(__name__)


class Turn(msgspec.Struct, frozen=True):
    """What one turn found: runs to make now, and for how many seconds nothing else is due."""

    claims: list[Claim]
    free_s: float


class Timetable:
    """Every tenant's schedules, for one gateway.

    Args:
        store: where they are.
        clock: asked within each transaction.
    """

    def __init__(self, store: Database, clock: Clock = tenant_side.now) -> None:
        self._store = store
        self._clock = clock

    async def turn(self, under_way: Mapping[str, int], room: int) -> Turn:
        """Turn fire times that came into runs, and take runs that wait.

        Args:
            under_way: how many calls of each tenant this gateway makes already.
            room: how many runs it may take.

        Raises:
            AccessPolicyUnavailable: the database does not answer; nothing was taken, or what was taken is lost to its
                lease.
        """
        async with self._store.platform() as tx:
            at = await self._clock(tx)
            await schedules.give_up(tx, at, _BATCH_COUNT)
            due = await schedules.due(tx, at, _BATCH_COUNT)
            for schedule in due:
                await _advance(tx, schedule, at)
            claims = await schedules.take(tx, at, under_way=under_way, limit=room) if room > 0 else []
            following = await schedules.next_at(tx)
        free_s = SCHEDULE_POLL_S if following is None else (following - at).total_seconds()
        return Turn(claims, 0.0 if len(due) == _BATCH_COUNT else free_s)

    async def finish(self, claim: Claim, end: End, *, within_s: float) -> None:
        """Write how an attempt ended, again and again while the database is away.

        Args:
            within_s: how long to try; then the lease says what becomes of the run.
        """
        try:
            async with asyncio.timeout(within_s):
                while not await self._finished(claim, end):  # noqa: ASYNC110 - a database that is back tells nobody
                    await asyncio.sleep(_WRITE_AGAIN_S)
        except TimeoutError:
            _log.error("schedule_run_not_recorded", schedule=claim.schedule_id, fire_at=claim.fire_at.isoformat())

    async def _finished(self, claim: Claim, end: End) -> bool:
        try:
            async with self._store.platform() as tx:
                if not await schedules.finish(tx, claim, end, await self._clock(tx)):
                    _log.warning("schedule_run_taken_over", schedule=claim.schedule_id, attempt=claim.attempt)
        except AccessPolicyUnavailable:
            return False
        return True


async def _advance(tx: Tx, schedule: Timed, at: datetime) -> None:
    """Make a run of the fire time that came, or none of one that was missed, and find the next one."""
    try:
        line = cron.of(schedule.cron, schedule.timezone)
        if schedule.next_fire_at is None:
            following = line.next_after(at, last=schedule.last_fire_at)
            await schedules.step(tx, schedule.id, fired=None, following=following)
            return
        fire_at, late = schedule.next_fire_at, at - schedule.next_fire_at > _LATE
        if late:
            fire_at = line.latest(fire_at, at)
        following = line.next_after(at, last=fire_at)
    except (CronError, ArithmeticError) as error:  # one line that means nothing any more must not stop the others
        await schedules.stuck(tx, schedule.id, until=at + _LOOK_AGAIN, error=str(error))
        return
    if late and schedule.missed == "skip":
        await schedules.pass_over(tx, schedule, fire_at, at, _OUTAGE)
    elif not await schedules.enter(tx, schedule, fire_at, at):
        await schedules.pass_over(tx, schedule, fire_at, at, _BACKLOG)
    await schedules.step(tx, schedule.id, fired=fire_at, following=following)

"""Schedules of installs: read, made, changed, removed, run now. By the tenant's staff over REST, and by running guests.

Each change is one transaction that holds the install's row, so that the number of schedules is exact; the audit row is
written in it. A guest's right is looked up there as well: a grant that was withdrawn, or an install that changed since
the guest's call began, ends it. What is refused changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec

from gateway.identity.actor import Actor
from gateway.installs.views import manifest_of
from gateway.schedules import cron, terms
from gateway.schedules.pace import Pace
from gateway.schedules.terms import Draft
from gateway.storage.slots import Slots
from gateway.store import audit_log, installs, schedules
from gateway.store.audit_log import Change
from gateway.store.installs import Install
from gateway.store.pool import Database, Tx
from gateway.store.schedules import Run, Schedule, Terms
from shared import ids
from shared.errors import Conflict, Forbidden, NotFound, NotInstalled, QuotaExceeded, RateLimited
from shared.limits import SCHEDULE_TENANT_CALLS_MAX, SCHEDULES_MAX_COUNT
from shared.scheduler import CAPABILITY, EndpointItem
from shared.tokens import HostClaims


class By(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks about the schedules of which install.

    Attributes:
        name, kind: as audit rows name the caller.
        generation: the install's when a guest's call began; none for a caller who is not a running guest.
    """

    tenant_id: str
    install_id: str
    name: str
    kind: str
    request_id: str
    generation: int | None = None


def staff(actor: Actor, install_id: str) -> By:
    """Somebody with a credential, whose permission was checked."""
    return By(
        tenant_id=actor.tenant_id,
        install_id=install_id,
        name=actor.name,
        kind=actor.principal.kind,
        request_id=actor.request_id,
    )


def guest(claims: HostClaims) -> By:
    """The running guest of a verified host token."""
    return By(
        tenant_id=claims.tenant,
        install_id=claims.install,
        name=f"extension:{claims.extension}",
        kind="extension",
        request_id=claims.request_id,
        generation=claims.generation,
    )


class Schedules:
    """Every install's schedules, one install at a time.

    Each method raises `NotInstalled` when the tenant has no such install, `Forbidden` when a guest has no right to its
    schedules (any more), and `RateLimited` when too many of the tenant's questions wait, or a guest changes too much.

    Args:
        store: where they are.
        look: tells the clockwork of this gateway that something is due now.
        clock: asked within each transaction.
    """

    def __init__(
        self,
        store: Database,
        look: Callable[[], None],
        clock: Callable[[Tx], Awaitable[datetime]] = schedules.now,
    ) -> None:
        self._store = store
        self._look = look
        self._clock = clock
        self._slots = Slots(SCHEDULE_TENANT_CALLS_MAX, RateLimited)
        self._pace = Pace()

    async def listed(self, by: By) -> list[Schedule]:
        """All schedules of the install, the oldest first."""
        async with self._reading(by) as (tx, install):
            return await schedules.of_install(tx, install.id)

    async def get(self, by: By, schedule_id: str) -> Schedule:
        """One schedule. Raises `NotFound`."""
        async with self._reading(by) as (tx, install):
            return await _found(tx, install, schedule_id)

    async def endpoints(self, by: By) -> list[EndpointItem]:
        """The endpoints of the installed version, and which of them may be scheduled."""
        async with self._reading(by) as (_, install):
            return terms.endpoints(manifest_of(install.manifest))

    async def runs(self, by: By, schedule_id: str, *, before: datetime | None, limit: int) -> list[Run]:
        """What became of fire times, the newest first, those strictly before `before`. Raises `NotFound`."""
        async with self._reading(by) as (tx, install):
            schedule = await _found(tx, install, schedule_id)
            return await schedules.runs(tx, schedule.id, before, limit)

    async def create(self, by: By, draft: Draft) -> Schedule:
        """Make a schedule.

        Raises:
            InvalidRequest: something about it is not valid; `field_errors` says what would be.
            QuotaExceeded: the install has as many as it may have.
        """
        async with self._changing(by) as (tx, install):
            wanted = terms.checked(manifest_of(install.manifest), draft)
            if await schedules.count(tx, install.id) >= SCHEDULES_MAX_COUNT:
                raise QuotaExceeded(f"an install may have at most {SCHEDULES_MAX_COUNT} schedules; remove one first")
            new_id = str(uuid.uuid4())
            await schedules.insert(
                tx,
                new_id=new_id,
                tenant_id=install.tenant_id,
                install_id=install.id,
                terms=wanted,
                next_fire_at=await self._next(tx, install, wanted),
                actor=by.name,
            )
            await audit_log.record(tx, _did(by, "schedule.created", new_id, wanted))
            return await _found(tx, install, new_id)

    async def update(self, by: By, schedule_id: str, change: Callable[[Draft], Draft]) -> Schedule:
        """Change a schedule to what `change` makes of it. One that only rests need not be valid for today's version.

        Raises:
            NotFound: there is no such schedule.
            InvalidRequest: as for `create`.
        """
        async with self._changing(by) as (tx, install):
            schedule = await _found(tx, install, schedule_id, lock=True)
            before = terms.draft_of(schedule)
            draft = change(before)
            if draft == before:
                return schedule
            if msgspec.structs.replace(before, enabled=False) == draft:
                wanted = _resting(schedule)
            else:
                wanted = terms.checked(manifest_of(install.manifest), draft)
            same = (wanted.cron, wanted.timezone, wanted.enabled) == (
                schedule.cron,
                schedule.timezone,
                schedule.enabled,
            )
            next_at = schedule.next_fire_at if same else await self._next(tx, install, wanted, schedule.last_fire_at)
            await schedules.update(tx, schedule.id, wanted, next_at)
            await audit_log.record(tx, _did(by, "schedule.changed", schedule.id, wanted))
            return await _found(tx, install, schedule.id)

    async def delete(self, by: By, schedule_id: str) -> None:
        """Remove a schedule and its history. Raises `NotFound`."""
        async with self._changing(by) as (tx, install):
            schedule = await _found(tx, install, schedule_id)
            await schedules.delete(tx, install.id, schedule.id)
            await audit_log.record(tx, _did(by, "schedule.removed", schedule.id, schedule))

    async def run(self, by: By, schedule_id: str) -> Run:
        """Have a schedule run now, whether it is switched on or not; the run that waits for it.

        Raises:
            NotFound: there is no such schedule.
            Conflict: the extension is disabled, or a run of the schedule is under way.
        """
        async with self._changing(by) as (tx, install):
            if install.status != "enabled":
                raise Conflict("the extension is disabled; enable it first")
            schedule = await _found(tx, install, schedule_id, lock=True)
            run = await schedules.request_run(tx, schedule)
            if run is None:
                raise Conflict("a run of this schedule is under way; its end is in the list of runs")
            await audit_log.record(tx, _did(by, "schedule.run", schedule.id, schedule))
        self._look()
        return run

    async def _next(self, tx: Tx, install: Install, wanted: Terms, last: datetime | None = None) -> datetime | None:
        """The next fire time; none while the schedule or its install rests."""
        if not wanted.enabled or install.status != "enabled":
            return None
        return cron.of(wanted.cron, wanted.timezone).next_after(await self._clock(tx), last=last)

    @asynccontextmanager
    async def _reading(self, by: By) -> AsyncIterator[tuple[Tx, Install]]:
        async with self._slots.turn(by.tenant_id), self._store.tenant(by.tenant_id) as tx:
            yield tx, _allowed(by, await installs.by_id(tx, by.install_id))

    @asynccontextmanager
    async def _changing(self, by: By) -> AsyncIterator[tuple[Tx, Install]]:
        if by.generation is not None:
            self._pace.take(by.install_id)
        async with self._slots.turn(by.tenant_id), self._store.tenant(by.tenant_id) as tx:
            yield tx, _allowed(by, await installs.by_id(tx, by.install_id, lock=True))


def _allowed(by: By, install: Install | None) -> Install:
    if by.generation is not None:
        if install is None or install.status != "enabled" or install.generation != by.generation:
            raise Forbidden("the install was changed, disabled or removed since this call began")
        if CAPABILITY not in install.granted_caps:
            raise Forbidden(f"{CAPABILITY} is not granted to this install", capability=CAPABILITY)
    if install is None or install.status == "uninstalled":
        raise NotInstalled("no such extension is installed for this tenant")
    return install


async def _found(tx: Tx, install: Install, schedule_id: str, *, lock: bool = False) -> Schedule:
    schedule = None
    if ids.is_uuid(schedule_id):
        schedule = await schedules.by_id(tx, install.id, schedule_id, lock=lock)
    if schedule is None:
        raise NotFound("this install has no such schedule")
    return schedule


def _resting(schedule: Schedule) -> Terms:
    fields = {name: getattr(schedule, name) for name in Terms.__struct_fields__}
    return Terms(**{**fields, "enabled": False})


def _did(by: By, action: str, schedule_id: str, about: Terms) -> Change:
    return Change(
        tenant_id=by.tenant_id,
        actor=by.name,
        actor_kind=by.kind,
        action=action,
        subject_kind="schedule",
        subject_id=schedule_id,
        request_id=by.request_id,
        detail={
            "install_id": by.install_id,
            "endpoint": terms.endpoint_id(about.endpoint_method, about.endpoint_path),
            "cron": about.cron,
            "timezone": about.timezone,
            "enabled": about.enabled,
        },
    )

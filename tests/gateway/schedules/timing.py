"""A database with schedules, a clock that stands where the test puts it, and guests that answer as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import prometheus_client
import psycopg
from psycopg.rows import dict_row

from gateway.proxy.unattended import Due, Outcome
from gateway.schedules.firing import Firing
from gateway.schedules.manage import By, Schedules
from gateway.schedules.terms import Draft
from gateway.schedules.timetable import Timetable
from gateway.store.pool import Database, Tx
from gateway.store.schedules import Schedule
from tests.gateway.seeds import Seed, seed
from tests.gateway.services import DatabaseUrls

NOON = datetime(2027, 1, 1, 12, 0, tzinfo=UTC)
OK = Outcome(status=200, started=True, execution_id="00000000-0000-4000-8000-000000000001")


class FixedClock:
    """Stands still until it is moved."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    async def __call__(self, tx: Tx) -> datetime:
        return self.now

    def forward(self, **more: float) -> None:
        self.now += timedelta(**more)


class Guests:
    """Answers calls with what the test left here, else with 200."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.asked: list[Due] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.inside = 0

    async def call(self, due: Due) -> Outcome:
        self.asked.append(due)
        self.inside += 1
        try:
            await self.gate.wait()
            return self.outcomes.pop(0) if self.outcomes else OK
        finally:
            self.inside -= 1


class World:
    """One database, some gateways."""

    def __init__(self, store: Database, database: DatabaseUrls) -> None:
        self.store, self.database = store, database
        self.clock, self.guests = FixedClock(), Guests()
        self.schedules = Schedules(store, lambda: None, self.clock)
        self.firing = self.gateway()

    def gateway(self, guests: Guests | None = None) -> Firing:
        """One more gateway over the same database."""
        counter = prometheus_client.Counter("t", "t", ["state"], registry=prometheus_client.CollectorRegistry())
        return Firing(Timetable(self.store, self.clock), guests or self.guests, counter)

    def install(self, tenant: str = "acme", **columns: Any) -> Seed:
        """A fresh install with one schedulable endpoint, `POST /notes`."""
        return seed(self.database, tenant, **columns)

    async def schedule(self, made: Seed, cron: str = "0 * * * *", **fields: Any) -> Schedule:
        """A schedule of an install."""
        return await self.schedules.create(by(made), Draft(endpoint="/notes", cron=cron, **fields))

    async def turn(self, firing: Firing | None = None) -> float:
        """One turn, and the end of all that it began."""
        firing = firing or self.firing
        free_s = await firing.turn()
        await firing.drain()
        return free_s

    async def get(self, schedule: Schedule) -> Schedule:
        """The schedule as it is now."""
        return await self.schedules.get(
            By(tenant_id=schedule.tenant_id, install_id=schedule.install_id, name="t", kind="t", request_id="r"),
            schedule.id,
        )

    def runs(self, schedule: Schedule) -> list[dict[str, Any]]:
        """Its runs, the oldest first."""
        return self.sql(
            "select * from tenant_extension_schedule_run where schedule_id = %s order by fire_at", schedule.id
        )

    def sql(self, statement: Any, *values: object) -> list[dict[str, Any]]:
        """A statement of the owner's, outside every rule."""
        with psycopg.connect(self.database.owner, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def states(self, schedule: Schedule) -> list[str]:
        """How its runs stand."""
        return [run["state"] for run in self.runs(schedule)]


def by(made: Seed, generation: int | None = None) -> By:
    """Somebody of the install's tenant, or its running guest."""
    return By(
        tenant_id=made.tenant_id,
        install_id=made.install_id,
        name="user:ada",
        kind="session",
        request_id="r-1",
        generation=generation,
    )


def fire_times(guests: Sequence[Due]) -> list[str]:
    """The idempotency keys' times."""
    return [str(due.idempotency_key).split(":", 2)[2] for due in guests]


def replaced(outcome: Outcome, **fields: Any) -> Outcome:
    return msgspec.structs.replace(outcome, **fields)

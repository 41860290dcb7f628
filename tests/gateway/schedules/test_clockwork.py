"""The clockwork of one gateway: how much it does at once, how often it looks, how it begins and ends."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

from prometheus_client import CollectorRegistry

from gateway.schedules.firing import open_firing
from gateway.schedules.timetable import Timetable
from shared.limits import (
    SCHEDULE_CRON_MAX_CHARS,
    SCHEDULE_NAME_MAX_CHARS,
    SCHEDULE_PAYLOAD_MAX_BYTES,
    SCHEDULE_POLL_S,
    SCHEDULE_RUNS_KEPT,
    SCHEDULE_RUNS_MAX,
    SCHEDULE_TENANT_RUNS_MAX,
)
from tests.gateway.schedules.timing import NOON, Guests, World
from tests.runner.waiting import until


async def test_a_tenant_has_its_share_and_others_do_not_wait_for_it(world: World) -> None:
    crowd = [await world.schedule(made) for made in [world.install("crowd")] for _ in range(SCHEDULE_RUNS_MAX)]
    single = await world.schedule(world.install("single"))
    world.clock.forward(hours=1)
    world.guests.gate.clear()
    await world.firing.turn()
    await until(lambda: world.guests.inside == SCHEDULE_TENANT_RUNS_MAX + 1)
    assert single.id in {due.subject for due in world.guests.asked}
    await world.firing.turn()
    assert world.guests.inside == SCHEDULE_TENANT_RUNS_MAX + 1
    world.guests.gate.set()
    for _ in range(6):
        await world.turn()
    assert all(world.states(schedule) == ["ok"] for schedule in crowd)


async def test_a_gateway_has_room_for_so_many(world: World) -> None:
    for number in range(SCHEDULE_RUNS_MAX + 3):
        await world.schedule(world.install(f"t{number}"))
    world.clock.forward(hours=1)
    world.guests.gate.clear()
    await world.firing.turn()
    await until(lambda: world.guests.inside == SCHEDULE_RUNS_MAX)
    other = Guests()
    await world.turn(world.gateway(other))
    assert (world.guests.inside, len(other.asked)) == (SCHEDULE_RUNS_MAX, 3)
    world.guests.gate.set()
    await world.firing.drain()


async def test_the_history_is_bounded(world: World) -> None:
    schedule = await world.schedule(world.install())
    world.sql(
        """insert into tenant_extension_schedule_run (schedule_id, fire_at, tenant_id, cause, state)
           select id, '2020-01-01'::timestamptz + n * interval '1 hour', tenant_id, 'time', 'ok'
             from tenant_extension_schedule, generate_series(1, %s) n""",
        SCHEDULE_RUNS_KEPT + 20,
    )
    world.clock.forward(hours=1)
    await world.turn()
    runs = world.runs(schedule)
    assert len(runs) == SCHEDULE_RUNS_KEPT
    assert runs[-1]["fire_at"] == NOON + timedelta(hours=1)


async def test_it_looks_again_when_something_is_due_and_at_least_every_few_seconds(world: World) -> None:
    assert await world.turn() == SCHEDULE_POLL_S
    await world.schedule(world.install())
    assert await world.turn() == SCHEDULE_POLL_S
    world.clock.forward(minutes=59, seconds=58)
    assert await world.turn() == 2


async def test_the_database_holds_rows_to_the_same_limits(world: World) -> None:
    found = world.sql(
        """select pg_get_constraintdef(oid) as text from pg_constraint
            where conrelid = 'tenant_extension_schedule'::regclass and contype = 'c'"""
    )
    numbers = {int(number) for row in found for number in re.findall(r"\b[0-9]+\b", row["text"])}
    assert {SCHEDULE_CRON_MAX_CHARS, SCHEDULE_NAME_MAX_CHARS, SCHEDULE_PAYLOAD_MAX_BYTES} <= numbers


# ---- by itself --------------------------------------------------------------------------------------------------


async def test_it_runs_by_itself_and_drains_in_the_end(world: World) -> None:
    schedule = await world.schedule(world.install())
    world.clock.forward(hours=1)
    world.guests.gate.clear()
    drain = asyncio.Event()
    async with open_firing(Timetable(world.store, world.clock), world.guests, CollectorRegistry(), drain) as firing:
        await until(lambda: world.guests.inside == 1)
        drain.set()
        await until(lambda: firing._stopped)
        world.guests.gate.set()
    assert world.states(schedule) == ["ok"]


async def test_nothing_new_is_taken_once_it_drains(world: World) -> None:
    schedule = await world.schedule(world.install())
    world.clock.forward(hours=1)
    drain = asyncio.Event()
    drain.set()
    async with open_firing(Timetable(world.store, world.clock), world.guests, CollectorRegistry(), drain) as firing:
        firing.look()
    assert (world.guests.asked, world.runs(schedule)) == ([], [])


async def test_a_fault_nobody_foresaw_does_not_end_the_clockwork(world: World) -> None:
    schedule = await world.schedule(world.install())
    world.sql("alter table tenant_extension_schedule_run rename to elsewhere")
    drain = asyncio.Event()
    async with open_firing(Timetable(world.store, world.clock), world.guests, CollectorRegistry(), drain) as firing:
        await asyncio.sleep(0)
        world.sql("alter table elsewhere rename to tenant_extension_schedule_run")
        world.clock.forward(hours=1)
        async with asyncio.timeout(10):
            while world.states(schedule) != ["ok"]:
                firing.look()
                await asyncio.sleep(0.02)

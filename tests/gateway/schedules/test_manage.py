"""Schedules are kept exactly: fifty of them, next fire times that keep their distance, every change in the audit log."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from gateway.schedules.manage import By
from gateway.schedules.terms import Draft
from shared.errors import Conflict, Forbidden, InvalidRequest, NotFound, NotInstalled, QuotaExceeded
from shared.limits import SCHEDULES_MAX_COUNT
from shared.scheduler import CAPABILITY
from tests.gateway.schedules.timing import NOON, World, by, fire_times

DRAFT = Draft(endpoint="/notes", cron="0 * * * *")


async def test_an_install_has_at_most_so_many_however_many_ask_at_once(world: World) -> None:
    made = world.install()
    for _ in range(SCHEDULES_MAX_COUNT - 3):
        await world.schedule(made)
    outcomes = await asyncio.gather(
        *(world.schedules.create(by(made), DRAFT) for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(one, QuotaExceeded) for one in outcomes) == 5
    assert len(await world.schedules.listed(by(made))) == SCHEDULES_MAX_COUNT
    kept = (await world.schedules.listed(by(made)))[0]
    await world.schedules.delete(by(made), kept.id)
    await world.schedule(made)
    await world.schedule(world.install())  # another install has its own


async def test_what_is_refused_changes_nothing(world: World) -> None:
    made = world.install()
    with pytest.raises(InvalidRequest):
        await world.schedules.create(by(made), msgspec.structs.replace(DRAFT, cron="* * * * *"))
    schedule = await world.schedule(made)
    with pytest.raises(InvalidRequest):
        await world.schedules.update(by(made), schedule.id, lambda one: msgspec.structs.replace(one, timezone="x"))
    assert await world.schedules.listed(by(made)) == [schedule]


async def test_a_change_of_the_line_or_zone_finds_the_next_fire_time_and_any_other_keeps_it(world: World) -> None:
    made = world.install()
    schedule = await world.schedule(made, "0 15 * * *")
    named = await world.schedules.update(by(made), schedule.id, lambda one: msgspec.structs.replace(one, name="n"))
    assert (named.name, named.next_fire_at) == ("n", NOON + timedelta(hours=3))
    moved = await world.schedules.update(
        by(made), schedule.id, lambda one: msgspec.structs.replace(one, timezone="Asia/Kolkata")
    )
    assert moved.next_fire_at == NOON + timedelta(hours=21, minutes=30)


async def test_changing_the_line_again_and_again_does_not_fire_it_sooner_than_the_floor(world: World) -> None:
    made = world.install()
    schedule = await world.schedule(made, "*/5 * * * *")
    for minute in range(1, 13):
        line = f"{minute % 5}-59/5 * * * *"
        await world.schedules.update(
            by(made), schedule.id, lambda one, line=line: msgspec.structs.replace(one, cron=line)
        )
        world.clock.forward(minutes=1)
        await world.turn()
    times = fire_times(world.guests.asked)
    assert times
    assert len(times) <= 3


async def test_a_schedule_can_be_switched_off_though_its_endpoint_is_gone_but_not_on(world: World) -> None:
    made = world.install()
    schedule = await world.schedule(made)
    world.sql("update extension_version set manifest = manifest - 'api' where id = %s", made.version_id)
    off = await world.schedules.update(by(made), schedule.id, lambda one: msgspec.structs.replace(one, enabled=False))
    assert (off.enabled, off.next_fire_at) == (False, None)
    with pytest.raises(InvalidRequest, match="declares no endpoint"):
        await world.schedules.update(by(made), schedule.id, lambda one: msgspec.structs.replace(one, enabled=True))


async def test_every_change_is_in_the_audit_log_without_the_payload(world: World) -> None:
    made = world.install()
    schedule = await world.schedule(made, payload='{"canary": 1}')
    await world.schedules.update(by(made), schedule.id, lambda one: msgspec.structs.replace(one, name="n"))
    await world.schedules.run(by(made), schedule.id)
    await world.schedules.delete(by(made), schedule.id)
    rows = world.sql("select * from extension_audit_log where subject_id = %s order by id", schedule.id)
    assert [row["action"].split(".")[1] for row in rows] == ["created", "changed", "run", "removed"]
    assert {(row["actor"], row["subject_kind"], row["request_id"]) for row in rows} == {("user:ada", "schedule", "r-1")}
    assert "canary" not in str(rows)


async def test_a_run_by_request_is_made_once_at_a_time_and_beside_the_times(world: World) -> None:
    made = world.install()
    schedule = await world.schedule(made, enabled=False)
    run = await world.schedules.run(by(made), schedule.id)
    assert (run.state, run.cause, run.attempt) == ("waiting", "request", 0)
    with pytest.raises(Conflict, match="under way"):
        await world.schedules.run(by(made), schedule.id)
    world.clock.now = run.fire_at + timedelta(seconds=1)
    await world.turn()
    (ended,) = await world.schedules.runs(by(made), schedule.id, before=None, limit=10)
    assert (ended.state, ended.cause, ended.attempt) == ("ok", "request", 1)
    await world.schedules.run(by(made), schedule.id)


async def test_of_many_who_ask_for_a_run_at_once_one_gets_it(world: World) -> None:
    made = world.install()
    schedule = await world.schedule(made)
    asked = [world.schedules.run(by(made), schedule.id) for _ in range(6)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, Conflict) for one in outcomes) == 5


async def test_a_disabled_extension_does_not_run_by_request_either(world: World) -> None:
    made = world.install(status="disabled")
    schedule = await world.schedule(made)
    assert schedule.next_fire_at is None
    with pytest.raises(Conflict, match="enable it first"):
        await world.schedules.run(by(made), schedule.id)


async def test_another_tenants_and_unknown_ones_are_absent_alike(world: World) -> None:
    made, stranger = world.install("acme"), world.install("globex")
    schedule = await world.schedule(made)
    for somebody in (by(stranger), by(world.install("acme"))):
        for one in (schedule.id, "no-uuid", "6dd0c1a5-0000-4000-8000-000000000000"):
            with pytest.raises(NotFound):
                await world.schedules.get(somebody, one)
            with pytest.raises(NotFound):
                await world.schedules.delete(somebody, one)
            with pytest.raises(NotFound):
                await world.schedules.run(somebody, one)
    foreign = msgspec.structs.replace(by(made), tenant_id="globex")
    with pytest.raises(NotInstalled):
        await world.schedules.listed(foreign)
    with pytest.raises(NotInstalled):
        await world.schedules.create(foreign, DRAFT)
    assert (await world.get(schedule)) == schedule


# ---- a running guest ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "generation", "message"),
    [
        ({}, 1, CAPABILITY),
        ({"caps": (CAPABILITY,)}, 2, "since this call began"),
        ({"caps": (CAPABILITY,), "status": "disabled"}, 1, "since this call began"),
        ({"caps": (CAPABILITY,), "status": "uninstalled"}, 1, "since this call began"),
    ],
)
async def test_a_guest_without_the_grant_or_of_an_install_that_changed_is_refused(
    world: World, columns: dict[str, object], generation: int, message: str
) -> None:
    made = world.install(**columns)
    with pytest.raises(Forbidden, match=message):
        await world.schedules.create(by(made, generation), DRAFT)
    with pytest.raises(Forbidden, match=message):
        await world.schedules.listed(by(made, generation))


async def test_a_guest_of_another_tenants_install_is_refused(world: World) -> None:
    made = world.install(caps=(CAPABILITY,))
    stranger = By(
        tenant_id="globex", install_id=made.install_id, name="x", kind="extension", request_id="r", generation=1
    )
    with pytest.raises(Forbidden):
        await world.schedules.listed(stranger)


async def test_a_guest_with_the_grant_arranges_its_schedules(world: World) -> None:
    made = world.install(caps=(CAPABILITY,))
    schedule = await world.schedules.create(by(made, 1), DRAFT)
    assert await world.schedules.listed(by(made, 1)) == [schedule]

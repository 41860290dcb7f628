"""A guest's changes of schedules are counted, hour by hour; a loop in a guest ends at the limit."""

from __future__ import annotations

import msgspec
import pytest

from gateway.schedules.pace import WINDOW_S, Pace
from gateway.schedules.terms import Draft
from shared.errors import RateLimited
from shared.limits import SCHEDULE_GUEST_CHANGES_MAX, SCHEDULES_MAX_COUNT
from shared.scheduler import CAPABILITY
from tests.gateway.schedules.timing import World, by


def test_so_many_changes_in_an_hour_for_each_install() -> None:
    now_s = 100.0
    pace = Pace(lambda: now_s)
    for _ in range(SCHEDULE_GUEST_CHANGES_MAX):
        pace.take("a")
    with pytest.raises(RateLimited) as refused:
        pace.take("a")
    assert refused.value.retry_after_s == WINDOW_S + 1
    pace.take("b")
    now_s += WINDOW_S - 1
    with pytest.raises(RateLimited):
        pace.take("a")
    now_s += 1
    pace.take("a")


def test_all_schedules_can_be_replaced_within_the_limit() -> None:
    assert SCHEDULE_GUEST_CHANGES_MAX > 2 * SCHEDULES_MAX_COUNT


async def test_a_guest_in_a_loop_is_refused_and_its_administrator_is_not(world: World) -> None:
    made = world.install(caps=(CAPABILITY,))
    schedule = await world.schedules.create(by(made, 1), Draft(endpoint="/notes", cron="0 * * * *"))
    refused = 0
    for number in range(SCHEDULE_GUEST_CHANGES_MAX + 5):
        try:
            await world.schedules.update(
                by(made, 1), schedule.id, lambda one, number=number: msgspec.structs.replace(one, name=f"n{number}")
            )
        except RateLimited:
            refused += 1
    assert refused == 6
    assert len(await world.schedules.listed(by(made, 1))) == 1
    await world.schedules.update(by(made), schedule.id, lambda one: msgspec.structs.replace(one, name="staff"))
    rows = world.sql("select count(*) as n from extension_audit_log where subject_id = %s", schedule.id)
    assert rows == [{"n": SCHEDULE_GUEST_CHANGES_MAX + 1}]


async def test_a_change_that_changes_nothing_leaves_no_trace(world: World) -> None:
    made = world.install()
    schedule = await world.schedule(made)
    assert await world.schedules.update(by(made), schedule.id, lambda one: one) == schedule
    rows = world.sql("select action from extension_audit_log where subject_id = %s", schedule.id)
    assert rows == [{"action": "schedule.created"}]

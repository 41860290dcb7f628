"""Fire times become calls: once each, whoever looks, whatever fails, and as the schedule wants it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from gateway.proxy.unattended import Outcome
from gateway.store.platform.schedules import LEASE
from shared.limits import (
    SCHEDULE_ATTEMPTS_MAX,
    SCHEDULE_ERROR_MAX_CHARS,
    SCHEDULE_LATE_MAX_S,
    SCHEDULE_RETRY_S,
    SCHEDULE_TENANT_RUNS_MAX,
)
from tests.gateway.schedules.timing import NOON, Guests, World, by, fire_times
from tests.runner.waiting import until

FULL = Outcome(code="overloaded", detail="no room", started=False, execution_id=None)
TRAPPED = Outcome(code="guest_trapped", detail="unreachable", started=True)
GONE = Outcome(code="not_installed", detail="no such extension", started=False)


# ---- once -----------------------------------------------------------------------------------------------------


async def test_a_fire_time_becomes_one_call_with_the_payload_as_its_body(world: World) -> None:
    made = world.install()
    schedule = await world.schedule(made, payload='{"a": 1}')
    assert schedule.next_fire_at == NOON + timedelta(hours=1)
    await world.turn()
    assert world.guests.asked == []
    world.clock.forward(hours=1)
    await world.turn()
    (due,) = world.guests.asked
    assert (due.tenant_id, due.install_id, due.kind, due.subject) == ("acme", made.install_id, "schedule", schedule.id)
    assert (due.method, due.path, due.body) == ("POST", "/notes", b'{"a": 1}')
    assert due.idempotency_key == f"sched:{schedule.id}:2027-01-01T13:00:00Z"
    after = await world.get(schedule)
    assert after.next_fire_at == NOON + timedelta(hours=2)
    assert (after.last_run_at, after.last_run_status, after.last_error) == (NOON + timedelta(hours=1), "ok", None)
    await world.turn()
    assert len(world.guests.asked) == 1
    (run,) = world.runs(schedule)
    assert (run["state"], run["cause"], run["attempt"], run["http_status"]) == ("ok", "time", 1, 200)
    assert str(run["execution_id"]) == "00000000-0000-4000-8000-000000000001"


async def test_many_gateways_at_once_make_each_call_once(world: World) -> None:
    schedules = [await world.schedule(world.install(f"t{number}")) for number in range(6)]
    schedules += [await world.schedule(world.install("t0")) for _ in range(4)]
    gateways = [world.gateway() for _ in range(5)]
    for hour in range(1, 4):
        world.clock.forward(hours=1)
        for _ in range(3):
            await asyncio.gather(*(world.turn(gateway) for gateway in gateways))
        assert len(world.guests.asked) == hour * len(schedules)
    assert len({due.idempotency_key for due in world.guests.asked}) == len(world.guests.asked)
    assert all(world.states(schedule) == ["ok"] * 3 for schedule in schedules)


async def test_the_database_refuses_a_fire_time_that_is_claimed_a_second_time(world: World) -> None:
    schedule = await world.schedule(world.install())
    world.clock.forward(hours=1)
    await world.turn()
    world.sql("update tenant_extension_schedule set next_fire_at = last_fire_at")  # as if the step had been lost
    await world.turn()
    assert len(world.guests.asked) == 1
    assert world.states(schedule) == ["ok"]
    assert (await world.get(schedule)).last_run_status == "ok"


async def test_no_transaction_is_open_while_a_guest_runs(world: World) -> None:
    await world.schedule(world.install())
    world.clock.forward(hours=1)
    world.guests.gate.clear()
    await world.firing.turn()
    await until(lambda: world.guests.inside == 1)
    held = """select pid from pg_stat_activity
               where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null"""
    assert world.sql(held) == []
    world.guests.gate.set()
    await world.firing.drain()


async def test_schedules_are_removed_and_changed_while_they_fire(world: World) -> None:
    made = world.install()
    for hour in range(1, 5):
        schedules = [await world.schedule(made) for _ in range(8)]
        world.clock.now = NOON + timedelta(hours=hour)
        firing = [world.turn(world.gateway()) for _ in range(3)]
        removing = [world.schedules.delete(by(made), schedule.id) for schedule in schedules]
        await asyncio.gather(*firing, *removing)
    assert await world.schedules.listed(by(made)) == []
    assert world.sql("select * from tenant_extension_schedule_run") == []


# ---- who rests --------------------------------------------------------------------------------------------------


async def test_a_schedule_that_is_switched_off_does_not_fire_and_on_again_only_from_then_on(world: World) -> None:
    made = world.install()
    schedule = await world.schedule(made, enabled=False)
    assert schedule.next_fire_at is None
    world.clock.forward(hours=5)
    await world.turn()
    assert world.guests.asked == []
    await world.schedules.update(by(made), schedule.id, lambda draft: type(draft)(endpoint="/notes", cron="0 * * * *"))
    await world.turn()
    assert world.guests.asked == []
    world.clock.forward(hours=1)
    await world.turn()
    assert fire_times(world.guests.asked) == ["2027-01-01T18:00:00Z"]


@pytest.mark.parametrize("status", ["disabled", "uninstalled"])
async def test_an_install_that_is_disabled_or_gone_does_not_fire(world: World, status: str) -> None:
    made = world.install()
    schedule = await world.schedule(made)
    world.sql("update tenant_extension_install set status = %s where id = %s", status, made.install_id)
    world.clock.forward(hours=5)
    await world.turn()
    assert (world.guests.asked, world.runs(schedule)) == ([], [])


async def test_what_waits_is_not_made_any_more_when_the_schedule_is_switched_off(world: World) -> None:
    made = world.install()
    schedule = await world.schedule(made, delivery="at_least_once")
    world.guests.outcomes = [TRAPPED]
    world.clock.forward(hours=1)
    await world.turn()
    assert world.states(schedule) == ["waiting"]
    await world.schedules.update(
        by(made), schedule.id, lambda draft: type(draft)(endpoint="/notes", cron="0 * * * *", enabled=False)
    )
    world.clock.forward(seconds=SCHEDULE_RETRY_S)
    await world.turn()
    assert (world.states(schedule), len(world.guests.asked)) == (["missed"], 1)
    assert (await world.get(schedule)).last_error == "the schedule was switched off"


# ---- what nobody was there for ----------------------------------------------------------------------------------


async def test_a_little_late_is_not_missed(world: World) -> None:
    await world.schedule(world.install(), missed="skip")
    world.clock.forward(hours=1, seconds=SCHEDULE_LATE_MAX_S)
    await world.turn()
    assert fire_times(world.guests.asked) == ["2027-01-01T13:00:00Z"]


async def test_after_an_outage_the_latest_missed_fire_runs_once(world: World) -> None:
    schedule = await world.schedule(world.install())
    world.clock.forward(hours=7, minutes=30)
    await world.turn()
    assert fire_times(world.guests.asked) == ["2027-01-01T19:00:00Z"]
    assert (await world.get(schedule)).next_fire_at == NOON + timedelta(hours=8)


async def test_or_none_of_them_when_the_schedule_wants_that_and_the_history_says_so(world: World) -> None:
    schedule = await world.schedule(world.install(), missed="skip")
    world.clock.forward(hours=7, minutes=30)
    await world.turn()
    assert world.guests.asked == []
    assert world.states(schedule) == ["missed"]
    after = await world.get(schedule)
    assert (after.last_run_status, after.last_error) == ("missed", "no gateway was there at its time")
    assert after.next_fire_at == NOON + timedelta(hours=8)
    world.clock.forward(minutes=30)
    await world.turn()
    assert fire_times(world.guests.asked) == ["2027-01-01T20:00:00Z"]


async def test_fire_times_do_not_pile_up_behind_one_that_waits(world: World) -> None:
    made = world.install()
    schedules = [await world.schedule(made, "*/5 * * * *") for _ in range(SCHEDULE_TENANT_RUNS_MAX + 1)]
    world.guests.gate.clear()
    for _ in range(4):
        world.clock.forward(minutes=5)
        await world.firing.turn()
    waiting = world.sql(
        "select schedule_id, count(*) as n from tenant_extension_schedule_run where state = 'waiting' group by 1"
    )
    assert waiting
    assert all(row["n"] == 1 for row in waiting)
    assert sum(state == "missed" for schedule in schedules for state in world.states(schedule)) > 0
    world.guests.gate.set()
    await world.firing.drain()


# ---- what fails -------------------------------------------------------------------------------------------------


async def test_at_most_once_a_guest_that_failed_is_not_called_again(world: World) -> None:
    schedule = await world.schedule(world.install())
    world.guests.outcomes = [TRAPPED]
    world.clock.forward(hours=1)
    await world.turn()
    world.clock.forward(minutes=30)
    await world.turn()
    assert len(world.guests.asked) == 1
    (run,) = world.runs(schedule)
    assert (run["state"], run["code"], run["error"]) == ("failed", "guest_trapped", "unreachable")
    after = await world.get(schedule)
    assert (after.last_run_status, after.last_error) == ("failed", "unreachable")


async def test_words_a_guest_had_a_say_in_are_kept_as_far_as_they_can_be(world: World) -> None:
    schedule = await world.schedule(world.install())
    world.guests.outcomes = [Outcome(code="guest_aborted", detail="a\0b\ud800" + "x" * 1000, started=True)]
    world.clock.forward(hours=1)
    await world.turn()
    assert world.states(schedule) == ["failed"]
    assert (await world.get(schedule)).last_error == ("a\ufffdb?" + "x" * 1000)[:SCHEDULE_ERROR_MAX_CHARS]


async def test_without_a_payload_there_is_neither_a_body_nor_a_type_of_it(world: World) -> None:
    made = world.install()
    await world.schedule(made)
    await world.schedule(made, payload="7")
    world.clock.forward(hours=1)
    await world.turn()
    without, given = sorted(world.guests.asked, key=lambda due: due.body or b"")
    assert (without.body, dict(without.headers).get(b"content-type")) == (None, None)
    assert (given.body, dict(given.headers).get(b"content-type")) == (b"7", b"application/json")


@pytest.mark.parametrize("delivery", ["at_most_once", "at_least_once"])
async def test_what_never_began_is_tried_again_with_growing_pauses_and_the_same_key(
    world: World, delivery: str
) -> None:
    schedule = await world.schedule(world.install(), delivery=delivery)
    world.guests.outcomes = [FULL, FULL]
    world.clock.forward(hours=1)
    await world.turn()
    assert (await world.get(schedule)).last_run_status == "retrying"
    world.clock.forward(seconds=SCHEDULE_RETRY_S - 1)
    await world.turn()
    assert len(world.guests.asked) == 1
    world.clock.forward(seconds=1)
    await world.turn()
    world.clock.forward(seconds=4 * SCHEDULE_RETRY_S)
    await world.turn()
    assert len(world.guests.asked) == 3
    assert len({due.idempotency_key for due in world.guests.asked}) == 1
    assert (world.states(schedule), world.runs(schedule)[0]["attempt"]) == (["ok"], 3)
    assert (await world.get(schedule)).last_error is None


async def test_what_cannot_succeed_later_is_not_tried_again(world: World) -> None:
    schedule = await world.schedule(world.install(), delivery="at_least_once")
    world.guests.outcomes = [GONE]
    world.clock.forward(hours=1)
    await world.turn()
    assert world.states(schedule) == ["failed"]


@pytest.mark.parametrize(
    ("status", "again"), [(204, False), (302, False), (404, False), (408, True), (429, True), (500, True), (503, True)]
)
async def test_at_least_once_a_guests_answer_that_may_change_is_asked_for_again(
    world: World, status: int, again: bool
) -> None:
    schedule = await world.schedule(world.install(), delivery="at_least_once")
    world.guests.outcomes = [Outcome(status=status, started=True)]
    world.clock.forward(hours=1)
    await world.turn()
    state = "waiting" if again else "ok" if status < 300 else "failed"
    assert world.states(schedule) == [state]
    assert world.runs(schedule)[0]["error"] == (None if status < 300 else f"the handler answered {status}")


async def test_attempts_end(world: World) -> None:
    schedule = await world.schedule(world.install(), "0 0 * * *", delivery="at_least_once")
    world.guests.outcomes = [TRAPPED] * 20
    world.clock.forward(hours=12)
    for _ in range(SCHEDULE_ATTEMPTS_MAX + 3):
        await world.turn()
        world.clock.forward(seconds=SCHEDULE_RETRY_S * 4 ** (SCHEDULE_ATTEMPTS_MAX - 1))
    assert len(world.guests.asked) == SCHEDULE_ATTEMPTS_MAX
    assert world.states(schedule) == ["failed"]


@pytest.mark.parametrize(("delivery", "calls", "state"), [("at_most_once", 1, "lost"), ("at_least_once", 2, "ok")])
async def test_a_gateway_that_dies_leaves_a_lease_that_ends(
    world: World, delivery: str, calls: int, state: str
) -> None:
    schedule = await world.schedule(world.install(), delivery=delivery)
    world.clock.forward(hours=1)
    dying = Guests()
    dying.gate.clear()
    gateway = world.gateway(dying)
    await gateway.turn()
    await until(lambda: dying.inside == 1)
    await gateway.drain(within_s=0)  # as good as dead: what it was doing is cancelled, and nothing is written
    await world.turn()
    assert (world.states(schedule), world.guests.asked) == (["running"], [])
    world.clock.forward(seconds=LEASE.total_seconds())
    await world.turn()
    assert len(dying.asked) + len(world.guests.asked) == calls
    assert world.states(schedule) == [state]
    assert (await world.get(schedule)).last_run_status == state


async def test_who_lost_a_run_to_its_lease_does_not_write_over_the_one_who_took_it(world: World) -> None:
    schedule = await world.schedule(world.install(), delivery="at_least_once")
    world.clock.forward(hours=1)
    slow = Guests(TRAPPED)
    slow.gate.clear()
    gateway = world.gateway(slow)
    await gateway.turn()
    await until(lambda: slow.inside == 1)
    world.clock.forward(seconds=LEASE.total_seconds())
    await world.turn()
    slow.gate.set()
    await gateway.drain()
    assert (world.states(schedule), world.runs(schedule)[0]["attempt"]) == (["ok"], 2)


async def test_a_schedule_whose_line_means_nothing_any_more_says_so_and_stops_nobody(world: World) -> None:
    broken, sound = await world.schedule(world.install()), await world.schedule(world.install())
    world.sql("update tenant_extension_schedule set timezone = 'Europe/Atlantis' where id = %s", broken.id)
    world.clock.forward(hours=1)
    await world.turn()
    assert [due.subject for due in world.guests.asked] == [sound.id]
    after = await world.get(broken)
    assert after.last_run_status == "failed"
    assert "IANA" in (after.last_error or "")

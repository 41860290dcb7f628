"""The breaker: below, at and above the burst; who is touched and who is not; how it comes back."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.sandbox import frames
from runner.sandbox.breaker import SLOTS, Breaker, cause_of_death, create_page
from runner.sandbox.process import Died, Outcome
from shared.errors import ExtensionSuspended
from shared.limits import (
    SANDBOX_DEATH_REFILL_S,
    SANDBOX_DEATHS_BURST_MAX_COUNT,
    SANDBOX_DEATHS_DEBT_MAX_COUNT,
    SANDBOX_VIOLATION_REPEAT_S,
)

BURST = SANDBOX_DEATHS_BURST_MAX_COUNT


class Clock:
    """Time that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock=clock)


def kill(breaker: Breaker, times: int, install: str = "i", tenant: str = "acme") -> None:
    for _ in range(times):
        breaker.died(tenant, install)


def allowed(breaker: Breaker, install: str = "i", tenant: str = "acme") -> bool:
    try:
        breaker.check(tenant, install)
    except ExtensionSuspended:
        return False
    return True


@pytest.mark.parametrize(("deaths", "passes"), [(0, True), (BURST - 1, True), (BURST, False), (BURST + 1, False)])
def test_an_install_may_lose_a_burst_of_sandboxes_and_then_rests(breaker: Breaker, deaths: int, passes: bool) -> None:
    kill(breaker, deaths)
    assert allowed(breaker) is passes


def test_the_refusal_says_why_when_to_come_again_and_that_nothing_ran(breaker: Breaker, clock: Clock) -> None:
    kill(breaker, BURST)
    with pytest.raises(ExtensionSuspended) as refused:
        breaker.check("acme", "i")
    error = refused.value
    assert (error.code, error.status, error.started) == ("extension_suspended", 503, False)
    assert error.retry_after_s == SANDBOX_DEATH_REFILL_S
    assert f"{BURST} times" in error.detail
    assert f"in {SANDBOX_DEATH_REFILL_S} s" in error.detail
    clock.now += error.retry_after_s
    assert allowed(breaker)


def test_other_installs_of_the_tenant_and_the_same_install_elsewhere_are_not_touched(breaker: Breaker) -> None:
    kill(breaker, BURST * 3)
    assert not allowed(breaker)
    assert allowed(breaker, install="other")
    assert allowed(breaker, tenant="globex")


def test_it_recovers_by_itself_one_at_a_time_and_in_the_end_wholly(breaker: Breaker, clock: Clock) -> None:
    kill(breaker, BURST)
    clock.now += SANDBOX_DEATH_REFILL_S - 0.01
    assert not allowed(breaker)
    clock.now += 0.02
    assert allowed(breaker)
    kill(breaker, 1)
    assert not allowed(breaker)
    clock.now += SANDBOX_DEATH_REFILL_S * BURST * 10
    kill(breaker, BURST - 1)
    assert allowed(breaker)
    kill(breaker, 1)
    assert not allowed(breaker)


def test_deaths_of_calls_under_way_are_paid_off_first_and_never_for_longer_than_promised(
    breaker: Breaker, clock: Clock
) -> None:
    kill(breaker, BURST + 5)
    clock.now += SANDBOX_DEATH_REFILL_S * 5.5
    assert not allowed(breaker)
    clock.now += SANDBOX_DEATH_REFILL_S * 0.6
    assert allowed(breaker)
    kill(breaker, BURST + SANDBOX_DEATHS_DEBT_MAX_COUNT * 10)
    with pytest.raises(ExtensionSuspended) as refused:
        breaker.check("acme", "i")
    assert refused.value.retry_after_s == SANDBOX_DEATH_REFILL_S * (SANDBOX_DEATHS_DEBT_MAX_COUNT + 1)


def test_two_processes_meet_one_bucket(clock: Clock) -> None:
    descriptor = create_page()
    one, other = Breaker(descriptor, clock), Breaker(descriptor, clock)
    os.close(descriptor)
    kill(one, BURST // 2)
    kill(other, BURST - BURST // 2)
    assert not allowed(one)
    assert not allowed(other)


def test_more_installs_than_slots_forget_the_stalest_and_never_fail(breaker: Breaker, clock: Clock) -> None:
    for number in range(SLOTS * 3):
        clock.now += 0.0001
        kill(breaker, 1, install=f"install-{number}")
    kill(breaker, BURST, install="last")
    assert not allowed(breaker, install="last")


@given(st.lists(st.floats(min_value=0, max_value=10), min_size=1, max_size=200))
def test_no_pattern_of_deaths_exceeds_the_burst_and_the_rate(pauses: list[float]) -> None:
    clock, deaths, began = Clock(), 0, 1000.0
    breaker = Breaker(clock=clock)
    for pause in pauses:
        clock.now += pause
        if allowed(breaker):
            kill(breaker, 1)
            deaths += 1
        assert deaths <= BURST + (clock.now - began) / SANDBOX_DEATH_REFILL_S + 1e-6


def test_a_second_broken_rule_within_the_hour_is_a_repeated_one(breaker: Breaker, clock: Clock) -> None:
    assert not breaker.violated("acme", "i")
    assert not breaker.violated("acme", "other")
    clock.now += SANDBOX_VIOLATION_REPEAT_S
    assert breaker.violated("acme", "i")
    clock.now += SANDBOX_VIOLATION_REPEAT_S + 1
    assert not breaker.violated("acme", "i")


def test_a_broken_rule_costs_no_more_than_its_death(breaker: Breaker) -> None:
    kill(breaker, BURST - 1)
    breaker.violated("acme", "i")
    assert allowed(breaker)


@pytest.mark.parametrize(
    ("result", "cause"),
    [
        (frames.Done(1, 200, [], None, 0, 0), None),
        (frames.Failed(1, "interrupt", "", 0, 0), None),
        (frames.Failed(1, "unreachable", "", 0, 0), None),
        (frames.Failed(1, "response", "", 0, 0), None),
        (frames.Failed(1, "stack", "", 0, 0), "fault"),
        (frames.Failed(1, "trap", "", 0, 0), "fault"),
        (Died(9, too_large=True), "memory"),
        (Died(9, timed_out=True), "deadline"),
        (Died(9, violation="not a frame"), "violation"),
        (Died(31), "violation"),
        (Died(6), "abort"),
        (Died(9), "abort"),
        (Died(3 << 8), "abort"),
        (Died(None), "abort"),
    ],
)
def test_every_end_that_costs_a_process_has_its_cause_and_no_other_has(
    result: frames.Done | frames.Failed | Died, cause: str | None
) -> None:
    assert cause_of_death(Outcome(result, 0, 0)) == cause

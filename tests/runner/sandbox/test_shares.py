"""The page of shares: halved with time, the same for every process, bounded however many tenants there are."""

from __future__ import annotations

import os

import pytest

from runner.sandbox.shares import ACTIVE_S, HALF_LIFE_S, SLOTS, Shares, create_page


class Clock:
    """Time that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_was_used_counts_half_after_each_half_life() -> None:
    clock = Clock()
    shares = Shares(clock=clock)
    shares.charge("a", 800)
    clock.now += HALF_LIFE_S
    assert shares.used_us("a") == pytest.approx(400)
    shares.charge("a", 100)
    clock.now += HALF_LIFE_S
    assert shares.used_us("a") == pytest.approx(250)


def test_who_is_unknown_has_used_nothing() -> None:
    assert Shares().used_us("nobody") == 0


def test_two_processes_see_the_same_page() -> None:
    descriptor = create_page()
    one, other = Shares(descriptor), Shares(descriptor)
    os.close(descriptor)
    one.charge("a", 1000)
    assert other.used_us("a") == pytest.approx(1000, rel=0.01)
    assert other.others_active("b")


def test_a_tenant_alone_has_no_others_and_a_tenant_in_company_has_for_a_second() -> None:
    clock = Clock()
    shares = Shares(clock=clock)
    shares.charge("a", 1)
    assert not shares.others_active("a")
    assert shares.others_active("b")
    shares.charge("b", 1)
    shares.charge("b", 1)
    assert shares.others_active("a")
    assert shares.others_active("b")
    clock.now += ACTIVE_S + 0.01
    shares.charge("a", 1)
    assert not shares.others_active("a")


def test_more_tenants_than_slots_forget_the_stalest_and_never_fail() -> None:
    clock = Clock()
    shares = Shares(clock=clock)
    for number in range(SLOTS * 3):
        clock.now += 0.001
        shares.charge(f"tenant-{number}", 10)
    assert shares.used_us(f"tenant-{SLOTS * 3 - 1}") == pytest.approx(10)


def test_who_has_calls_waiting_is_active_and_not_calm() -> None:
    clock = Clock()
    shares = Shares(clock=clock)
    shares.charge("a", 1, calm=False)
    assert shares.others_active("b")
    assert not shares.others_calm("b")
    shares.charge("a", 1)
    assert shares.others_calm("b")
    assert not shares.others_calm("a")
    clock.now += ACTIVE_S + 0.01
    assert not shares.others_calm("b")

"""Rates and calls under way: below, at and above; nothing is taken unless everything is granted; what a client reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.rates import BURST_US, REFUSALS, SECOND_US, Ask, LocalRates, Plan, Verdict, fields, refusal
from shared.call_limits import CALLS_BURST_S, RATES_LOCAL_MAX_COUNT
from shared.errors import RateLimited, TenantOverConcurrency

PLAN = Plan(tenant_per_s=10, install_per_s=5, tenant_running=4, install_running=3)
WIDE = Plan(tenant_per_s=1_000_000, install_per_s=1_000_000, tenant_running=10**6, install_running=10**6)


def ask(number: int, *, tenant: str = "acme", install: str = "i-1", lease_ms: int = 1_000) -> Ask:
    return Ask(lease_id=f"lease-{number}", tenant_id=tenant, install_id=install, lease_ms=lease_ms)


def reason(verdict: Verdict) -> tuple[str, str] | None:
    return REFUSALS[verdict.refused - 1] if verdict.refused else None


def test_a_burst_starts_at_once_and_one_more_call_waits_for_the_first_interval() -> None:
    rates = LocalRates()
    for number in range(PLAN.install_per_s * CALLS_BURST_S):
        one = ask(number)
        assert reason(rates.ask(PLAN, one, 0)) is None
        rates.give_back(one)
    late = rates.ask(PLAN, ask(99), 0)
    assert reason(late) == ("install", "rate")
    assert late.retry_us == SECOND_US // PLAN.install_per_s
    assert reason(rates.ask(PLAN, ask(99), late.retry_us - 1)) == ("install", "rate")
    assert reason(rates.ask(PLAN, ask(99), late.retry_us)) is None


def test_an_install_cannot_use_up_what_its_tenant_has() -> None:
    rates = LocalRates()
    verdicts = []
    for number in range(30):
        one = ask(number, install=f"i-{number % 3}")
        verdicts.append(reason(rates.ask(PLAN, one, 0)))
        rates.give_back(one)
    assert verdicts.count(None) == PLAN.tenant_per_s * CALLS_BURST_S
    assert verdicts[-1] == ("tenant", "rate")


def test_other_tenants_are_counted_apart() -> None:
    rates = LocalRates()
    for number in range(3):
        rates.ask(PLAN, ask(number), 0)
    assert reason(rates.ask(PLAN, ask(3), 0)) == ("install", "running")
    assert reason(rates.ask(PLAN, ask(4, tenant="globex"), 0)) is None


def test_calls_under_way_are_counted_below_at_and_above_the_limit() -> None:
    rates = LocalRates()
    assert [reason(rates.ask(PLAN, ask(number), 0)) for number in range(4)] == [None] * 3 + [("install", "running")]
    assert reason(rates.ask(PLAN, ask(4, install="i-2"), 0)) is None
    assert reason(rates.ask(PLAN, ask(5, install="i-2"), 0)) == ("tenant", "running")
    rates.give_back(ask(4, install="i-2"))
    assert reason(rates.ask(PLAN, ask(6, install="i-2"), 0)) is None


def test_a_place_that_nobody_gave_back_is_free_when_its_time_is_over() -> None:
    rates = LocalRates()
    for number in range(3):
        rates.ask(PLAN, ask(number, lease_ms=500), 0)
    assert reason(rates.ask(PLAN, ask(3), 499_999)) == ("install", "running")
    assert reason(rates.ask(PLAN, ask(3), 500_000)) is None


def test_a_refused_call_costs_nothing() -> None:
    rates, fresh = LocalRates(), LocalRates()
    for number in range(3):
        rates.ask(PLAN, ask(number), 0)
        fresh.ask(PLAN, ask(number), 0)
    for number in range(100):
        rates.ask(PLAN, ask(100 + number), 0)
    assert rates.ask(PLAN, ask(4, install="i-2"), 0) == fresh.ask(PLAN, ask(4, install="i-2"), 0)


def test_a_share_is_never_nothing() -> None:
    assert PLAN.share(2) == Plan(tenant_per_s=5, install_per_s=2, tenant_running=2, install_running=1)
    assert PLAN.share(100) == Plan(tenant_per_s=1, install_per_s=1, tenant_running=1, install_running=1)
    assert PLAN.share(1) == PLAN


def test_memory_is_bounded_and_who_came_last_is_remembered() -> None:
    rates = LocalRates()
    for number in range(RATES_LOCAL_MAX_COUNT // 2 + 10):
        one = ask(0, tenant=f"t-{number}")
        rates.ask(WIDE, one, 0)
        rates.give_back(one)
    assert len(rates._full_at) == RATES_LOCAL_MAX_COUNT
    assert not rates._leases


@given(st.lists(st.integers(0, 300_000), min_size=1, max_size=200))
def test_in_no_second_more_calls_start_than_the_rate_and_the_burst(pauses_us: list[int]) -> None:
    rates, now, started = LocalRates(), 0, []
    for number, pause in enumerate(pauses_us):
        now += pause
        one = ask(number)
        if not rates.ask(PLAN, one, now).refused:
            started.append(now)
            rates.give_back(one)
    for first, at in enumerate(started):
        inside = sum(1 for other in started[first:] if other < at + SECOND_US)
        assert inside <= PLAN.install_per_s * CALLS_BURST_S + PLAN.install_per_s


def test_the_fields_tell_policy_and_what_is_left() -> None:
    rates = LocalRates()
    verdict = rates.ask(PLAN, ask(1), 0)
    assert fields(PLAN, verdict) == {
        "ratelimit-policy": '"tenant";q=20;w=2, "install";q=10;w=2',
        "ratelimit": '"tenant";r=19;t=1, "install";r=9;t=1',
    }


@pytest.mark.parametrize(
    ("refused", "kind", "says", "retry_s"),
    [
        (1, TenantOverConcurrency, "4 calls of this tenant are under way", 1),
        (2, RateLimited, "3 calls of this install are under way", 1),
        (3, RateLimited, "this tenant may make 10 calls a second, and 20 at once after a pause", 3),
        (4, RateLimited, "this install may make 5 calls a second, and 10 at once after a pause", 3),
    ],
)
def test_a_refusal_says_which_limit_it_was_and_when_to_come_again(
    refused: int, kind: type[Exception], says: str, retry_s: int
) -> None:
    error = refusal(PLAN, Verdict(refused, 2_000_001, 0, BURST_US, 0, BURST_US), "all gateways")
    assert type(error) is kind
    assert says in error.detail
    assert error.retry_after_s == retry_s
    scope, what = REFUSALS[refused - 1]
    assert error.extra["limited_by"]["scope"] == scope
    assert error.extra["limited_by"]["kind"] == what
    assert error.fields["ratelimit"] == '"tenant";r=0;t=2, "install";r=0;t=2'

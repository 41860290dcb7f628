"""The list of limits says what the source says: every name, value, unit and reason."""

from __future__ import annotations

import pytest

from gateway.policy.limits_list import listed
from gateway.policy.quotas import Quotas
from gateway.policy.rates import Plan
from shared import call_limits, limits, registry_limits

PLAN = Plan(tenant_per_s=200, install_per_s=100, tenant_running=128, install_running=64)
QUOTAS = Quotas(calls=10, cpu_s=20, egress_mb=30)
FOUND = {limit.name: limit for limit in listed(PLAN, QUOTAS).limits}


def test_every_limit_is_listed_with_its_value_and_a_reason() -> None:
    declared = {
        name: value
        for module in (limits, call_limits, registry_limits)
        for name, value in vars(module).items()
        if name.isupper() and name not in ("KIB", "MIB", "GIB")
    }
    assert {name: limit.value for name, limit in FOUND.items()} == declared
    assert all(len(limit.reason) > 2 for limit in FOUND.values())


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("REQUEST_BODY_MAX_BYTES", "bytes"),
        ("MEMORY_MAX_MB", "MiB"),
        ("TIMEOUT_MAX_MS", "milliseconds"),
        ("TENANT_CALLS_PER_S", "per second"),
        ("EVENTS_PER_MINUTE_MAX", "per minute"),
        ("PUBLISHER_VERSIONS_PER_HOUR_MAX", "per hour"),
        ("HEADERS_MAX_COUNT", "count"),
        ("RUNNER_RETRY_SHARE", "share"),
    ],
)
def test_the_unit_is_the_end_of_the_name(name: str, unit: str) -> None:
    assert FOUND[name].unit == unit


def test_what_was_set_for_rates_is_told() -> None:
    rates, quotas = listed(PLAN, QUOTAS).rates, listed(PLAN, QUOTAS).quotas
    assert (rates.tenant_calls_per_s, rates.install_calls_per_s, rates.burst_s) == (200, 100, 2)
    assert (rates.tenant_running, rates.install_running) == (128, 64)
    assert (quotas.install_calls, quotas.install_cpu_s, quotas.install_egress_mb) == (10, 20, 30)

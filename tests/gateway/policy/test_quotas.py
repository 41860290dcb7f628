"""Hourly quotas: below, at and above; what the refusal says."""

from __future__ import annotations

import pytest

from gateway.policy.quotas import MB, Quotas, Used
from shared.errors import QuotaExceeded

QUOTAS = Quotas(calls=100, cpu_s=60, egress_mb=5)
HALF_PAST_S = 1_790_001_000 - 1_790_001_000 % 3_600 + 1_800.25


@pytest.mark.parametrize(
    ("used", "kind"),
    [
        (Used(), None),
        (Used(invocations=99), None),
        (Used(invocations=100), "calls"),
        (Used(invocations=101), "calls"),
        (Used(cpu_ms=59_999.9), None),
        (Used(cpu_ms=60_000), "cpu"),
        (Used(egress_bytes=5 * MB - 1), None),
        (Used(egress_bytes=5 * MB), "egress"),
    ],
)
def test_what_is_used_up_is_refused_until_the_next_hour(used: Used, kind: str | None) -> None:
    if kind is None:
        QUOTAS.check(used)
        return
    with pytest.raises(QuotaExceeded) as refused:
        QUOTAS.check(used, lambda: HALF_PAST_S)
    assert refused.value.extra["limited_by"]["kind"] == kind
    assert refused.value.retry_after_s == 1_800
    assert "the next hour begins at" in refused.value.detail
    assert refused.value.detail.endswith(":00 UTC")

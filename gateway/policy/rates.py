"""How often a tenant and each of its installs may be called, and how many of their calls may be under way. Pure.

A rate is kept by one number for each caller, the time at which its bucket would be full again (GCRA, the virtual
scheduling form of a token bucket: ITU-T I.371 annex A): a call moves it on by one interval, and may start while it is
at most `CALLS_BURST_S` ahead of now. Calls under way are counted by leases that end by themselves, so that a gateway
that dies gives its places back. Nothing is taken unless everything is granted.

`gateway.streams.rates` does the same in Redis, for all gateways; `LocalRates` is for the time when Redis is away.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Literal, TypeVar

import msgspec

from shared.call_limits import CALLS_BURST_S, RATES_LOCAL_MAX_COUNT
from shared.errors import CallerError, RateLimited, TenantOverConcurrency

T = TypeVar("T")

Scope = Literal["tenant", "install"]
Kind = Literal["running", "rate"]
SECOND_US: Final = 1_000_000
BURST_US: Final = CALLS_BURST_S * SECOND_US
REFUSALS: Final[tuple[tuple[Scope, Kind], ...]] = (
    ("tenant", "running"),
    ("install", "running"),
    ("tenant", "rate"),
    ("install", "rate"),
)
"""What can refuse a call, in the order in which it is asked."""

RUNNING_RETRY_S: Final = 1  # nobody knows when a call ends; by then some of them will have


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is allowed: calls a second, and calls under way."""

    tenant_per_s: int
    install_per_s: int
    tenant_running: int
    install_running: int

    def share(self, gateways: int) -> Plan:
        """What one of so many gateways may grant by itself: at least one of each, or a small limit would be none."""
        return Plan(
            tenant_per_s=max(1, self.tenant_per_s // gateways),
            install_per_s=max(1, self.install_per_s // gateways),
            tenant_running=max(1, self.tenant_running // gateways),
            install_running=max(1, self.install_running // gateways),
        )


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One call that wants to start.

    Attributes:
        lease_id: of its place among those under way; new for every call.
        lease_ms: after which the place is free whatever happens, from now.
    """

    lease_id: str
    tenant_id: str
    install_id: str
    lease_ms: int


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """Whether it may, and what is left. As the script in Redis answers.

    Attributes:
        refused: 0: granted; else the place in `REFUSALS`, counted from 1.
        retry_us: microseconds until the same call would be granted, for a rate that refused.
        tenant_left, install_left: calls that could start now.
        tenant_full_us, install_full_us: microseconds until the whole burst is there again.
    """

    refused: int
    retry_us: int
    tenant_left: int
    tenant_full_us: int
    install_left: int
    install_full_us: int


def interval_us(per_s: int) -> int:
    """Microseconds one call costs."""
    return max(1, SECOND_US // per_s)


def fields(plan: Plan, verdict: Verdict) -> dict[str, str]:
    """The header fields that tell a client how much is left (RateLimit header fields, IETF HTTPAPI draft 10)."""
    policies, states = [], []
    for scope, per_s, left, full_us in (
        ("tenant", plan.tenant_per_s, verdict.tenant_left, verdict.tenant_full_us),
        ("install", plan.install_per_s, verdict.install_left, verdict.install_full_us),
    ):
        policies.append(f'"{scope}";q={per_s * CALLS_BURST_S};w={CALLS_BURST_S}')
        states.append(f'"{scope}";r={left};t={-(-full_us // SECOND_US)}')
    return {"ratelimit-policy": ", ".join(policies), "ratelimit": ", ".join(states)}


def refusal(plan: Plan, verdict: Verdict, counted_by: str) -> CallerError:
    """What the caller reads of a call that was refused: which limit, how much it is, and when to come again.

    Args:
        counted_by: `all gateways` or `this gateway`, whose share is smaller.
    """
    scope, kind = REFUSALS[verdict.refused - 1]
    limit = _limit(plan, scope, kind)
    limited_by = {"scope": scope, "kind": kind, "limit": limit, "counted_by": counted_by}
    error: CallerError
    if kind == "running":
        retry_s = RUNNING_RETRY_S
        detail = f"{limit} calls of this {scope} are under way, which is all it may have; wait for one to end"
        error = TenantOverConcurrency(detail, retry_after_s=retry_s, limited_by=limited_by)
        if scope == "install":
            error = RateLimited(detail, retry_after_s=retry_s, limited_by=limited_by)
    else:
        retry_s = max(1, -(-verdict.retry_us // SECOND_US))
        detail = f"this {scope} may make {limit} calls a second, and {limit * CALLS_BURST_S} at once after a pause"
        error = RateLimited(detail, retry_after_s=retry_s, limited_by=limited_by)
    error.fields = fields(plan, verdict)
    return error


def _limit(plan: Plan, scope: Scope, kind: Kind) -> int:
    if kind == "running":
        return plan.tenant_running if scope == "tenant" else plan.install_running
    return plan.tenant_per_s if scope == "tenant" else plan.install_per_s


class LocalRates:
    """The counting of one process, in bounded memory: who was not seen for longest is forgotten first."""

    def __init__(self) -> None:
        self._full_at: OrderedDict[str, int] = OrderedDict()
        self._leases: OrderedDict[str, dict[str, int]] = OrderedDict()

    def ask(self, plan: Plan, ask: Ask, now_us: int) -> Verdict:
        """Grant or refuse one call.

        Args:
            plan: what is allowed.
            ask: who wants to start.
            now_us: microseconds of any clock that does not go back.
        """
        tenant, install = _tenant(ask), _install(ask)
        running_t, running_i = self._running(tenant, now_us), self._running(install, now_us)
        step_t, step_i = interval_us(plan.tenant_per_s), interval_us(plan.install_per_s)
        ahead_t, ahead_i = self._ahead(tenant, now_us), self._ahead(install, now_us)
        refused = _refused(
            running_t >= plan.tenant_running,
            running_i >= plan.install_running,
            ahead_t + step_t > BURST_US,
            ahead_i + step_i > BURST_US,
        )
        retry_us = 0
        if not refused:
            ahead_t, ahead_i = ahead_t + step_t, ahead_i + step_i
            _keep(self._full_at, tenant, now_us + ahead_t)
            _keep(self._full_at, install, now_us + ahead_i)
            for name in (tenant, install):
                leases = self._leases.get(name) or {}
                leases[ask.lease_id] = now_us + ask.lease_ms * 1000
                _keep(self._leases, name, leases)
        elif REFUSALS[refused - 1] == ("tenant", "rate"):
            retry_us = ahead_t + step_t - BURST_US
        elif REFUSALS[refused - 1] == ("install", "rate"):
            retry_us = ahead_i + step_i - BURST_US
        return Verdict(refused, retry_us, _left(ahead_t, step_t), ahead_t, _left(ahead_i, step_i), ahead_i)

    def give_back(self, ask: Ask) -> None:
        """The call ended."""
        for name in (_tenant(ask), _install(ask)):
            leases = self._leases.get(name, {})
            leases.pop(ask.lease_id, None)
            if not leases:
                self._leases.pop(name, None)

    def _running(self, name: str, now_us: int) -> int:
        leases = self._leases.get(name)
        if not leases:
            return 0
        for lease_id in [lease_id for lease_id, end_us in leases.items() if end_us <= now_us]:
            del leases[lease_id]
        return len(leases)

    def _ahead(self, name: str, now_us: int) -> int:
        return max(0, self._full_at.get(name, 0) - now_us)


def _keep(kept: OrderedDict[str, T], name: str, value: T) -> None:
    kept[name] = value
    kept.move_to_end(name)
    while len(kept) > RATES_LOCAL_MAX_COUNT:
        kept.popitem(last=False)


def _refused(*asked: bool) -> int:
    return next((number for number, refuses in enumerate(asked, 1) if refuses), 0)


def _left(ahead_us: int, step_us: int) -> int:
    return max(0, (BURST_US - ahead_us) // step_us)


def _tenant(ask: Ask) -> str:
    return ask.tenant_id


def _install(ask: Ask) -> str:
    return f"{ask.tenant_id}:{ask.install_id}"

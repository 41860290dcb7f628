"""Every limit of the platform as data: read from the files that declare them, so that the list cannot fall behind.

A limit's reason is the comment beside it; its unit is the end of its name.
"""

from __future__ import annotations

import ast
import inspect
import re
from types import ModuleType
from typing import Final

import msgspec

from gateway.policy.quotas import Quotas
from gateway.policy.rates import Plan
from shared import call_limits, limits, registry_limits
from shared.call_limits import CALLS_BURST_S

_SIZES: Final = frozenset({"KIB", "MIB", "GIB"})
_UNITS: Final = {
    "BYTES": "bytes",
    "MB": "MiB",
    "MS": "milliseconds",
    "S": "seconds",
    "MINUTES": "minutes",
    "HOURS": "hours",
    "DAYS": "days",
    "PX": "pixels",
    "SHARE": "share",
}
_RATE: Final = re.compile(r"_PER_(S|MINUTE|HOUR)(?:_MAX)?$")
_RATES: Final = {"S": "per second", "MINUTE": "per minute", "HOUR": "per hour"}
_REASON: Final = re.compile(r"  # (\S.*)$", re.MULTILINE)


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One limit.

    Attributes:
        name: as in the source and in messages.
        unit: of `value`; `count` when it is a plain number of things.
        reason: why this number.
    """

    name: str
    value: int | float
    unit: str
    reason: str


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What this platform was set to allow one tenant and one of its installs, over all gateways."""

    tenant_calls_per_s: int
    install_calls_per_s: int
    burst_s: int
    tenant_running: int
    install_running: int


class HourlyQuotas(msgspec.Struct, frozen=True, kw_only=True):
    """What this platform was set to allow one install in an hour."""

    install_calls: int
    install_cpu_s: int
    install_egress_mb: int


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /api/limits`."""

    rates: Rates
    quotas: HourlyQuotas
    limits: list[Limit]


def listed(plan: Plan, quotas: Quotas) -> Limits:
    """Everything, in the order of the source."""
    rates = Rates(
        tenant_calls_per_s=plan.tenant_per_s,
        install_calls_per_s=plan.install_per_s,
        burst_s=CALLS_BURST_S,
        tenant_running=plan.tenant_running,
        install_running=plan.install_running,
    )
    hourly = HourlyQuotas(install_calls=quotas.calls, install_cpu_s=quotas.cpu_s, install_egress_mb=quotas.egress_mb)
    return Limits(
        rates=rates, quotas=hourly, limits=[*_declared(limits), *_declared(call_limits), *_declared(registry_limits)]
    )


def _declared(module: ModuleType) -> list[Limit]:
    source = inspect.getsource(module)
    lines = source.splitlines()
    found: list[Limit] = []
    for node in ast.parse(source).body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.target.id in _SIZES:
            continue
        reason = _REASON.search("\n".join(lines[node.lineno - 1 : node.end_lineno]))
        name = node.target.id
        found.append(
            Limit(name=name, value=getattr(module, name), unit=_unit(name), reason=reason[1] if reason else "")
        )
    return found


def _unit(name: str) -> str:
    rate = _RATE.search(name)
    return _RATES[rate[1]] if rate else _UNITS.get(name.rpartition("_")[2], "count")

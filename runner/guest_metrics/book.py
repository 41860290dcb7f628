"""One worker's series of guests' metrics: bounded for each install and in all, forgotten when an install is.

Counters and histograms are added up where they are exposed: for each extension, or for each of its tenants. Gauges are
kept for each install, since the last one counts and several workers may have heard different ones. A series goes with the
last install that used it: counters of a removed install stay part of the extension's sum while another one counts on.

When there is no room, the tenant with the most series gives up those of its idlest install, so that nobody can push out
anybody but itself.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from runner.guest_metrics.samples import Sample, Series
from shared.limits import METRICS_IDLE_S, METRICS_SERIES_MAX_COUNT, METRICS_WORKER_SERIES_MAX_COUNT
from shared.wire import StateEntry

BOUNDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 100.0, 1_000.0, 10_000.0)
"""Upper bounds of every histogram's buckets: for seconds from a millisecond on, and for small counts."""

Scope = tuple[str, str]
"""Extension and tenant a sum is exposed for; the tenant is empty when all of them are one sum."""


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """Whose sample it is."""

    tenant: str
    extension: str
    install: str


class Gauge(msgspec.Struct, frozen=True, array_like=True):
    """The last value of a series and when it was told, in seconds since the epoch."""

    series: Series
    value: float
    at_s: float


class InstallState(msgspec.Struct, frozen=True, array_like=True):
    """What one install uses."""

    owner: Owner
    used_s: float
    series: tuple[Series, ...]
    gauges: tuple[Gauge, ...]


class Sum(msgspec.Struct, frozen=True, array_like=True):
    """A counter's value; or a histogram's sum and then how many values each bucket took, those beyond all bounds last."""

    scope: Scope
    series: Series
    numbers: tuple[float, ...]


def numbers_of(series: Series) -> int:
    """How many numbers the sum of a series has."""
    return 1 if series.kind == "counter" else 2 + len(BOUNDS)


class BookState(msgspec.Struct, frozen=True, array_like=True):
    """A book as it stands, idlest install first: what another worker reads, and what a successor goes on from."""

    installs: tuple[InstallState, ...] = ()
    sums: tuple[Sum, ...] = ()


class _Install:
    __slots__ = ("gauges", "series", "used_s")

    def __init__(self) -> None:
        self.series: dict[Series, None] = {}  # in the order of their first use
        self.gauges: dict[Series, tuple[float, float]] = {}
        self.used_s = 0.0


class Book:
    """The series of one worker.

    Args:
        per_tenant: whether each tenant has its own sums.
        clock: seconds since the epoch.
    """

    def __init__(self, *, per_tenant: bool = False, clock: Callable[[], float] = time.time) -> None:
        self._per_tenant, self._clock = per_tenant, clock
        self._installs: OrderedDict[Owner, _Install] = OrderedDict()
        self._sums: dict[tuple[Scope, Series], list[float]] = {}
        self._users: Counter[tuple[Scope, Series]] = Counter()
        self._tenants: Counter[str] = Counter()
        self._disabled: set[str] = set()
        self.changes = 0
        """How often anything changed; grows only."""

    def add(self, owner: Owner, sample: Sample) -> bool:
        """Whether the sample was taken: `False` for one series too many of its install."""
        install = self._installs.get(owner)
        if install is None or sample.series not in install.series:
            if install is not None and len(install.series) >= METRICS_SERIES_MAX_COUNT:
                return False
            install = self._open(owner, sample.series)
        install.used_s = self._clock()
        self._installs.move_to_end(owner)
        if sample.series.kind == "gauge":
            install.gauges[sample.series] = (sample.value, install.used_s)
        else:
            self._count(self._scope(owner), sample)
        self.changes += 1
        return True

    def heard(self, entry: StateEntry) -> None:
        """An entry of the state feed: a disabled or removed install's series go with the next sweep.

        Not at once, since a worker that starts hears all that ever happened: whoever was enabled again keeps its series.
        """
        if entry.kind == "disabled_install":
            self._disabled.add(entry.subject)
        elif entry.kind == "enabled_install":
            self._disabled.discard(entry.subject)

    def sweep(self) -> None:
        """Forget installs that are disabled, removed, or have been silent for long."""
        for owner in [one for one in self._installs if one.install in self._disabled]:
            self._drop(owner)
        self._disabled.clear()
        past_s = self._clock() - METRICS_IDLE_S
        while self._installs:
            owner, install = next(iter(self._installs.items()))
            if install.used_s > past_s:
                return
            self._drop(owner)

    def state(self) -> BookState:
        """All of it."""
        installs = tuple(
            InstallState(
                owner,
                install.used_s,
                tuple(install.series),
                tuple(Gauge(series, value, at_s) for series, (value, at_s) in install.gauges.items()),
            )
            for owner, install in self._installs.items()
        )
        return BookState(
            installs, tuple(Sum(scope, series, tuple(numbers)) for (scope, series), numbers in self._sums.items())
        )

    def restore(self, state: BookState) -> None:
        """Go on from what a predecessor of this worker left."""
        for known in state.installs:
            for series in known.series:
                self._open(known.owner, series)
            install = self._installs.setdefault(known.owner, _Install())
            install.used_s = known.used_s
            install.gauges = {gauge.series: (gauge.value, gauge.at_s) for gauge in known.gauges}
        for one in state.sums:
            if (one.scope, one.series) in self._users:
                self._sums[one.scope, one.series] = list(one.numbers)

    def _scope(self, owner: Owner) -> Scope:
        return owner.extension, owner.tenant if self._per_tenant else ""

    def _open(self, owner: Owner, series: Series) -> _Install:
        """The install with one more series."""
        if self._tenants.total() >= METRICS_WORKER_SERIES_MAX_COUNT:
            self._make_room(owner)
        install = self._installs.setdefault(owner, _Install())
        install.series[series] = None
        self._tenants[owner.tenant] += 1
        if series.kind != "gauge":
            self._users[self._scope(owner), series] += 1
        return install

    def _make_room(self, asking: Owner) -> None:
        most = max(self._tenants.values())
        tenant = asking.tenant if self._tenants[asking.tenant] == most else self._tenants.most_common(1)[0][0]
        owners = [owner for owner in self._installs if owner.tenant == tenant]  # idlest first
        self._drop(next((owner for owner in owners if owner != asking), owners[0]))

    def _drop(self, owner: Owner) -> None:
        install = self._installs.pop(owner)
        self._tenants[owner.tenant] -= len(install.series)
        if not self._tenants[owner.tenant]:
            del self._tenants[owner.tenant]
        scope = self._scope(owner)
        for series in install.series:
            if series.kind == "gauge":
                continue
            self._users[scope, series] -= 1
            if not self._users[scope, series]:
                del self._users[scope, series]
                self._sums.pop((scope, series), None)
        self.changes += 1

    def _count(self, scope: Scope, sample: Sample) -> None:
        numbers = self._sums.get((scope, sample.series))
        if numbers is None:
            numbers = self._sums[scope, sample.series] = [0.0] * numbers_of(sample.series)
        numbers[0] += sample.value
        if sample.series.kind == "histogram":
            bucket = next((at for at, bound in enumerate(BOUNDS) if sample.value <= bound), len(BOUNDS))
            numbers[1 + bucket] += 1

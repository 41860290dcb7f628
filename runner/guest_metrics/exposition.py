"""The books of all workers of a runner as one text: each worker writes its own now and then, whoever is asked reads all.

Books are files in the directory that the supervisor makes for the metrics of its workers, and removes. A worker's
successor has its number: it goes on from its file, so that no sum goes back. Text is written by prometheus-client, which
escapes what a guest put into a label.

Of several workers sums are added up, and of a gauge the value told last counts; gauges of several installs that are
exposed together are added up as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Final, Literal, NoReturn

import msgspec
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from runner.guest_metrics.book import BOUNDS, Book, BookState, Gauge, Owner, Scope, numbers_of
from runner.guest_metrics.samples import Series
from shared.limits import METRICS_BOOK_MAX_BYTES, METRICS_WRITE_S

Exposed = Literal["none", "extension", "tenant"]
"""By which labels guests' series are told apart: by none of ours, by the extension, or by extension and tenant."""

_FILES: Final = "guest-*.book"
_HELP: Final = "Told by extensions about themselves"

_log = structlog.get_logger("guest_metrics")


class GuestMetrics:
    """Guests' metrics of one worker, and the text about all workers.

    Args:
        exposed: what the operator allows.
        directory: where workers leave their books; `None` for a worker that is alone.
        worker: this one's number.
    """

    def __init__(self, exposed: Exposed = "extension", directory: Path | None = None, worker: int = 0) -> None:
        self._exposed: Exposed = exposed
        self._directory = directory
        self._file = None if directory is None else directory / _FILES.replace("*", str(worker))
        self._written = 0
        self.book = Book(per_tenant=exposed == "tenant")
        if self._file is not None and self._file.exists():
            self.book.restore(_read(self._file))

    async def run(self) -> NoReturn:
        """Forget and write, until cancelled."""
        while True:
            await asyncio.sleep(METRICS_WRITE_S)
            self.book.sweep()
            await self.write()

    async def write(self) -> None:
        """Let the other workers read what changed."""
        if self._file is None or self.book.changes == self._written:
            return
        changes, data = self.book.changes, msgspec.msgpack.encode(self.book.state())
        if await asyncio.to_thread(_write, self._file, data):
            self._written = changes

    async def text(self) -> bytes:
        """The exposition of all workers (Prometheus text format 0.0.4)."""
        own = self.book.state()
        return await asyncio.to_thread(self._text, own)

    def _text(self, own: BookState) -> bytes:
        states = [own]
        if self._directory is not None:
            states += [_read(path) for path in sorted(self._directory.glob(_FILES)) if path != self._file]
        return render(states, self._exposed)


def render(states: Iterable[BookState], exposed: Exposed) -> bytes:
    """The text about these books."""
    registry = CollectorRegistry()
    registry.register(_Families(merge(states, exposed)))
    return generate_latest(registry)


def merge(states: Iterable[BookState], exposed: Exposed) -> dict[Series, dict[Scope, list[float]]]:
    """The numbers of each series by scope, as far as scopes are exposed."""
    found: dict[Series, dict[Scope, list[float]]] = {}
    gauges: dict[tuple[Owner, Series], Gauge] = {}
    for state in states:
        for one in state.sums:
            _add(found, one.series, _shown(exposed, *one.scope), one.numbers)
        for install in state.installs:
            for gauge in install.gauges:
                last = gauges.get((install.owner, gauge.series))
                if last is None or last.at_s < gauge.at_s:
                    gauges[install.owner, gauge.series] = gauge
    for (owner, series), gauge in gauges.items():
        _add(found, series, _shown(exposed, owner.extension, owner.tenant), (gauge.value,))
    return found


def _add(
    found: dict[Series, dict[Scope, list[float]]], series: Series, scope: Scope, numbers: tuple[float, ...]
) -> None:
    scopes = found.setdefault(series, {})
    have = scopes.get(scope)
    scopes[scope] = list(numbers) if have is None else [a + b for a, b in zip(have, numbers, strict=True)]


def _shown(exposed: Exposed, extension: str, tenant: str) -> Scope:
    return "" if exposed == "none" else extension, tenant if exposed == "tenant" else ""


class _Families(Collector):
    """Series as prometheus-client takes them."""

    def __init__(self, found: dict[Series, dict[Scope, list[float]]]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for series in sorted(self._found, key=lambda one: (one.kind, one.name, one.labels)):
            name = f"ext_guest_{series.kind}_{series.name}"
            family = families.setdefault(name, Metric(name, _HELP, series.kind))
            for scope, numbers in sorted(self._found[series].items()):
                _samples(family, series, _labels(scope, series), numbers)
        yield from families.values()


def _samples(family: Metric, series: Series, labels: dict[str, str], numbers: list[float]) -> None:
    if series.kind == "gauge":
        family.add_sample(family.name, labels, numbers[0])
    elif series.kind == "counter":
        family.add_sample(f"{family.name}_total", labels, numbers[0])
    else:
        total, *buckets = numbers
        heights = list(accumulate(buckets))
        for bound, height in zip((*map(str, BOUNDS), "+Inf"), heights, strict=True):
            family.add_sample(f"{family.name}_bucket", {**labels, "le": bound}, height)
        family.add_sample(f"{family.name}_count", labels, heights[-1])
        family.add_sample(f"{family.name}_sum", labels, total)


def _labels(scope: Scope, series: Series) -> dict[str, str]:
    extension, tenant = scope
    ours = {name: value for name, value in (("extension", extension), ("tenant", tenant)) if value}
    return {**ours, **{f"guest_{name}": value for name, value in series.labels}}


def _write(path: Path, data: bytes) -> bool:
    """Whether the file holds `data` now; readers see the old one or the new one."""
    fresh = path.with_suffix(".new")
    try:
        fresh.write_bytes(data)
        fresh.replace(path)
    except OSError as error:
        _log.warning("guest_metrics_not_written", why=type(error).__name__)
        return False
    return True


def _read(path: Path) -> BookState:
    """A worker's book; an empty one when it is not readable, as after a change of its form."""
    try:
        with path.open("rb") as file:
            data = file.read(METRICS_BOOK_MAX_BYTES)  # a longer one ends early, which is not decodable
        state = msgspec.msgpack.decode(data, type=BookState)
    except (OSError, ValueError) as error:  # msgspec's errors are `ValueError`s
        _log.warning("guest_metrics_not_read", why=type(error).__name__)
        return BookState()
    sums = tuple(one for one in state.sums if len(one.numbers) == numbers_of(one.series))  # of a release with others
    return BookState(state.installs, sums)

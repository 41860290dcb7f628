"""metrics: a guest measures itself. WIT: shared/wit/metrics.wit.

The functions answer nothing. A sample that is none, or of one series too many, is dropped; the debug stream says so once
for each reason in an execution, and the runner's own metrics count it. What is taken is exposed at the runner's `/metrics`
as `ext_guest_{kind}_{name}` (`runner.guest_metrics`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Literal

from runner.capabilities.capability import Call, Capability
from runner.guest_metrics.book import Book, Owner
from runner.guest_metrics.samples import Kind, SampleError, checked
from shared.limits import METRICS_NAME_MAX_CHARS, METRICS_SERIES_MAX_COUNT

CAPABILITY: Final = Capability(name="cap:metrics.emit", interface="metrics")

Dropped = Callable[[Literal["invalid", "series"]], None]
"""Told why a sample was dropped."""

_TOO_MANY: Final = (
    f"an install has at most {METRICS_SERIES_MAX_COUNT} series, each name with each set of labels being one"
)


class Metrics:
    """The samples of one execution.

    Args:
        book: takes them.
        dropped: told of those it does not get.
        call: whose they are.
    """

    def __init__(self, book: Book, dropped: Dropped, call: Call) -> None:
        context = call.request.context
        self._owner = Owner(context.tenant_id, context.extension_id, context.install_id)
        self._book, self._dropped, self._recorder = book, dropped, call.recorder
        self._explained: set[str] = set()

    async def counter(self, name: str, value: float, labels: Sequence[Sequence[str]]) -> None:
        """Add `value`."""
        self._take("counter", name, value, labels)

    async def gauge(self, name: str, value: float, labels: Sequence[Sequence[str]]) -> None:
        """It is `value` now."""
        self._take("gauge", name, value, labels)

    async def histogram(self, name: str, value: float, labels: Sequence[Sequence[str]]) -> None:
        """Count `value` into its bucket."""
        self._take("histogram", name, value, labels)

    def _take(self, kind: Kind, name: str, value: float, labels: Sequence[Sequence[str]]) -> None:
        try:
            sample = checked(kind, name, value, labels)
        except SampleError as error:
            self._drop("invalid", kind, name, str(error))
            return
        if not self._book.add(self._owner, sample):
            self._drop("series", kind, name, _TOO_MANY)

    def _drop(self, why: Literal["invalid", "series"], kind: Kind, name: str, reason: str) -> None:
        self._dropped(why)
        if reason not in self._explained:
            self._explained.add(reason)
            shown = name[:METRICS_NAME_MAX_CHARS]
            self._recorder.record("warn", "system", f"metrics.{kind}: {shown!r} is dropped: {reason}")


def capability(book: Book, dropped: Dropped) -> Capability:
    """The capability, answered by a `Metrics` for each call."""
    return Capability(name=CAPABILITY.name, interface=CAPABILITY.interface, open=partial(Metrics, book, dropped))

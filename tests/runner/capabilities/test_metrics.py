"""metrics towards a guest: nothing is answered, what is dropped is explained once, what is taken stands in `/metrics`."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runner.api.internal import InternalApp, Readiness
from runner.capabilities import metrics as capability
from runner.capabilities.capability import Call
from runner.capabilities.host_calls import HostCalls
from runner.capabilities.table import BY_INTERFACE, CAPABILITIES, with_services
from runner.debug.recorder import Recorder
from runner.guest_metrics.exposition import GuestMetrics
from runner.metrics import RunnerMetrics
from shared.capabilities import DEFAULTS
from shared.deadline import Deadline
from shared.debug_event import ExtDebugEvent
from shared.limits import METRICS_SERIES_MAX_COUNT
from shared.wire import Context, ExecuteRequest, Http
from shared.wit_parser import load_world

WORLD = load_world()
FUNCTIONS = ("counter", "gauge", "histogram")
each_function = pytest.mark.parametrize("function", FUNCTIONS)


class Guest:
    """One execution that calls the interface as a sandbox does."""

    def __init__(self, guests: GuestMetrics, *, install: str = "i-1", granted: bool = True) -> None:
        self.told: list[str] = []
        self.dropped: Counter[str] = Counter()
        context = Context(
            request_id="r", tenant_id="acme", extension_id="e-1", install_id=install, version_id="v", content_hash="x"
        )
        call = Call(
            ExecuteRequest(context=context, http=Http(method="GET", path="/")),
            Deadline.after_ms(5000),
            Recorder(context, self),
        )
        table = with_services(capability.capability(guests.book, lambda why: self.dropped.update((why,))))
        grants = frozenset({capability.CAPABILITY.name} if granted else ())
        self._calls = HostCalls(WORLD, grants, call, table)

    def emit(self, event: ExtDebugEvent) -> None:
        if event.stream == "system":
            self.told.append(event.message)

    async def call(self, function: str, name: str, value: float = 1, *labels: tuple[str, str]) -> Any:
        return await self._calls.answer("metrics", function, [name, value, list(labels)])


@pytest.fixture
def guests() -> GuestMetrics:
    return GuestMetrics()


async def samples(guests: GuestMetrics) -> dict[str, float]:
    families = text_string_to_metric_families((await guests.text()).decode())
    return {found.name: found.value for family in families for found in family.samples if "le" not in found.labels}


async def test_each_function_is_a_kind_of_metric_and_answers_nothing(guests: GuestMetrics) -> None:
    guest = Guest(guests)
    for function in FUNCTIONS:
        for value in (2, 3):
            assert await guest.call(function, "orders", value, ("region", "emea")) is None
    assert await samples(guests) == {
        "ext_guest_counter_orders_total": 5,
        "ext_guest_gauge_orders": 3,
        "ext_guest_histogram_orders_count": 2,
        "ext_guest_histogram_orders_sum": 5,
    }
    assert (guest.told, guest.dropped) == ([], Counter())


@each_function
async def test_without_the_grant_the_sample_is_dropped(guests: GuestMetrics, function: str) -> None:
    guest = Guest(guests, granted=False)
    assert await guest.call(function, "orders") is None
    assert await guests.text() == b""
    assert "cap:metrics.emit is not granted" in guest.told[0]
    assert "cap:metrics.emit" in DEFAULTS


@each_function
@pytest.mark.parametrize(
    ("name", "value", "labels"),
    [
        ("9lives", 1, ()),
        ("orders", math.nan, ()),
        ("orders", math.inf, ()),
        ("orders", 1, (("le", "1\nx 1"),)),
        ("orders", 1, (("__name__", "up"),)),
    ],
)
async def test_what_is_no_sample_is_dropped_and_explained_once(
    guests: GuestMetrics, function: str, name: str, value: float, labels: tuple[tuple[str, str], ...]
) -> None:
    guest = Guest(guests)
    for _ in range(3):
        assert await guest.call(function, name, value, *labels) is None
    assert await guests.text() == b""
    assert len(guest.told) == 1
    assert guest.told[0].startswith(f"metrics.{function}: {name!r} is dropped: ")
    assert guest.dropped == {"invalid": 3}


async def test_one_series_too_many_is_dropped_with_one_event_in_each_execution(guests: GuestMetrics) -> None:
    first, second = Guest(guests), Guest(guests)
    for number in range(METRICS_SERIES_MAX_COUNT):
        await first.call("counter", "orders", 1, ("number", str(number)))
    assert first.told == []
    for guest in (first, second):
        for number in range(3):
            await guest.call("counter", "orders", 1, ("more", str(number)))
        (told,) = guest.told
        assert f"at most {METRICS_SERIES_MAX_COUNT} series" in told
        assert guest.dropped == {"series": 3}
    other = Guest(guests, install="i-2")
    await other.call("counter", "orders", 1, ("more", "0"))
    assert other.told == []


async def test_a_name_of_any_length_is_shown_cut(guests: GuestMetrics) -> None:
    guest = Guest(guests)
    await guest.call("gauge", "n" * 100_000)
    assert len(guest.told[0]) < 300


async def test_it_stands_behind_the_runners_own_in_its_metrics(guests: GuestMetrics) -> None:
    async def ready() -> Readiness:
        return Readiness(ready=True, draining=False, wall={}, dependencies={}, sandboxes={})

    async def nothing(*_: Any) -> None:
        raise AssertionError

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await Guest(guests).call("counter", "orders_total", 2)
    metrics = RunnerMetrics()
    metrics.sample_dropped("invalid")
    app = InternalApp(nothing, nothing, metrics, ready, guests)  # type: ignore[arg-type]  # no POST is made
    await app({"type": "http", "path": "/metrics", "method": "GET", "headers": []}, nothing, send)
    families = {family.name for family in text_string_to_metric_families(sent[1]["body"].decode())}
    assert {"ext_guest_counter_orders", "ext_guest_samples_dropped", "ext_guest_seconds"} <= families


def test_the_coroutines_are_the_functions_of_the_wit() -> None:
    functions = {function.name for function in WORLD.interfaces["metrics"].functions}
    assert functions == {name for name in vars(capability.Metrics) if not name.startswith("_")}


def test_the_list_has_it() -> None:
    assert capability.CAPABILITY in CAPABILITIES
    assert BY_INTERFACE["metrics"].open is None

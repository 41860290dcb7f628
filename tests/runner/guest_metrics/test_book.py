"""One worker's series: so many for each install and in all, each forgotten with its install, none pushed out by others."""

from __future__ import annotations

import pytest

from runner.guest_metrics.book import Book, BookState, Owner
from runner.guest_metrics.samples import Kind, Sample, checked
from shared.limits import METRICS_IDLE_S, METRICS_SERIES_MAX_COUNT, METRICS_WORKER_SERIES_MAX_COUNT
from shared.wire import StateEntry

ACME, GLOBEX = Owner("acme", "e-1", "i-1"), Owner("globex", "e-1", "i-2")


class Clock:
    """Seconds a test sets."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


def sample(name: str = "orders", value: float = 1, kind: Kind = "counter", **labels: str) -> Sample:
    return checked(kind, name, value, list(labels.items()))


def sums(book: Book) -> dict[str, tuple[float, ...]]:
    return {f"{one.scope[1]}/{one.series.name}": one.numbers for one in book.state().sums}


def gone(install: str) -> StateEntry:
    return StateEntry(seq=1, kind="disabled_install", subject=install)


def test_counters_of_an_extensions_tenants_are_one_sum_or_each_its_own() -> None:
    for per_tenant, expected in (
        (False, {"/orders": (5.0,)}),
        (True, {"acme/orders": (3.0,), "globex/orders": (2.0,)}),
    ):
        book = Book(per_tenant=per_tenant)
        for owner, value in ((ACME, 1.0), (ACME, 2.0), (GLOBEX, 2.0)):
            assert book.add(owner, sample(value=value))
        assert sums(book) == expected


def test_a_histogram_counts_each_value_into_the_first_bucket_that_holds_it() -> None:
    book = Book()
    for value in (0.0, 0.001, 0.0011, 10_000.0, 10_001.0):
        book.add(ACME, sample("took", value, "histogram"))
    total, *buckets = sums(book)["/took"]
    assert total == pytest.approx(20_001.0021)
    assert (buckets[0], buckets[1], buckets[-2], buckets[-1], sum(buckets)) == (2, 1, 1, 1, 5)


def test_of_a_gauge_the_last_value_counts_for_each_install() -> None:
    book = Book()
    for owner, value in ((ACME, 7.0), (ACME, 3.0), (GLOBEX, 5.0)):
        book.add(owner, sample("queue", value, "gauge"))
    found = {install.owner: [gauge.value for gauge in install.gauges] for install in book.state().installs}
    assert found == {ACME: [3.0], GLOBEX: [5.0]}


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_an_install_has_so_many_series_whatever_their_kinds_and_no_more(extra: int) -> None:
    book = Book()
    kinds: tuple[Kind, ...] = ("counter", "gauge", "histogram")
    taken = [
        book.add(ACME, sample(f"n{number}", kind=kinds[number % 3]))
        for number in range(METRICS_SERIES_MAX_COUNT + extra)
    ]
    assert taken.count(False) == max(0, extra)
    assert book.add(ACME, sample("n0"))  # what it has goes on
    assert book.add(GLOBEX, sample("another"))  # and others are not concerned
    assert book.add(ACME, sample("n0", region="emea")) is (extra < 0)  # other labels are another series


def test_a_removed_installs_series_go_and_the_sums_others_share_stay() -> None:
    book = Book()
    for owner in (ACME, GLOBEX):
        book.add(owner, sample(value=2))
        book.add(owner, sample("queue", 4, "gauge"))
    book.add(ACME, sample("only_acme"))
    book.heard(gone("i-1"))
    book.sweep()
    assert sums(book) == {"/orders": (4.0,)}
    assert [install.owner for install in book.state().installs] == [GLOBEX]
    book.heard(gone("i-2"))
    book.sweep()
    assert book.state() == BookState()


def test_an_install_that_was_enabled_again_keeps_its_series_when_a_worker_hears_all_that_happened() -> None:
    book = Book()
    book.add(ACME, sample())
    for _ in range(2):
        book.heard(gone("i-1"))
        book.heard(StateEntry(seq=2, kind="enabled_install", subject="i-1"))
    book.sweep()
    assert sums(book) == {"/orders": (1.0,)}


@pytest.mark.parametrize(("silent_s", "is_there"), [(-1, True), (0, False), (1, False)])
def test_an_install_that_is_silent_for_long_is_forgotten(silent_s: int, is_there: bool) -> None:
    clock = Clock()
    book = Book(clock=clock)
    book.add(ACME, sample())
    clock.now_s += 10
    book.add(GLOBEX, sample("others"))
    clock.now_s += METRICS_IDLE_S - 10 + silent_s
    book.sweep()
    assert ("/orders" in sums(book)) is is_there
    assert "/others" in sums(book)


def test_who_fills_a_worker_pushes_out_its_own_idlest_install_and_nobody_else() -> None:
    book = Book()
    book.add(GLOBEX, sample("quiet"))
    installs = METRICS_WORKER_SERIES_MAX_COUNT // METRICS_SERIES_MAX_COUNT
    for install in range(installs + 20):
        for number in range(METRICS_SERIES_MAX_COUNT):
            assert book.add(Owner("acme", "e-9", f"i-{install}"), sample(f"n{number}"))
            assert sum(len(one.series) for one in book.state().installs) <= METRICS_WORKER_SERIES_MAX_COUNT
    owners = [install.owner for install in book.state().installs]
    assert GLOBEX in owners
    assert Owner("acme", "e-9", "i-0") not in owners
    assert Owner("acme", "e-9", f"i-{installs + 19}") in owners
    assert book.add(Owner("initech", "e-1", "i-new"), sample("new"))  # there is room for a newcomer
    assert GLOBEX in [install.owner for install in book.state().installs]


def test_a_successor_goes_on_from_what_there_was() -> None:
    before, after = Book(), Book()
    before.add(ACME, sample(value=3))
    before.add(ACME, sample("took", 2, "histogram"))
    before.add(GLOBEX, sample("queue", 5, "gauge"))
    after.restore(before.state())
    assert after.state() == before.state()
    after.add(ACME, sample(value=1))
    assert sums(after)["/orders"] == (4.0,)
    after.heard(gone("i-1"))
    after.heard(gone("i-2"))
    after.sweep()
    assert after.state() == BookState()

"""What `/metrics` says of guests: the books of all workers, by the labels the operator allows."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from runner.guest_metrics.book import Book, Owner
from runner.guest_metrics.exposition import Exposed, GuestMetrics, render
from runner.guest_metrics.samples import Kind, checked
from shared.wire import StateEntry

ACME, GLOBEX, OTHER = Owner("acme", "e-1", "i-1"), Owner("globex", "e-1", "i-2"), Owner("acme", "e-2", "i-3")


def add(metrics: GuestMetrics, owner: Owner, value: float = 1, kind: Kind = "counter", name: str = "orders") -> None:
    assert metrics.book.add(owner, checked(kind, name, value, [("region", "emea")]))


def values(text: bytes) -> dict[tuple[str, ...], float]:
    return {
        (
            found.name,
            *(f"{key}={said}" for key, said in sorted(found.labels.items()) if key != "guest_region"),
        ): found.value
        for family in text_string_to_metric_families(text.decode())
        for found in family.samples
    }


@pytest.mark.parametrize(
    ("exposed", "expected"),
    [
        ("none", {(): 7.0}),
        ("extension", {("extension=e-1",): 3.0, ("extension=e-2",): 4.0}),
        (
            "tenant",
            {
                ("extension=e-1", "tenant=acme"): 1.0,
                ("extension=e-1", "tenant=globex"): 2.0,
                ("extension=e-2", "tenant=acme"): 4.0,
            },
        ),
    ],
)
async def test_series_are_told_apart_as_far_as_the_operator_allows(
    exposed: Exposed, expected: dict[tuple[str, ...], float]
) -> None:
    metrics = GuestMetrics(exposed)
    for owner, value in ((ACME, 1), (GLOBEX, 2), (OTHER, 4)):
        add(metrics, owner, value)
        add(metrics, owner, value, "gauge", "queue")
    found = values(await metrics.text())
    assert found == {
        **{("ext_guest_counter_orders_total", *labels): value for labels, value in expected.items()},
        **{("ext_guest_gauge_queue", *labels): value for labels, value in expected.items()},
    }


async def test_without_samples_there_is_no_text(tmp_path: Path) -> None:
    assert await GuestMetrics().text() == b""
    assert await GuestMetrics("tenant", tmp_path, 3).text() == b""


async def test_any_worker_answers_for_all(tmp_path: Path) -> None:
    one, two = (GuestMetrics("extension", tmp_path, number) for number in range(2))
    for metrics, value in ((one, 1), (two, 2)):
        add(metrics, ACME, value)
        add(metrics, ACME, value, "histogram", "took")
    add(one, ACME, 10, "gauge", "queue")
    add(two, ACME, 20, "gauge", "queue")  # the same install's, told later
    add(one, GLOBEX, 3, "gauge", "queue")
    await one.write()
    await two.write()
    first, second = values(await one.text()), values(await two.text())
    assert first == second
    assert first["ext_guest_counter_orders_total", "extension=e-1"] == 3
    assert first["ext_guest_gauge_queue", "extension=e-1"] == 23
    assert first["ext_guest_histogram_took_sum", "extension=e-1"] == 3
    assert first["ext_guest_histogram_took_count", "extension=e-1"] == 2
    assert first["ext_guest_histogram_took_bucket", "extension=e-1", "le=1.0"] == 1
    assert first["ext_guest_histogram_took_bucket", "extension=e-1", "le=2.5"] == 2
    assert first["ext_guest_histogram_took_bucket", "extension=e-1", "le=+Inf"] == 2


async def test_a_workers_successor_goes_on_so_that_no_sum_goes_back(tmp_path: Path) -> None:
    gone = GuestMetrics("extension", tmp_path, 0)
    add(gone, ACME, 5)
    await gone.write()
    again = GuestMetrics("extension", tmp_path, 0)
    add(again, ACME, 1)
    assert values(await again.text())["ext_guest_counter_orders_total", "extension=e-1"] == 6


@pytest.mark.parametrize("content", [b"", b"\xc1", b"[]", msgspec.msgpack.encode({"installs": 1}), b"x" * 1000])
async def test_a_book_that_is_none_counts_as_empty(tmp_path: Path, content: bytes) -> None:
    metrics = GuestMetrics("extension", tmp_path, 0)
    add(metrics, ACME)
    (tmp_path / "guest-1.book").write_bytes(content)
    assert values(await metrics.text()) == {("ext_guest_counter_orders_total", "extension=e-1"): 1.0}
    assert GuestMetrics("extension", tmp_path, 1).book.state().installs == ()


async def test_a_sum_with_other_buckets_than_ours_is_left_out(tmp_path: Path) -> None:
    metrics = GuestMetrics("extension", tmp_path, 0)
    add(metrics, ACME, 1, "histogram", "took")
    add(metrics, ACME)
    state = metrics.book.state()
    other = tuple(msgspec.structs.replace(one, numbers=(*one.numbers[:-1], 1.0, 2.0)) for one in state.sums)
    (tmp_path / "guest-1.book").write_bytes(msgspec.msgpack.encode(msgspec.structs.replace(state, sums=other)))
    assert values(await metrics.text()) == values(render([state], "extension"))


async def test_nothing_is_written_when_nothing_changed_and_what_is_gone_is_gone_for_all(tmp_path: Path) -> None:
    one, two = (GuestMetrics("extension", tmp_path, number) for number in range(2))
    add(one, ACME)
    await one.write()
    (tmp_path / "guest-0.book").unlink()
    await one.write()
    assert not (tmp_path / "guest-0.book").exists()
    one.book.heard(StateEntry(seq=1, kind="disabled_install", subject="i-1"))
    one.book.sweep()
    await one.write()
    assert await two.text() == b""
    assert [path.name for path in tmp_path.iterdir()] == ["guest-0.book"]


async def test_a_directory_that_is_gone_costs_the_others_view_and_nothing_else(tmp_path: Path) -> None:
    metrics = GuestMetrics("extension", tmp_path / "removed", 0)
    add(metrics, ACME)
    await metrics.write()
    assert len(values(await metrics.text())) == 1


def test_a_counter_that_ends_like_a_histograms_part_is_no_part_of_one() -> None:
    book = Book()
    for kind, name in (("histogram", "took"), ("gauge", "took"), ("counter", "took")):
        book.add(ACME, checked(kind, name, 1, []))
    families = {
        family.name: family.type for family in text_string_to_metric_families(render([book.state()], "none").decode())
    }
    assert families == {
        "ext_guest_counter_took": "counter",
        "ext_guest_gauge_took": "gauge",
        "ext_guest_histogram_took": "histogram",
    }

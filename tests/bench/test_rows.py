"""Rows: what a bar means with and without a peer, and what is said when there is no value."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.bench import bodies
from tests.bench.rows import Row, encoded, show, write


def row(value: float | None, bar: float | None = None, **more: object) -> Row:
    return msgspec.convert({"name": "a figure", "value": value, "unit": "ms", "bar": bar, **more}, Row)


@pytest.mark.parametrize(("value", "met"), [(3.99, True), (4.0, True), (4.01, False)])
def test_a_time_meets_its_bar_up_to_and_at_it(value: float, met: bool) -> None:
    assert row(value, 4.0).met is met


@pytest.mark.parametrize(("value", "met"), [(159, False), (160, True), (161, True)])
def test_a_throughput_is_held_against_its_peers_and_must_not_be_lower(value: float, met: bool) -> None:
    found = row(value, 0.8, peer="one", peer_value=200, lower=False)
    assert found.ratio == value / 200
    assert found.met is met


def test_with_a_peer_the_ratio_counts_and_not_the_value() -> None:
    assert row(100, 1.2, peer="alone", peer_value=90).met is True
    assert row(1.1, 1.2, peer="alone", peer_value=0.5).met is False


def test_without_a_bar_there_is_no_verdict() -> None:
    assert row(5).met is None
    assert row(5, peer="one", peer_value=4).met is None


def test_a_peer_that_did_nothing_proves_nothing() -> None:
    found = row(5, 1.2, peer="one", peer_value=0)
    assert found.ratio is None
    assert found.met is False


def test_no_failure_meets_a_bar_of_none_and_one_does_not() -> None:
    assert row(0, 0).met is True
    assert row(1, 0).met is False


def test_a_row_without_a_value_says_why_and_has_no_verdict() -> None:
    found = row(None, 20, missing="needs a setting")
    assert (found.ratio, found.met) == (None, None)
    assert found.described()["value"] is None
    assert found.described()["missing"] == "needs a setting"
    assert found.described()["bar"] == 20


@pytest.mark.parametrize(("value", "missing"), [(None, ""), (1.0, "needs a setting")])
def test_a_row_has_a_value_or_a_reason_and_never_both(value: float | None, missing: str) -> None:
    with pytest.raises(ValueError, match="a value, or what is missing"):
        Row(name="a figure", value=value, unit="ms", missing=missing)


def test_the_file_has_every_field_of_every_row(tmp_path: Path) -> None:
    rows = [row(1.23456, 2, peer="one", peer_value=3), row(None, 20, missing="needs a setting"), row(7)]
    write(rows, tmp_path / "bench.json")
    assert msgspec.json.decode((tmp_path / "bench.json").read_bytes()) == [
        {
            "name": "a figure",
            "value": 1.2346,
            "unit": "ms",
            "peer": "one",
            "peer_value": 3.0,
            "ratio": 0.4115,
            "bar": 2.0,
            "met": True,
            "missing": None,
        },
        {
            "name": "a figure",
            "value": None,
            "unit": "ms",
            "peer": None,
            "peer_value": None,
            "ratio": None,
            "bar": 20.0,
            "met": None,
            "missing": "needs a setting",
        },
        {
            "name": "a figure",
            "value": 7.0,
            "unit": "ms",
            "peer": None,
            "peer_value": None,
            "ratio": None,
            "bar": None,
            "met": None,
            "missing": None,
        },
    ]
    assert encoded([]) == b"[]\n"


def test_the_table_shows_bars_verdicts_and_what_is_not_available(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        [
            row(3.14159, 4),
            row(5, 4),
            row(900, 0.9, peer="constant", peer_value=1000, lower=False),
            row(None, 20, missing="needs a setting"),
        ]
    )
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "figure value peer's ratio bar met",
        "a figure 3.14 ms ≤ 4 yes",
        "a figure 5.00 ms ≤ 4 NO",
        "a figure 900.00 ms 1000.00 constant 0.90× ≥ 0.9 yes",
        "a figure (needs a setting) n/a ≤ 20",
    ]


def test_the_rows_about_large_bodies_are_there_without_a_verdict() -> None:
    found = bodies.rows()
    assert [one.bar for one in found] == [20.0, 15.0, 200.0, 15.0]
    assert {(one.value, one.met, one.missing) for one in found} == {(None, None, "needs the bulk-bytes setting")}

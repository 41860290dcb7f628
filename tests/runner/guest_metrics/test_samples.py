"""What a guest may say about itself in numbers, and that nothing it says becomes anything else in the exposition."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from runner.guest_metrics.book import Book, Owner
from runner.guest_metrics.exposition import render
from runner.guest_metrics.samples import VALUE_MAX, Kind, SampleError, checked
from shared.limits import METRICS_LABEL_VALUE_MAX_BYTES, METRICS_LABELS_MAX_COUNT, METRICS_NAME_MAX_CHARS

OWNER = Owner("acme", "extension-1", "install-1")
KINDS: tuple[Kind, ...] = ("counter", "gauge", "histogram")
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_a_sample_is_kept_by_its_kind_its_name_and_its_labels_in_whatever_order(kind: Kind) -> None:
    one = checked(kind, "orders", 1.5, [("region", "emea"), ("kind", "new")])
    assert one == checked(kind, "orders", 1.5, [["kind", "new"], ["region", "emea"]])
    assert one.series.labels == (("kind", "new"), ("region", "emea"))
    assert one.series != checked(kind, "orders", 1.5, [("kind", "new")]).series


def test_a_counter_is_the_same_with_and_without_its_suffix() -> None:
    assert checked("counter", "orders_total", 1, []).series == checked("counter", "orders", 1, []).series
    with pytest.raises(SampleError):
        checked("gauge", "orders_total", 1, [])


NO_NAMES = [
    "",
    "1a",
    "_a",
    "__name__",
    "a-b",
    "a.b",
    "a:b",
    "a b",
    "a\n",
    "a{",
    "ä",
    "a\x00",
    "\ud800",
    'a"',
    "a#",
    "a\u0660",
]


@each_kind
@pytest.mark.parametrize(
    "name", [*NO_NAMES, "a_bucket", "a_count", "a_sum", "a_created", "a_info", "_total"], ids=ascii
)
def test_a_name_is_a_plain_one(kind: Kind, name: str) -> None:
    with pytest.raises(SampleError, match=r"^a name "):
        checked(kind, name, 1, [])


@pytest.mark.parametrize("name", NO_NAMES, ids=ascii)
def test_a_labels_name_is_a_plain_one(name: str) -> None:
    with pytest.raises(SampleError, match=r"^a label's name "):
        checked("gauge", "a", 1, [(name, "x")])


@pytest.mark.parametrize(
    "value", ["a\nb", "a\rb", "\x00", "\x1b[2J", "a\u2028b", "a\u202eb", "\x85", "a\ud800"], ids=ascii
)
def test_a_labels_value_has_no_control_characters(value: str) -> None:
    with pytest.raises(SampleError, match="control characters"):
        checked("gauge", "a", 1, [("x", value)])


@each_kind
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, VALUE_MAX * 1.01, -VALUE_MAX * 1.01])
def test_a_value_is_a_number_that_can_be_added_up(kind: Kind, value: float) -> None:
    with pytest.raises(SampleError, match="never NaN or infinite"):
        checked(kind, "a", value, [])
    assert checked(kind, "a", VALUE_MAX, []).value == VALUE_MAX


def test_only_a_gauge_goes_below_nothing() -> None:
    assert checked("gauge", "a", -1, []).value == -1
    for kind in ("counter", "histogram"):
        with pytest.raises(SampleError, match="no negative value"):
            checked(kind, "a", -1e-300, [])


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_names_labels_and_values_below_at_and_above_their_limits(extra: int) -> None:
    samples: list[tuple[str, list[tuple[str, str]]]] = [
        ("n" * (METRICS_NAME_MAX_CHARS + extra), []),
        ("n", [("l" * (METRICS_NAME_MAX_CHARS + extra), "v")]),
        ("n", [(f"l{number}", "v") for number in range(METRICS_LABELS_MAX_COUNT + extra)]),
        ("n", [("l", "v" * (METRICS_LABEL_VALUE_MAX_BYTES + extra))]),
        ("n", [("l", "ü" * ((METRICS_LABEL_VALUE_MAX_BYTES + extra * 2) // 2))]),
    ]
    for name, labels in samples:
        if extra <= 0:
            assert checked("gauge", name, 1, labels).series.name == name
        else:
            with pytest.raises(SampleError, match=str(METRICS_NAME_MAX_CHARS) + "|at most"):
                checked("gauge", name, 1, labels)


def test_a_label_said_twice_is_none() -> None:
    with pytest.raises(SampleError, match="each label once"):
        checked("gauge", "a", 1, [("x", "1"), ("x", "2")])


TEXT = st.text(max_size=20) | st.sampled_from(
    ["le", "tenant", "job", "__name__", 'a"', "a\\", "x\n# TYPE y counter\ny 1"]
)
NAMES = TEXT | st.from_regex(r"\A[A-Za-z][A-Za-z0-9_]{0,12}\Z")


@given(
    st.sampled_from(KINDS),
    NAMES,
    st.floats(),
    st.lists(st.tuples(NAMES, TEXT), max_size=4),
)
@example("gauge", "x", 1.0, [("le", 'a"} 1\\'), ("tenant", "globex")])
@example("counter", "x", 1.0, [("a", '\\"'), ("b", "ünï")])
def test_whatever_is_taken_is_exactly_one_family_with_these_labels(
    kind: Kind, name: str, value: float, labels: list[tuple[str, str]]
) -> None:
    try:
        sample = checked(kind, name, value, labels)
    except SampleError as error:
        assert not any(said in str(error) for said in (name, *sum(labels, ())) if len(said) > 12)
        return
    book = Book()
    assert book.add(OWNER, sample)
    (family,) = list(text_string_to_metric_families(render([book.state()], "extension").decode()))
    assert family.name == f"ext_guest_{kind}_{sample.series.name}"
    assert family.type == kind
    expected: dict[str, Any] = {f"guest_{key}": said for key, said in labels} | {"extension": "extension-1"}
    for found in family.samples:
        assert {key: said for key, said in found.labels.items() if key != "le"} == expected
    if kind != "histogram":
        assert [found.value for found in family.samples] == [value]

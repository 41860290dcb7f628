"""Which form of a file a client gets, which part of it, and whether it has it already."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.assets.index import Asset, Form
from runner.assets.negotiate import Span, choose, codings, span, unchanged


def form(etag: bytes = b'"a"') -> Form:
    return Form(0, 10, etag, (), ())


PLAIN, ZSTD, GZIP = form(b'"a"'), form(b'"a-zstd"'), form(b'"a-gzip"')
ALL = Asset({"identity": PLAIN, "zstd": ZSTD, "gzip": GZIP})


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (b"", PLAIN),
        (b"gzip, deflate, br, zstd", ZSTD),
        (b"gzip, deflate", GZIP),
        (b"GZIP", GZIP),
        (b"br", PLAIN),
        (b"zstd;q=0, gzip", GZIP),
        (b"zstd;q=0.1, gzip;q=0.9", GZIP),
        (b"zstd;q=0,gzip;q=0", PLAIN),
        (b"*", ZSTD),
        (b"*;q=0", PLAIN),
        (b"gzip;q=0.5, identity;q=1", PLAIN),
        (b"identity", PLAIN),
        (b"zstd ; q=1.0", ZSTD),
        (b"gzip;q=nonsense", PLAIN),
        (b"x" * 300 + b", gzip", PLAIN),
    ],
)
def test_the_best_form_the_client_takes(accepted: bytes, chosen: Form):
    assert choose(ALL, accepted) is chosen


def test_a_file_without_compressed_forms_is_sent_as_it_is():
    assert choose(Asset({"identity": PLAIN}), b"zstd, gzip") is PLAIN


@given(st.binary(max_size=400))
def test_any_header_chooses_something_that_exists(header: bytes):
    assert choose(ALL, header) in (PLAIN, ZSTD, GZIP)
    assert set(codings(header)) <= {"zstd", "gzip"}


@pytest.mark.parametrize(
    ("header", "same"),
    [
        (b'"a"', True),
        (b'W/"a"', True),
        (b'"b", "a"', True),
        (b"*", True),
        (b" * ", True),
        (b'"a-zstd"', False),
        (b'"b"', False),
        (b"", False),
        (b"a", False),
    ],
)
def test_a_client_has_exactly_this_form_or_not(header: bytes, same: bool):
    assert unchanged(PLAIN, header) is same


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (b"bytes=0-4", Span(0, 5)),
        (b"bytes=0-0", Span(0, 1)),
        (b"bytes=5-", Span(5, 5)),
        (b"bytes=9-9", Span(9, 1)),
        (b"bytes=0-9", Span(0, 10)),
        (b"bytes=0-10", Span(0, 10)),
        (b"bytes=0-999999999999999", Span(0, 10)),
        (b"bytes=-3", Span(7, 3)),
        (b"bytes=-10", Span(0, 10)),
        (b"bytes=-11", Span(0, 10)),
        (b"bytes=4-2", None),
        (b"bytes=-", None),
        (b"bytes=", None),
        (b"bytes=a-b", None),
        (b"bytes=0-1,2-3", None),
        (b"bytes 0-1", None),
        (b"items=0-1", None),
        (b"bytes=0-1x", None),
        (b"bytes=" + b"9" * 16 + b"-", None),
    ],
)
def test_one_range_is_understood_and_anything_else_means_the_whole(header: bytes, part: Span | None):
    assert span(header, 10) == part


@pytest.mark.parametrize("header", [b"bytes=10-", b"bytes=10-20", b"bytes=-0", b"bytes=999999999999999-"])
def test_a_range_of_nothing_cannot_be_satisfied(header: bytes):
    with pytest.raises(ValueError):
        span(header, 10)


@given(st.integers(0, 200), st.binary(max_size=40).map(lambda tail: b"bytes=" + tail))
def test_a_range_never_leaves_the_file(size: int, header: bytes):
    try:
        part = span(header, size)
    except ValueError:
        return
    if part is not None:
        assert 0 <= part.first < size
        assert 1 <= part.length <= size - part.first


@pytest.mark.security
def test_two_thousand_ranges_cost_no_time():
    header = b"bytes=" + b",".join(b"%d-%d" % (2 * n, 2 * n + 1) for n in range(2000))
    before = time.process_time()
    assert span(header, 1 << 20) is None
    assert time.process_time() - before < 0.05

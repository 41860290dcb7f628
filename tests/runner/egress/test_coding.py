"""Content codings: undone piece by piece, whatever the pieces are, and never beyond the limit."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.egress.coding import Body, coding_of
from runner.egress.failures import Failure, TransportError

ENCODE = {
    "": lambda data: data,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}
BARE = lambda data: zlib.compress(data)[2:-4]  # noqa: E731  # what some servers call deflate


def decoded(coding: str, pieces: list[bytes], max_bytes: int) -> bytes:
    body = Body(coding, max_bytes)
    for piece in pieces:
        body.feed(piece)
    return body.finish()


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, start = [], 0
    for size in sizes:
        pieces.append(data[start : start + size])
        start += size
    return [*pieces, data[start:]]


@given(
    st.sampled_from(["", "gzip", "deflate"]),
    st.one_of(st.binary(max_size=2000), st.integers(0, 1_000_000).map(bytes)),
    st.lists(st.integers(0, 300), max_size=20),
)
def test_whatever_the_pieces_the_whole_comes_out(coding: str, data: bytes, sizes: list[int]) -> None:
    pieces = cut(ENCODE[coding](data), sizes)
    assert decoded(coding, pieces, len(data)) == data
    if data:
        with pytest.raises(TransportError) as refused:
            decoded(coding, pieces, len(data) - 1)
        assert refused.value.failure is Failure.RESPONSE_TOO_LARGE


@given(st.binary(max_size=500), st.sampled_from(["gzip", "deflate"]))
def test_whatever_is_sent_ends_in_bytes_or_in_a_typed_failure(data: bytes, coding: str) -> None:
    try:
        assert len(decoded(coding, [data], 10_000)) <= 10_000
    except TransportError as refused:
        assert refused.failure in (Failure.BROKEN, Failure.RESPONSE_TOO_LARGE)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_members_of_a_gzip_file_come_out_one_after_the_other(members: list[bytes]) -> None:
    data = b"".join(map(gzip.compress, members))
    assert decoded("gzip", cut(data, [7] * 50), 10_000) == b"".join(members)


def test_deflate_without_its_wrapper_is_understood() -> None:
    assert decoded("deflate", [BARE(b"text" * 100)], 400) == b"text" * 100


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_coding_that_ends_too_early_is_not_an_answer(coding: str) -> None:
    with pytest.raises(TransportError) as refused:
        decoded(coding, [ENCODE[coding](b"text" * 100)[:-5]], 10_000)
    assert refused.value.failure is Failure.BROKEN


@pytest.mark.parametrize(
    ("values", "coding"),
    [
        ([], ""),
        ([""], ""),
        (["identity"], ""),
        (["gzip"], "gzip"),
        (["X-GZIP"], "gzip"),
        ([" deflate , identity"], "deflate"),
    ],
)
def test_one_coding_is_named(values: list[str], coding: str) -> None:
    assert coding_of(values) == coding


@pytest.mark.parametrize("values", [["gzip, gzip"], ["gzip", "deflate"], ["br"], ["zstd"], ["compress"], ["gzip;q=1"]])
def test_several_or_unknown_codings_are_refused(values: list[str]) -> None:
    with pytest.raises(TransportError) as refused:
        coding_of(values)
    assert refused.value.failure is Failure.CODING

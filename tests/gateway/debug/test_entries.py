"""Entries of a stream, as the gateway reads them: strictly, and nothing of another tenant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.debug.entries import StreamId, parsed, stream_id
from gateway.streams.debug import RawEntry
from shared.debug_stream import StreamGap
from shared.errors import InvalidRequest
from tests.debug_events import EVENT, EXTENSION, OTHER_EXTENSION, event
from tests.gateway.debug.written import end, fields, line, start

WRITER = "pod-1:8080/0/00ff.0"


def read(found: dict[bytes, bytes]):
    return parsed(RawEntry("5-1", found), "acme", EXTENSION)


def test_an_event_is_read_with_who_wrote_it() -> None:
    entry = read(fields(WRITER, 7, EVENT))
    assert (entry.id, entry.worker, entry.writer, entry.number) == (StreamId(5, 1), "pod-1:8080/0", WRITER, 7)
    assert entry.event == EVENT
    assert entry.frame.startswith(b"id: 5-1\nevent: log\ndata: {")
    assert entry.readable


def test_a_gap_and_an_end_are_read() -> None:
    gap = StreamGap(count=3, reason="overflow")
    assert read(fields(WRITER, 1, gap)).gap == gap
    assert read(fields(WRITER, 1, None)).ends


def test_the_marks_of_an_execution_are_the_platforms() -> None:
    assert (read(fields(WRITER, 1, start("e"))).mark, read(fields(WRITER, 1, end("e"))).mark) == ("start", "end")
    assert read(fields(WRITER, 1, line("e"))).mark is None


@pytest.mark.parametrize("changes", [{"tenant_id": "globex"}, {"extension_id": OTHER_EXTENSION}])
def test_an_event_of_another_tenant_or_extension_is_not_shown(changes: dict[str, str]) -> None:
    entry = read(fields(WRITER, 1, event("theirs", **changes)))
    assert not entry.readable
    assert entry.frame == b""


GOOD = fields(WRITER, 1, EVENT)


@pytest.mark.parametrize(
    "changes",
    [
        {b"event": b""},
        {b"event": b"{"},
        {b"event": b"[]"},
        {b"event": b"\xff"},
        {b"event": GOOD[b"event"].replace(b'"seq":2', b'"seq":"2"')},
        {b"writer": b""},
        {b"writer": b"pod/x/y"},
        {b"writer": b"a/0/0\n"},
        {b"number": b""},
        {b"number": b"0"},
        {b"number": b"-1"},
        {b"number": b"1" * 19},
    ],
)
def test_what_is_not_an_entry_is_unreadable_and_nothing_worse(changes: dict[bytes, bytes]) -> None:
    assert read(GOOD).readable
    assert not read({**GOOD, **changes}).readable


@given(st.dictionaries(st.sampled_from([b"writer", b"number", b"event", b"gap", b"end", b"x"]), st.binary(max_size=64)))
def test_anything_in_a_stream_can_be_read_past(found: dict[bytes, bytes]) -> None:
    assert read(found).id == StreamId(5, 1)


@pytest.mark.parametrize("text", ["0-0", "1-0", "1700000000000-12", "18446744073709551615-18446744073709551615"])
def test_an_id_is_taken_as_redis_writes_it(text: str) -> None:
    assert str(stream_id(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "+",
        "$",
        "*",
        "1",
        "1-",
        "-1",
        "1-*",
        "(1-0",
        "1-0 ",
        "1-0\n",
        "0-0\r\nXADD",
        "0-0\\r\\nXADD",
        "1-0-0",
        "1.0-0",
        "0x1-0",
        "١-٠",
        "18446744073709551616-0",
        "0-18446744073709551616",
        "1" * 21 + "-0",
    ],
)
def test_anything_else_is_no_id(text: str) -> None:
    with pytest.raises(InvalidRequest, match="Last-Event-ID"):
        stream_id(text)


@given(st.tuples(st.integers(0, 99), st.integers(0, 99)), st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_ids_compare_by_time_and_then_by_number(first: tuple[int, int], second: tuple[int, int]) -> None:
    assert (StreamId(*first) < StreamId(*second)) == (first < second)

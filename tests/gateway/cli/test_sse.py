"""Server-Sent Events are read as the HTML Standard says, however the bytes arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.sse import EventParser, ServerEvent, StreamFormatError
from shared.limits import SSE_EVENT_MAX_BYTES

TEXT = (
    "\ufeff: hello\n\n"
    "retry: 2000\n"
    'id: 1-0\nevent: log\ndata: {"message": "größer"}\n\n'
    "data: two\ndata: lines\n\n"
    "data:no space\r\n\r\n"
    "event: gap\rdata: cr\r\r"
    ":\n\n"
    "event: nothing\n\n"
    "id\ndata: without id\n\n"
    "data: unfinished\n"
).encode()

EVENTS = [
    ServerEvent("log", '{"message": "größer"}', "1-0"),
    ServerEvent("message", "two\nlines", "1-0"),
    ServerEvent("message", "no space", "1-0"),
    ServerEvent("gap", "cr", "1-0"),
    ServerEvent("message", "without id", ""),
]


def test_a_stream_is_read_as_the_standard_says():
    assert list(EventParser().feed(TEXT)) == EVENTS


@given(st.lists(st.integers(0, len(TEXT)), max_size=12))
def test_where_the_pieces_end_makes_no_difference(cuts):
    parser, found, start = EventParser(), [], 0
    for end in [*sorted(cuts), len(TEXT)]:
        found += parser.feed(TEXT[start:end])
        start = end
    assert found == EVENTS


def test_the_pause_is_the_one_the_server_named_last():
    parser = EventParser()
    assert parser.retry_ms is None
    list(parser.feed(b"retry: 1500\n\nretry: soon\n\nretry: -1\n\n"))
    assert parser.retry_ms == 1500


def test_an_id_lasts_until_another_one_comes():
    parser = EventParser("0-7")
    assert [event.id for event in parser.feed(b"data: a\n\nid: 0-8\ndata: b\n\ndata: c\n\n")] == ["0-7", "0-8", "0-8"]


def test_a_heartbeat_may_name_a_position_and_half_an_event_names_none():
    parser = EventParser()
    assert list(parser.feed(b":\nid: 5-0\n\nid: 6-0\ndata: ")) == []
    assert parser.last_id == "5-0"


def test_an_id_with_a_zero_byte_is_passed_over():
    assert [event.id for event in EventParser("1").feed(b"id: 2\x00\ndata: a\n\n")] == ["1"]


@pytest.mark.parametrize("size", [SSE_EVENT_MAX_BYTES - 100, SSE_EVENT_MAX_BYTES - 7])
def test_an_event_up_to_the_limit_is_read(size):
    assert [len(event.data) for event in EventParser().feed(b"data: " + b"x" * size + b"\n\n")] == [size]


@pytest.mark.parametrize(
    "piece", [b"data: " + b"x" * SSE_EVENT_MAX_BYTES, b"data: x\n" * (SSE_EVENT_MAX_BYTES // 1 + 1)]
)
def test_an_event_over_the_limit_is_refused(piece):
    with pytest.raises(StreamFormatError, match="more than"):
        list(EventParser().feed(piece))

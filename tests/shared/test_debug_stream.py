"""How debug events stand in Redis: pinned bytes, and keys that nothing but ids can get into."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.debug_event import LEVELS, cut_text
from shared.debug_stream import StreamGap, Writer, decode_event, decode_gap, encode_event, encode_gap, stream_key
from shared.errors import InvalidRequest
from tests.debug_events import EVENT, EXTENSION, event

GOLDEN = Path(__file__).parent.parent / "contract" / "golden" / "debug"


def test_an_event_has_these_bytes() -> None:
    pinned = (GOLDEN / "event.json").read_bytes().rstrip(b"\n")
    assert encode_event(EVENT) == pinned
    assert decode_event(pinned) == EVENT


def test_what_an_event_does_not_say_is_left_out_and_read_as_its_default() -> None:
    pinned = (GOLDEN / "event_small.json").read_bytes().rstrip(b"\n")
    small = event(execution_id="")
    assert encode_event(small) == pinned
    assert decode_event(pinned) == small


def test_a_field_of_a_later_release_is_passed_over() -> None:
    assert decode_event(encode_event(EVENT)[:-1] + b',"later":[1]}') == EVENT


def test_a_gap_has_these_bytes() -> None:
    gap = StreamGap(count=12, reason="overflow")
    assert encode_gap(gap) == b'{"count":12,"reason":"overflow"}'
    assert decode_gap(encode_gap(gap)) == gap


def test_a_writer_has_these_bytes() -> None:
    assert Writer("pod-1:8080", 3, "00ff.2").text() == "pod-1:8080/3/00ff.2"


def test_a_key_is_prefix_tenant_and_extension() -> None:
    assert stream_key("ext-debug:", "acme", EXTENSION) == f"ext-debug:acme:{EXTENSION}"


@pytest.mark.parametrize("tenant", ["", "*", "a:b", "x}:{y", "a b", "a\r\nXADD", "a" * 65, "é"])
def test_a_tenant_that_is_none_never_becomes_part_of_a_key(tenant: str) -> None:
    with pytest.raises(InvalidRequest):
        stream_key("ext-debug:", tenant, EXTENSION)


@pytest.mark.parametrize(
    "extension", ["", "*", "x}:{y", "hello", EXTENSION.upper(), f"{EXTENSION}\n", "publisher.name"]
)
def test_an_extension_that_is_none_never_becomes_part_of_a_key(extension: str) -> None:
    with pytest.raises(InvalidRequest):
        stream_key("ext-debug:", "acme", extension)


def test_levels_rise() -> None:
    assert LEVELS == ("trace", "debug", "info", "warn", "error")


@given(st.text(st.characters(exclude_categories=())), st.integers(0, 64))
def test_a_cut_text_fits_is_a_beginning_and_is_valid(text: str, limit_bytes: int) -> None:
    cut, was_cut = cut_text(text, limit_bytes)
    whole = text.encode("utf-8", "replace")
    if was_cut:
        assert len(whole) > limit_bytes
        assert len(cut.encode()) <= limit_bytes
        assert whole.startswith(cut.encode())
        assert limit_bytes - len(cut.encode()) < 4  # no more than the character that did not fit is lost
    else:
        assert cut == text
        assert len(whole) <= limit_bytes

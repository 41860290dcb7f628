"""JSON that may be printed: it means the same, and shows what it holds."""

from __future__ import annotations

import json
import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.terminal_safe import terminal_safe

MARKS = "\x7f\x80\x9b\x9f\u061c\u200b\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069\ufeff"
TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from(MARKS + "äé€𝄞\u2027\u202f\u00a0\u2070"))


@given(st.dictionaries(TEXT, TEXT))
def test_the_document_means_the_same_and_holds_no_control_or_bidirectional_mark(value: dict[str, str]) -> None:
    safe = terminal_safe(msgspec.json.encode(value))
    assert json.loads(safe) == value
    kinds = {unicodedata.category(letter) for letter in safe.decode()}
    assert kinds & {"Cc", "Zl", "Zp"} == set()
    assert set(MARKS) & set(safe.decode()) == set()


@pytest.mark.parametrize("document", [b"", b"{}", b'{"a":"b"}', '"ünïcödé €𝄞"'.encode()])
def test_what_is_harmless_stays_as_it_is(document: bytes) -> None:
    assert terminal_safe(document) == document


def test_the_bytes_are_pinned() -> None:
    assert terminal_safe(msgspec.json.encode("a\x1b\x7f\x9b\u202e\ufeff")) == b'"a\\u001b\\u007f\\u009b\\u202e\\ufeff"'

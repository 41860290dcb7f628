"""The strict JSON reader: one document, one reading, bounded."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.strict_json import DUPLICATES_MAX_COUNT, INTEGER_MAX, StrictJsonError, loads


def read(data, max_bytes=1_000, max_depth=4):
    return loads(data, max_bytes=max_bytes, max_depth=max_depth)


def refused(data, **limits):
    with pytest.raises(StrictJsonError) as caught:
        read(data, **limits)
    return caught.value.code


def test_a_plain_document_is_read():
    assert read(b'{"a": [1, 2.5, true, null, "\xc3\xa9"]}') == {"a": [1, 2.5, True, None, "é"]}


@pytest.mark.parametrize("data", [b'{"a":1,"a":1}', b'{"a":{"b":1,"c":2,"b":3}}', b'{"a":1,"\\u0061":2}'])
def test_a_name_that_stands_twice_is_refused_at_any_depth(data):
    assert refused(data) == "duplicate_key"


def test_every_name_that_stands_twice_is_named():
    with pytest.raises(StrictJsonError) as caught:
        read(b'{"a":1,"b":{"c":1,"c":2},"a":3,"d":4}')
    assert [message.split()[2] for message in caught.value.messages] == ['"c"', '"a"']
    many = b"{" + b",".join(b'"%d":0,"%d":0' % (n, n) for n in range(1000)) + b"}"
    with pytest.raises(StrictJsonError) as caught:
        read(many, max_bytes=100_000)
    assert len(caught.value.messages) == DUPLICATES_MAX_COUNT


def test_the_same_name_in_two_objects_is_read():
    assert read(b'[{"a":1},{"a":2}]') == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("data", [b"NaN", b"[Infinity]", b"-Infinity", b"1e999", b"-1e999"])
def test_what_is_no_finite_number_is_refused(data):
    assert refused(data) == "number"


@pytest.mark.parametrize("data", [b"1e-400", b"0e5", b"0e99999", b"-0.00000e1", b"0." + b"0" * 400 + b"1"])
def test_a_number_that_a_double_loses_and_a_database_keeps_is_refused(data):
    assert refused(data) == "number"


def test_a_number_is_read_up_to_its_length_and_no_longer():
    assert read(b"0." + b"1" * 62) == float("0." + "1" * 62)
    assert refused(b"0." + b"1" * 63) == "number"
    assert read(b"[0.0, -0.5, 5e-324, 1.7976931348623157e308]") == [0.0, -0.5, 5e-324, 1.7976931348623157e308]


def test_a_whole_number_is_read_up_to_what_a_double_holds_and_no_further():
    assert read(str(INTEGER_MAX).encode()) == INTEGER_MAX
    assert read(str(-INTEGER_MAX).encode()) == -INTEGER_MAX
    assert refused(str(INTEGER_MAX + 1).encode()) == "number"
    assert refused(b"9" * 900) == "number"


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[1,]", b"{'a':1}", b"\xff", b'"\xed\xa0\x80"', b'"a\nb"', b"1 2", b"\x00"]
)
def test_what_is_no_json_is_refused(data):
    assert refused(data) == "json"


def test_a_byte_order_mark_is_refused():
    assert refused(b"\xef\xbb\xbf{}") == "json"


def test_a_lone_surrogate_is_refused_and_a_pair_is_read():
    assert refused(b'"\\ud800"') == "json"
    assert refused(b'{"\\udc00": 1}') == "json"
    assert read(b'"\\ud83d\\ude00"') == "😀"


def test_nesting_is_read_up_to_the_limit_and_no_deeper():
    assert read(b"[[[[]]]]") == [[[[]]]]
    assert read(b"[[[[1]]]]") == [[[[1]]]]
    assert refused(b"[[[[[1]]]]]") == "depth"


def test_nesting_that_would_exhaust_the_interpreter_is_refused():
    assert refused(b"[" * 500_000, max_bytes=1_000_000) == "depth"
    assert refused(b'{"a":' * 100_000, max_bytes=1_000_000) == "depth"


def test_a_document_is_read_up_to_its_size_limit_and_no_longer():
    assert read(b'"abc"', max_bytes=5) == "abc"
    assert refused(b'"abcd"', max_bytes=5) == "size"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-INTEGER_MAX, INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_what_python_writes_is_read_back(value):
    data = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if b"\xed" not in data:
        assert read(data, max_bytes=1 << 20, max_depth=32) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_with_a_code(data):
    try:
        read(data)
    except StrictJsonError as error:
        assert error.code in {"json", "size", "duplicate_key", "number", "depth"}

"""WIT values ↔ JSON: every type both ways, each form as documented, everything else a typed error with its place."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import limits
from shared.limits import LIFTED_LIST_MAX_COUNT, WIT_TYPE_MAX_COUNT, WIT_TYPE_MAX_DEPTH
from shared.provider_files import shipped
from shared.wit_json import FieldCase, UnmappableTypeError, WitJsonError, json_name
from shared.wit_json_reader import from_json
from shared.wit_json_writer import to_json
from shared.wit_types import BYTES, STRING, Enum, ListOf, OptionOf, Primitive, Record, ResultOf, TupleOf, WitType
from tests.shared.wit_values import values, wit_types

CAMEL, SNAKE = FieldCase.CAMEL, FieldCase.SNAKE
cases = st.sampled_from(list(FieldCase))
patient = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])

LINE = Record("line", (("item-id", STRING), ("unit-rate", Primitive("f64")), ("note", OptionOf(STRING))))
BILL = Record("bill", (("lines", ListOf(LINE)), ("kind", Enum("kind", ("one-off", "repeated")))))


def written(wit: WitType, value: Any, case: FieldCase = CAMEL) -> Any:
    return to_json(wit, case)(value)


def read(wit: WitType, document: Any, case: FieldCase = CAMEL) -> Any:
    return from_json(wit, case)(document if isinstance(document, bytes) else json.dumps(document).encode())


# ---- properties ---------------------------------------------------------------------------------------------


@patient
@given(data=st.data(), case=cases)
def test_a_value_of_any_type_comes_back_as_it_was(data: st.DataObject, case: FieldCase) -> None:
    wit = data.draw(wit_types)
    value = data.draw(values(wit))
    document = to_json(wit, case)(value)
    text = msgspec.json.encode(document)
    assert json.loads(text) == document  # as any other reader has it
    assert from_json(wit, case)(text) == value


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "ok", "err"]), inner),
    max_leaves=8,
)


@patient
@given(wit=wit_types, document=json_values)
def test_whatever_a_service_answers_is_a_value_of_the_type_or_a_typed_error(wit: WitType, document: Any) -> None:
    try:
        value = read(wit, document)
    except WitJsonError as error:
        assert error.path.startswith("$")
        assert error.reason
    else:
        to_json(wit, CAMEL)(value)  # which refuses what is none


@patient
@given(wit=wit_types, text=st.binary(max_size=60))
def test_bytes_of_any_kind_never_raise_anything_else(wit: WitType, text: bytes) -> None:
    try:
        from_json(wit, CAMEL)(text)
    except WitJsonError as error:
        assert str(error).startswith("$")


frame_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@patient
@given(wit=wit_types, value=frame_values)
def test_whatever_a_sandbox_says_is_written_as_its_type_or_a_typed_error(wit: WitType, value: Any) -> None:
    try:
        document = written(wit, value)
    except WitJsonError as error:
        assert error.path.startswith("$")
    else:
        from_json(wit, CAMEL)(msgspec.json.encode(document))


@pytest.mark.parametrize("provider", list(shipped()), ids=lambda one: one.name)
@patient
@given(data=st.data())
def test_every_type_of_the_shipped_interfaces_goes_both_ways(provider: Any, data: st.DataObject) -> None:
    wit = data.draw(st.sampled_from(list(provider.interface.types.values())))
    value = data.draw(values(wit))
    assert from_json(wit, provider.case)(msgspec.json.encode(to_json(wit, provider.case)(value))) == value


# ---- the forms ----------------------------------------------------------------------------------------------


def test_names_are_written_in_the_case_of_the_host_application() -> None:
    bill = [[["a", 1.5, None]], "one-off"]
    assert written(BILL, bill) == {"lines": [{"itemId": "a", "unitRate": 1.5}], "kind": "one-off"}
    assert written(BILL, bill, SNAKE) == {"lines": [{"item_id": "a", "unit_rate": 1.5}], "kind": "one-off"}
    assert [json_name("po-number-2x", case) for case in FieldCase] == ["poNumber2x", "po_number_2x"]


def test_what_is_none_is_left_out_and_read_as_absent_or_null() -> None:
    assert written(LINE, ["a", 1.0, "x"]) == {"itemId": "a", "unitRate": 1.0, "note": "x"}
    for document in ({"itemId": "a", "unitRate": 1}, {"itemId": "a", "unitRate": 1, "note": None}):
        assert read(LINE, document) == ["a", 1.0, None]
    assert written(ListOf(OptionOf(STRING)), ["a", None]) == ["a", None]
    assert read(ListOf(OptionOf(STRING)), ["a", None]) == ["a", None]


def test_members_that_no_type_asks_for_are_ignored_whatever_they_hold() -> None:
    document = {"itemId": "a", "unitRate": 1, "extra": [{"deep": [None]}], "unit_rate": "x"}
    assert read(LINE, document) == ["a", 1.0, None]


@pytest.mark.parametrize(
    ("wit", "value", "document"),
    [
        (ResultOf(STRING, Enum("e", ("no-way",))), (True, "a"), {"ok": "a"}),
        (ResultOf(STRING, Enum("e", ("no-way",))), (False, "no-way"), {"err": "no-way"}),
        (ResultOf(None, None), (True, None), {"ok": None}),
        (ResultOf(None, None), (False, None), {"err": None}),
        (TupleOf((STRING, Primitive("u8"))), ["a", 1], ["a", 1]),
        (BYTES, b"\x00\xff\xfe", "AP/+"),
        (BYTES, b"", ""),
        (Primitive("char"), "\N{GRINNING FACE}", "\N{GRINNING FACE}"),
        (Primitive("bool"), True, True),
        (Primitive("u64"), 2**53 - 1, 2**53 - 1),
        (Primitive("u64"), 2**53, "9007199254740992"),
        (Primitive("u64"), 2**64 - 1, "18446744073709551615"),
        (Primitive("s64"), -(2**63), "-9223372036854775808"),
        (Primitive("f64"), 0.1, 0.1),
    ],
)
def test_each_form_is_the_documented_one_both_ways(wit: WitType, value: Any, document: Any) -> None:
    assert written(wit, value) == document
    assert read(wit, document) == value


@pytest.mark.parametrize("number", [b"20", b"20.0", b"2e1", b"200E-1"])
def test_a_whole_number_is_one_however_it_is_written(number: bytes) -> None:
    assert read(Primitive("u32"), number) == 20
    assert read(Primitive("u64"), number) == 20
    assert type(read(Primitive("u32"), number)) is int


def test_a_wide_number_may_be_text_even_where_it_need_not_be() -> None:
    assert read(Primitive("u64"), b'"20"') == 20
    assert read(Primitive("s64"), b'"-20"') == -20


# ---- refusals, with their place -----------------------------------------------------------------------------

INTEGER_BOUNDS = [
    ("u8", 0, 255),
    ("u16", 0, 65_535),
    ("u32", 0, 2**32 - 1),
    ("s8", -128, 127),
    ("s16", -32_768, 32_767),
    ("s32", -(2**31), 2**31 - 1),
]


@pytest.mark.parametrize(("name", "low", "high"), INTEGER_BOUNDS)
def test_an_integer_is_taken_at_its_bounds_and_refused_beyond(name: str, low: int, high: int) -> None:
    for number in (low, high):
        assert read(Primitive(name), number) == number
        assert written(Primitive(name), number) == number
    for number in (low - 1, high + 1):
        for convert in (read, written):
            with pytest.raises(WitJsonError, match=rf"from {low} to {high}"):
                convert(Primitive(name), number)


@pytest.mark.parametrize(("name", "low", "high"), [("u64", 0, 2**64 - 1), ("s64", -(2**63), 2**63 - 1)])
def test_a_wide_integer_is_refused_beyond_its_bounds_and_as_a_number_that_doubles_cannot_hold(
    name: str, low: int, high: int
) -> None:
    for number in (low, high):
        assert read(Primitive(name), str(number)) == number
    for text in (str(low - 1), str(high + 1)):
        with pytest.raises(WitJsonError, match="must be"):
            read(Primitive(name), text)
    with pytest.raises(WitJsonError, match="as text beyond 9007199254740991"):
        read(Primitive(name), 2**53)
    for text in ("01", "+1", "1.0", "0x1", "", " 1", "1_0", "-0", "1e3", "1" * 21):
        with pytest.raises(WitJsonError, match="in decimal"):
            read(Primitive(name), text)


@pytest.mark.parametrize("name", ["f32", "f64"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_in_json_is_refused_in_both_directions(name: str, value: float) -> None:
    with pytest.raises(WitJsonError, match="finite"):
        written(Primitive(name), value)
    with pytest.raises(WitJsonError):
        read(Primitive(name), json.dumps(value).encode())


def test_a_number_that_32_bits_cannot_hold_is_refused_and_others_are_rounded() -> None:
    with pytest.raises(WitJsonError, match="32 bits"):
        read(Primitive("f32"), 1e39)
    assert read(Primitive("f32"), 0.1) == pytest.approx(0.1)
    assert read(Primitive("f32"), 0.1) != 0.1


REFUSED = [
    (LINE, {"unitRate": 1}, "$", "itemId"),
    (LINE, {"itemId": 1, "unitRate": 1}, "$.itemId", "str"),
    (LINE, {"itemId": "a", "unitRate": "1"}, "$.unitRate", "float"),
    (LINE, {"itemId": "a", "unitRate": True}, "$.unitRate", "float"),
    (LINE, {"itemId": None, "unitRate": 1}, "$.itemId", "null"),
    (LINE, [], "$", "object"),
    (LINE, None, "$", "object"),
    (BILL, {"lines": [{"itemId": "a", "unitRate": 1}, {"itemId": "a"}], "kind": "one-off"}, "$.lines[1]", "unitRate"),
    (BILL, {"lines": [], "kind": "oneOff"}, "$.kind", "one-off, repeated"),
    (BILL, {"lines": {}, "kind": "one-off"}, "$.lines", "array"),
    (ListOf(TupleOf((STRING, Primitive("u8")))), [["a", 1], ["b", 256]], "$[1][1]", "255"),
    (ListOf(TupleOf((STRING, STRING))), [["a"]], "$[0]", "length 2"),
    (ListOf(Primitive("u8")), "A", "$", "base64"),
    (BYTES, "AP_-", "$", "base64"),
    (BYTES, "A P/+", "$", "base64"),
    (Primitive("char"), "ab", "$", "one character"),
    (Primitive("char"), "", "$", "one character"),
    (Primitive("u32"), 1.5, "$", "whole"),
    (Primitive("bool"), 1, "$", "bool"),
    (ResultOf(STRING, STRING), {}, "$", "either ok or err"),
    (ResultOf(STRING, STRING), {"ok": "a", "err": "b"}, "$", "either ok or err"),
    (ResultOf(None, STRING), {"ok": 1}, "$.ok", "null"),
    (ResultOf(Primitive("u8"), STRING), {"ok": 256}, "$.ok", "255"),
    (STRING, b'"\\ud800"', "$", "JSON"),
    (STRING, b'"\xff"', "$", "JSON"),
    (STRING, b"", "$", "JSON"),
    (STRING, b'"a" "b"', "$", "JSON"),
    (LINE, b'{"x":' * 100_000, "$", "deeply"),
    (Primitive("u64"), b"9" * 10_000, "$", "range"),
    (Primitive("u8"), b"1e308", "$", "255"),
]


@pytest.mark.parametrize(("wit", "document", "path", "says"), REFUSED)
def test_an_answer_of_another_type_is_refused_with_its_place(wit: WitType, document: Any, path: str, says: str) -> None:
    with pytest.raises(WitJsonError) as refused:
        read(wit, document)
    assert refused.value.path == path
    assert says in refused.value.reason
    assert str(refused.value) == f"{path}: {refused.value.reason}"


UNSAYABLE = [
    (LINE, ["a", 1.0], "$", "3 values"),
    (LINE, "abc", "$", "3 values"),
    (LINE, ["a", 1, None], "$.unitRate", "float"),
    (LINE, [1, 1.0, None], "$.itemId", "string"),
    (LINE, ["\ud800", 1.0, None], "$.itemId", "scalar"),
    (BILL, [[["a", 1.0, None], ["a", math.nan, None]], "one-off"], "$.lines[1].unitRate", "finite"),
    (BILL, [[], "oneOff"], "$.kind", "one-off"),
    (BILL, [[], ["one-off"]], "$.kind", "one-off"),
    (BILL, [None, "one-off"], "$.lines", "list"),
    (Primitive("u8"), True, "$", "whole"),
    (Primitive("u8"), 1.0, "$", "whole"),
    (Primitive("bool"), 1, "$", "bool"),
    (Primitive("char"), "ab", "$", "one character"),
    (BYTES, "AA==", "$", "bytes"),
    (BYTES, [1], "$", "bytes"),
    (ResultOf(STRING, STRING), [1, "a"], "$", "bool"),
    (ResultOf(STRING, STRING), [True], "$", "2 values"),
    (ResultOf(None, STRING), [True, "a"], "$.ok", "no payload"),
    (ResultOf(None, STRING), [False, 1], "$.err", "string"),
    (TupleOf((STRING,)), ["a", "b"], "$", "1 values"),
]


@pytest.mark.parametrize(("wit", "value", "path", "says"), UNSAYABLE)
def test_a_value_of_another_type_is_not_sent(wit: WitType, value: Any, path: str, says: str) -> None:
    with pytest.raises(WitJsonError) as refused:
        written(wit, value)
    assert (refused.value.path, says in refused.value.reason) == (path, True)


# ---- limits -------------------------------------------------------------------------------------------------


def test_a_list_may_be_as_long_as_one_that_crosses_to_a_guest_and_no_longer() -> None:
    wit = ListOf(Primitive("bool"))
    most = [True] * LIFTED_LIST_MAX_COUNT
    assert read(wit, most) == most
    assert written(wit, most) == most
    for convert in (read, written):
        with pytest.raises(WitJsonError, match=str(LIFTED_LIST_MAX_COUNT)):
            convert(wit, [*most, True])


def test_either_way_there_may_be_so_many_values_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "shared.wit_json.PROVIDER_VALUES_MAX_COUNT", 8
    )  # two lines are two items with three fields each
    reads, writes = from_json(ListOf(LINE), CAMEL), to_json(ListOf(LINE), CAMEL)
    one, line = {"itemId": "a", "unitRate": 1}, ["a", 1.0, None]
    for _ in range(2):  # each has its own room
        assert len(reads(json.dumps([one, one]).encode())) == 2
        with pytest.raises(WitJsonError, match="more than 8 values"):
            reads(json.dumps([one, one, one]).encode())
        assert len(writes([line, line])) == 2
        with pytest.raises(WitJsonError, match="more than 8 values"):
            writes([line, line, line])


def test_what_a_short_answer_leaves_out_counts_before_it_is_built() -> None:
    wide = Record("wide", tuple((f"f{letter}{at}", OptionOf(STRING)) for letter in "abcd" for at in range(100)))
    tiny = b"[" + b",".join([b"{}"] * (limits.PROVIDER_VALUES_MAX_COUNT // 400 + 1)) + b"]"
    with pytest.raises(WitJsonError, match=r"^has more than 250000 values|has more than 250000 values$"):
        read(ListOf(wide), tiny)


def nested(depth: int) -> WitType:
    wit: WitType = STRING
    for _ in range(depth - 1):
        wit = ListOf(wit)
    return wit


@pytest.mark.parametrize("compiled", [to_json, from_json])
def test_types_are_nested_so_deep_and_no_deeper(compiled: Any) -> None:
    compiled(nested(WIT_TYPE_MAX_DEPTH), CAMEL)
    with pytest.raises(UnmappableTypeError, match="deep"):
        compiled(nested(WIT_TYPE_MAX_DEPTH + 1), CAMEL)


@pytest.mark.parametrize("compiled", [to_json, from_json])
def test_a_type_has_so_many_parts_and_no_more(compiled: Any) -> None:
    compiled(TupleOf((STRING,) * (WIT_TYPE_MAX_COUNT - 1)), CAMEL)
    with pytest.raises(UnmappableTypeError, match="parts"):
        compiled(TupleOf((STRING,) * WIT_TYPE_MAX_COUNT), CAMEL)
    doubled: WitType = STRING
    for _ in range(WIT_TYPE_MAX_DEPTH - 1):
        doubled = TupleOf((doubled, doubled))
    with pytest.raises(UnmappableTypeError, match="parts"):
        compiled(doubled, CAMEL)


@pytest.mark.parametrize("compiled", [to_json, from_json])
@pytest.mark.parametrize(
    ("wit", "says"),
    [
        (OptionOf(OptionOf(STRING)), "option of an option"),
        (ListOf(OptionOf(OptionOf(STRING))), "option of an option"),
        (Record("r", (("ab-c", STRING), ("ab-C", STRING))), "two fields are abC"),
    ],
)
def test_a_type_without_one_form_in_json_is_refused(compiled: Any, wit: WitType, says: str) -> None:
    with pytest.raises(UnmappableTypeError, match=says):
        compiled(wit, CAMEL)

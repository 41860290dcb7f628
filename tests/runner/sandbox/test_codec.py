"""The value codec: every type of the world survives both directions, and the library's own codec agrees."""

from __future__ import annotations

import ctypes
import struct
from ctypes import addressof
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wasmtime import Store
from wasmtime.component import Component, Linker

import runner.sandbox
from runner.sandbox.codec import layout
from runner.sandbox.codec.lift import LiftError, kind_of, lift_value, lifter
from runner.sandbox.codec.lower import Borrowed, Owned, lower_value, lowerer
from runner.sandbox.engine import EngineOptions, make_engine
from runner.sandbox.guest import Handler
from runner.sandbox.linking import host_function
from shared.wit_parser import load_world
from shared.wit_types import U8, Enum, Function, ListOf, OptionOf, Primitive, Record, ResultOf, TupleOf, WitType

WORLD = load_world()
OWNED = Owned()

NUMBERS = {
    "bool": st.booleans(),
    "u8": st.integers(0, 2**8 - 1),
    "u16": st.integers(0, 2**16 - 1),
    "u32": st.integers(0, 2**32 - 1),
    "u64": st.integers(0, 2**64 - 1),
    "s8": st.integers(-(2**7), 2**7 - 1),
    "s16": st.integers(-(2**15), 2**15 - 1),
    "s32": st.integers(-(2**31), 2**31 - 1),
    "s64": st.integers(-(2**63), 2**63 - 1),
    "f32": st.floats(width=32, allow_nan=False),
    "f64": st.floats(allow_nan=False),
    "char": st.characters(codec="utf-8"),
    "string": st.text(st.characters(codec="utf-8"), max_size=40),
}


def values(wit: WitType) -> st.SearchStrategy[Any]:
    """Values of a type, in the shape in which they are lifted."""
    match wit:
        case Primitive(name=name):
            return NUMBERS[name]
        case ListOf(element=element):
            return st.binary(max_size=200) if element == U8 else st.lists(values(element), max_size=4)
        case OptionOf(inner=inner):
            return st.none() | values(inner)
        case TupleOf(items=items):
            return st.tuples(*(values(item) for item in items)).map(list)
        case ResultOf(ok=ok, err=err):
            good = st.none() if ok is None else values(ok)
            bad = st.none() if err is None else values(err)
            return st.tuples(st.just(True), good) | st.tuples(st.just(False), bad)
        case Record(fields=fields):
            return st.tuples(*(values(field) for _, field in fields)).map(list)
        case Enum(cases=cases):
            return st.sampled_from(cases)


def types_of(world: Any) -> list[WitType]:
    """Every parameter and result type of every function, once."""
    found: list[WitType] = [Primitive(name) for name in NUMBERS]
    for interface in world.interfaces.values():
        for function in interface.functions:
            found += [wit for _, wit in function.params]
            found += [function.result] if function.result is not None else []
    for function in world.exports:
        found += [wit for _, wit in function.params] + [function.result]
    return list({repr(wit): wit for wit in found}.values())


@pytest.mark.parametrize("wit", types_of(WORLD), ids=lambda wit: getattr(wit, "name", type(wit).__name__))
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_value_of_any_type_of_the_world_comes_back_from_either_memory(wit: WitType, data: st.DataObject) -> None:
    value = data.draw(values(wit))
    lower, lift, kind = lowerer(wit), lifter(wit), kind_of(wit)
    for memory in (Borrowed(), OWNED):
        slot = ctypes.create_string_buffer(lower_value(lower, kind, value, memory), layout.VAL_BYTES)
        assert lift_value(lift, kind, addressof(slot)) == value
        if memory is OWNED:
            layout.val_delete(addressof(slot))


class Echo:
    """The self-test component in one store."""

    def __init__(self) -> None:
        engine = make_engine(EngineOptions())
        wat = Path(runner.sandbox.__file__).with_name("selftest.wat").read_bytes()
        self.component = Component(engine, wat)
        self.engine, self.linker = engine, Linker(engine)
        self.handler = Handler(WORLD.exports[0])

    def ours(self, request: Any) -> Any:
        store = self._store()
        function = self.linker.instantiate(store, self.component).get_func(store, "handler")
        return self.handler.call(store, function, request)

    def theirs(self, request: Any) -> Any:
        store = self._store()
        function = self.linker.instantiate(store, self.component).get_func(store, "handler")
        assert function is not None
        (context, (method, url, headers, body)) = request

        def record(**fields: Any) -> Any:
            made = type("Record", (), {})()
            for name, value in fields.items():
                setattr(made, name.replace("_", "-"), value)
            return made

        names = ("request_id", "tenant_id", "extension_id", "install_id", "version_id")
        answer = function(
            store,
            record(
                context=record(**dict(zip(names, context, strict=True))),
                http=record(
                    method=method,
                    url=url,
                    headers=[record(name=name, value=value) for name, value in headers],
                    body=body,
                ),
            ),
        )
        pairs = [[header.name, header.value] for header in answer.headers]
        return [answer.status, pairs, answer.body]

    def _store(self) -> Store:
        store = Store(self.engine)
        store.set_epoch_deadline(1)
        return store


ECHO = Echo()
TEXT = NUMBERS["string"]


@settings(max_examples=60, deadline=None)
@given(
    headers=st.lists(st.tuples(TEXT, TEXT), max_size=6),
    body=st.none() | st.binary(max_size=5000),
    install=st.none() | TEXT,
    url=TEXT,
)
def test_our_codec_and_the_librarys_agree_on_a_real_call(
    headers: list[tuple[str, str]], body: bytes | None, install: str | None, url: str
) -> None:
    request = (("r", "t", "e", install, None), ("POST", url, headers, body))
    expected = [200, [list(pair) for pair in headers], body]
    assert ECHO.ours(request) == expected
    assert ECHO.theirs(request) == expected


def test_a_value_of_another_kind_is_refused_instead_of_read() -> None:
    slot = ctypes.create_string_buffer(lower_value(lowerer(U8), kind_of(U8), 7, OWNED), layout.VAL_BYTES)
    for wit in types_of(WORLD):
        if kind_of(wit) != kind_of(U8):
            with pytest.raises(LiftError):
                lift_value(lifter(wit), kind_of(wit), addressof(slot))


def test_a_record_with_another_number_of_fields_is_refused() -> None:
    two, three = (Record("r", tuple((name, U8) for name in names)) for names in ("ab", "abc"))
    slot = ctypes.create_string_buffer(lower_value(lowerer(two), kind_of(two), [1, 2], OWNED), layout.VAL_BYTES)
    with pytest.raises(LiftError, match="3"):
        lift_value(lifter(three), kind_of(three), addressof(slot))
    layout.val_delete(addressof(slot))


@pytest.mark.parametrize(
    "function",
    [function for interface in WORLD.interfaces.values() for function in interface.functions],
    ids=lambda function: function.name,
)
def test_no_exception_leaves_a_host_function_whatever_the_host_does(function: Function) -> None:
    def explode(*_: object) -> object:
        raise KeyboardInterrupt("a host that fails in the worst way")

    arguments = b"\0" * (layout.VAL_BYTES * max(1, len(function.params)))
    inside, outside = ctypes.create_string_buffer(arguments), ctypes.create_string_buffer(layout.VAL_BYTES)
    host_function("interface", function, explode)(
        0, 0, 0, addressof(inside), len(function.params), addressof(outside), int(function.result is not None)
    )
    if function.result is not None:
        lift_value(lifter(function.result), kind_of(function.result), addressof(outside))
        layout.val_delete(addressof(outside))


def test_the_layout_this_code_relies_on_is_the_one_of_the_installed_wasmtime() -> None:
    layout.check_layout()
    assert struct.calcsize("<QQQQ") == layout.VAL_BYTES

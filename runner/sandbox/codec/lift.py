"""Lifting: component values in C memory → Python values.

`lifter(type)` compiles a WIT type into a function of the two payload words of a value. What a guest hands over was
type-checked by wasmtime; its kinds are compared again here all the same, because a wrong one would make this code
read wild memory.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from ctypes import string_at
from typing import Any, Final, NoReturn

from runner.sandbox.codec.layout import (
    ENTRY_BYTES,
    KIND_BOOL,
    KIND_ENUM,
    KIND_LIST,
    KIND_OPTION,
    KIND_RECORD,
    KIND_RESULT,
    KIND_STRING,
    KIND_TUPLE,
    KIND_U8,
    NUMBER_KINDS,
    UNION_OFFSET,
    VAL,
    VAL_BYTES,
    WIDTH_MASK,
)
from shared.limits import FRAME_MAX_BYTES
from shared.wit_types import U8, Enum, ListOf, OptionOf, Primitive, Record, ResultOf, TupleOf, WitType

Lift = Callable[[int, int], Any]

LIST_MAX_ITEMS: Final = 100_000  # of anything but bytes; a list element costs about 200 bytes of Python
_F64: Final = struct.Struct("<d")
_F32: Final = struct.Struct("<f")
_U64: Final = struct.Struct("<Q")
_U32: Final = struct.Struct("<I")


class LiftError(ValueError):
    """A value that is not of the announced type, or larger than may cross the boundary."""


def kind_of(wit: WitType) -> int:
    """The kind byte of values of this type."""
    match wit:
        case Primitive(name="bool"):
            return KIND_BOOL
        case Primitive(name="string"):
            return KIND_STRING
        case Primitive(name=name):
            return NUMBER_KINDS[name]
        case ListOf():
            return KIND_LIST
        case OptionOf():
            return KIND_OPTION
        case ResultOf():
            return KIND_RESULT
        case Record():
            return KIND_RECORD
        case TupleOf():
            return KIND_TUPLE
        case Enum():
            return KIND_ENUM


def lifter(wit: WitType) -> Lift:
    """A function (a, b) → Python value for values of type `wit`."""
    match wit:
        case Primitive(name=name):
            return _primitive(name)
        case ListOf(element=element):
            return _lift_bytes if element == U8 else _list(element)
        case OptionOf(inner=inner):
            return _option(inner)
        case ResultOf():
            return _result(wit)
        case Record():
            return _record(wit)
        case TupleOf(items=items):
            return _tuple(items)
        case Enum():
            return _lift_string


def lift_value(lift: Lift, kind: int, address: int) -> Any:
    """The value at `address`, whose kind must be `kind`. Raises `LiftError`."""
    found, a, b, _ = VAL.unpack(string_at(address, VAL_BYTES))
    if found & 0xFF != kind:
        _wrong_kind(found, kind)
    return lift(a, b)


def _wrong_kind(found: int, kind: int) -> NoReturn:
    raise LiftError(f"a value of kind {found & 0xFF} stands where kind {kind} was announced")


def _lift_string(a: int, b: int) -> str:
    if not a:
        return ""
    if a > FRAME_MAX_BYTES:
        raise LiftError(f"a string of {a} bytes is larger than {FRAME_MAX_BYTES}")
    return string_at(b, a).decode()


def _lift_bytes(a: int, b: int) -> bytes:
    if not a:
        return b""
    if a > FRAME_MAX_BYTES:
        raise LiftError(f"a list of {a} bytes is larger than {FRAME_MAX_BYTES}")
    if string_at(b, 1)[0] != KIND_U8:
        _wrong_kind(string_at(b, 1)[0], KIND_U8)
    return string_at(b, a * VAL_BYTES)[UNION_OFFSET::VAL_BYTES]


def _primitive(name: str) -> Lift:
    if name == "string":
        return _lift_string
    if name == "bool":
        return lambda a, _b: bool(a & 1)
    if name == "f64":
        return lambda a, _b: _F64.unpack(_U64.pack(a))[0]
    if name == "f32":
        return lambda a, _b: _F32.unpack(_U32.pack(a & 0xFFFFFFFF))[0]
    if name == "char":
        return lambda a, _b: chr(a & 0x1FFFFF)
    mask = WIDTH_MASK[name]
    if name.startswith("u"):
        return lambda a, _b: a & mask
    sign = (mask >> 1) + 1
    return lambda a, _b: ((a & mask) ^ sign) - sign


def _list(element: WitType) -> Lift:
    lift, kind = lifter(element), kind_of(element)

    def run(a: int, b: int) -> list[Any]:
        if a > LIST_MAX_ITEMS:
            raise LiftError(f"a list of {a} items is longer than {LIST_MAX_ITEMS}")
        values: list[Any] = []
        for found, item_a, item_b, _ in VAL.iter_unpack(string_at(b, a * VAL_BYTES)) if a else ():
            if found & 0xFF != kind:
                _wrong_kind(found, kind)
            values.append(lift(item_a, item_b))
        return values

    return run


def _tuple(items: tuple[WitType, ...]) -> Lift:
    parts = [(kind_of(item), lifter(item)) for item in items]

    def run(a: int, b: int) -> list[Any]:
        if a != len(parts):
            raise LiftError(f"a tuple of {a} items stands where {len(parts)} were announced")
        values: list[Any] = []
        for (kind, lift), (found, item_a, item_b, _) in zip(
            parts, VAL.iter_unpack(string_at(b, a * VAL_BYTES)), strict=True
        ):
            if found & 0xFF != kind:
                _wrong_kind(found, kind)
            values.append(lift(item_a, item_b))
        return values

    return run


def _option(inner: WitType) -> Lift:
    lift, kind = lifter(inner), kind_of(inner)

    def run(a: int, _b: int) -> Any:
        return lift_value(lift, kind, a) if a else None

    return run


def _result(wit: ResultOf) -> Lift:
    sides = [None if side is None else (lifter(side), kind_of(side)) for side in (wit.err, wit.ok)]

    def run(a: int, b: int) -> tuple[bool, Any]:
        ok = bool(a & 1)
        side = sides[ok]
        return ok, lift_value(*side, b) if side and b else None

    return run


def _record(wit: Record) -> Lift:
    count = len(wit.fields)
    words = struct.Struct(f"<{6 * count}Q")
    names = tuple(name.encode() for name, _ in wit.fields)
    parts = [(6 * at, kind_of(field), lifter(field)) for at, (_, field) in enumerate(wit.fields)]
    sizes = tuple(len(name) for name in names)

    def run(a: int, b: int) -> list[Any]:
        if a != count:
            raise LiftError(f"a record of {a} fields stands where {wit.name} has {count}")
        w = words.unpack(string_at(b, count * ENTRY_BYTES))
        if w[0::6] != sizes:
            raise LiftError(f"a record with other fields stands where {wit.name} was announced")
        values: list[Any] = []
        for at, kind, lift in parts:
            if w[at + 2] & 0xFF != kind:
                _wrong_kind(w[at + 2], kind)
            values.append(lift(w[at + 3], w[at + 4]))
        return values

    return run

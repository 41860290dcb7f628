"""Lifting: component values in C memory → Python values.

`lifter(type)` compiles a WIT type into a function of the two payload words of a value. What a guest hands over was
type-checked by wasmtime; its kinds are compared again here all the same, because a wrong one would make this code
read wild memory.

Each value has room for `LIFTED_MAX_BYTES`, taken before anything is copied: a guest may point a hundred thousand list
items at the same megabyte of its memory.
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
from shared.limits import LIFTED_LIST_MAX_COUNT, LIFTED_MAX_BYTES
from shared.wit_types import U8, Enum, ListOf, OptionOf, Primitive, Record, ResultOf, TupleOf, WitType

Lift = Callable[[int, int], Any]

_OCTETS_AT_ONCE: Final = 16_384  # 512 KiB of values: stays in the cache, eight times faster than 90 MiB in one piece
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


class Room:
    """What one value may still hold."""

    __slots__ = ("left_bytes",)

    def __init__(self) -> None:
        self.left_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Raises `LiftError` when there is not as much."""
        self.left_bytes -= size_bytes
        if self.left_bytes < 0:
            raise LiftError(f"a value is larger than {LIFTED_MAX_BYTES} bytes")


def lifter(wit: WitType) -> Lift:
    """A function (a, b) → Python value for values of type `wit`. Not reentrant.

    It raises `LiftError` for a value that is not one, or has no room.
    """
    room = Room()
    lift = _lifter(wit, room)

    def run(a: int, b: int) -> Any:
        room.left_bytes = LIFTED_MAX_BYTES
        return lift(a, b)

    return run


def _lifter(wit: WitType, room: Room) -> Lift:
    match wit:
        case Primitive(name="string") | Enum():
            return _string(room)
        case Primitive(name=name):
            return _primitive(name)
        case ListOf(element=element):
            return _bytes(room) if element == U8 else _list(element, room)
        case OptionOf(inner=inner):
            return _option(inner, room)
        case ResultOf():
            return _result(wit, room)
        case Record():
            return _record(wit, room)
        case TupleOf(items=items):
            return _tuple(items, room)


def lift_value(lift: Lift, kind: int, address: int) -> Any:
    """The value at `address`, whose kind must be `kind`. Raises `LiftError`."""
    found, a, b, _ = VAL.unpack(string_at(address, VAL_BYTES))
    if found & 0xFF != kind:
        _wrong_kind(found, kind)
    return lift(a, b)


def _wrong_kind(found: int, kind: int) -> NoReturn:
    raise LiftError(f"a value of kind {found & 0xFF} stands where kind {kind} was announced")


def _string(room: Room) -> Lift:
    def run(a: int, b: int) -> str:
        if not a:
            return ""
        room.take(a)
        return string_at(b, a).decode()

    return run


def _bytes(room: Room) -> Lift:
    def run(a: int, b: int) -> bytes:
        if not a:
            return b""
        room.take(a)
        if string_at(b, 1)[0] != KIND_U8:
            _wrong_kind(string_at(b, 1)[0], KIND_U8)
        if a <= _OCTETS_AT_ONCE:
            return string_at(b, a * VAL_BYTES)[UNION_OFFSET::VAL_BYTES]
        parts = range(0, a, _OCTETS_AT_ONCE)
        return b"".join(
            [
                string_at(b + at * VAL_BYTES, min(_OCTETS_AT_ONCE, a - at) * VAL_BYTES)[UNION_OFFSET::VAL_BYTES]
                for at in parts
            ]
        )

    return run


def _primitive(name: str) -> Lift:
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


def _list(element: WitType, room: Room) -> Lift:
    lift, kind = _lifter(element, room), kind_of(element)

    def run(a: int, b: int) -> list[Any]:
        if a > LIFTED_LIST_MAX_COUNT:
            raise LiftError(f"a list of {a} items is longer than {LIFTED_LIST_MAX_COUNT}")
        room.take(a * VAL_BYTES)
        values: list[Any] = []
        for found, item_a, item_b, _ in VAL.iter_unpack(string_at(b, a * VAL_BYTES)) if a else ():
            if found & 0xFF != kind:
                _wrong_kind(found, kind)
            values.append(lift(item_a, item_b))
        return values

    return run


def _tuple(items: tuple[WitType, ...], room: Room) -> Lift:
    parts = [(kind_of(item), _lifter(item, room)) for item in items]

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


def _option(inner: WitType, room: Room) -> Lift:
    lift, kind = _lifter(inner, room), kind_of(inner)

    def run(a: int, _b: int) -> Any:
        return lift_value(lift, kind, a) if a else None

    return run


def _result(wit: ResultOf, room: Room) -> Lift:
    sides = [None if side is None else (_lifter(side, room), kind_of(side)) for side in (wit.err, wit.ok)]

    def run(a: int, b: int) -> tuple[bool, Any]:
        ok = bool(a & 1)
        side = sides[ok]
        return ok, lift_value(*side, b) if side and b else None

    return run


def _record(wit: Record, room: Room) -> Lift:
    count = len(wit.fields)
    words = struct.Struct(f"<{6 * count}Q")
    names = tuple(name.encode() for name, _ in wit.fields)
    parts = [(6 * at, kind_of(field), _lifter(field, room)) for at, (_, field) in enumerate(wit.fields)]
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

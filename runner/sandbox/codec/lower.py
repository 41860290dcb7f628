"""Lowering: Python values → component values in C memory.

Two ways, by who frees the memory. *Borrowed*: arguments of a call, which wasmtime copies, so they may stand in
Python bytes that an arena keeps alive. *Owned*: results of a host function, which wasmtime frees, so they must come
from its own allocators. Both share one compiler; only the `Memory` differs.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from ctypes import addressof, memmove
from typing import Any, Final, Protocol

from runner.sandbox.codec import layout
from runner.sandbox.codec.layout import KIND_U8, UNION_OFFSET, VAL, VAL_BYTES, WIDTH_MASK, WORD_PAIR
from runner.sandbox.codec.lift import kind_of
from shared.wit_types import U8, Enum, ListOf, OptionOf, Primitive, Record, ResultOf, TupleOf, WitType

Words = tuple[int, int]
Lower = Callable[[Any, "Memory"], Words]

_ENTRY: Final = struct.Struct("<QQQQQQ")  # name size, name pointer, kind, a, b, unused
_U8_FILL: Final = bytes([KIND_U8])


class Memory(Protocol):
    """Where lowered values stand."""

    def text(self, data: bytes) -> Words:
        """A string or an enum case: (size, pointer)."""
        ...

    def items(self, packed: bytes, count: int) -> Words:
        """A list of `count` packed values: (count, pointer)."""
        ...

    def fields(self, names: Sequence[bytes], values: Sequence[tuple[int, int, int]]) -> Words:
        """A record: (count, pointer)."""
        ...

    def members(self, packed: bytes, count: int) -> Words:
        """A tuple of `count` packed values: (count, pointer)."""
        ...

    def box(self, packed: bytes) -> int:
        """A single value behind a pointer, as options and results hold it."""
        ...

    def octets(self, data: bytes) -> Words:
        """A `list<u8>`: every byte becomes a 32-byte value."""
        ...


def _octet_values(data: bytes) -> bytearray:
    buffer = bytearray(len(data) * VAL_BYTES)
    buffer[0::VAL_BYTES] = _U8_FILL * len(data)  # extended slices are filled in C
    buffer[UNION_OFFSET::VAL_BYTES] = data
    return buffer


class Borrowed:
    """Memory that lives as long as this object: for the arguments of one call."""

    __slots__ = ("_keep",)

    def __init__(self) -> None:
        self._keep: list[Any] = []

    def hold(self, data: bytes) -> int:
        """Keep `data` alive and give its address."""
        self._keep.append(data)
        return layout.bytes_address(data)

    def text(self, data: bytes) -> Words:
        return len(data), self.hold(data)

    def items(self, packed: bytes, count: int) -> Words:
        return count, self.hold(packed)

    def members(self, packed: bytes, count: int) -> Words:
        return count, self.hold(packed)

    def fields(self, names: Sequence[bytes], values: Sequence[tuple[int, int, int]]) -> Words:
        packed = b"".join(
            _ENTRY.pack(len(name), layout.bytes_address(name), kind, a, b, 0)
            for name, (kind, a, b) in zip(names, values, strict=True)
        )
        return len(names), self.hold(packed)

    def box(self, packed: bytes) -> int:
        return self.hold(packed)

    def octets(self, data: bytes) -> Words:
        if not data:
            return 0, 0
        buffer = _octet_values(data)
        pinned = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        self._keep.append(pinned)
        return len(data), addressof(pinned)


class Owned:
    """Memory from wasmtime's allocators: for the result of a host function, which wasmtime frees.

    One per process; not reentrant, which a process with one guest at a time never needs.
    """

    __slots__ = ("_at", "_scratch")

    def __init__(self) -> None:
        self._scratch = ctypes.create_string_buffer(64)
        self._at = addressof(self._scratch)

    def _pair(self) -> Words:
        size, pointer = WORD_PAIR.unpack_from(self._scratch)
        return size, pointer

    def text(self, data: bytes) -> Words:
        layout.byte_vec_new(self._at, len(data), data)
        return self._pair()

    def items(self, packed: bytes, count: int) -> Words:
        layout.list_new(self._at, count)
        return self._filled(packed)

    def members(self, packed: bytes, count: int) -> Words:
        layout.tuple_new(self._at, count)
        return self._filled(packed)

    def _filled(self, packed: bytes | bytearray) -> Words:
        size, pointer = self._pair()
        if packed:
            memmove(pointer, bytes(packed), len(packed))
        return size, pointer

    def fields(self, names: Sequence[bytes], values: Sequence[tuple[int, int, int]]) -> Words:
        entries = [
            _ENTRY.pack(*self.text(name), kind, a, b, 0) for name, (kind, a, b) in zip(names, values, strict=True)
        ]
        layout.record_new(self._at, len(entries))
        return self._filled(b"".join(entries))

    def box(self, packed: bytes) -> int:
        memmove(self._at, packed, VAL_BYTES)
        pointer: int = layout.val_new(self._at)
        return pointer

    def octets(self, data: bytes) -> Words:
        layout.list_new(self._at, len(data))
        return self._filled(_octet_values(data))


def lowerer(wit: WitType) -> Lower:
    """A function (value, memory) → the two payload words of a value of type `wit`."""
    match wit:
        case Primitive(name=name):
            return _primitive(name)
        case ListOf(element=element):
            return _octets if element == U8 else _list(element)
        case OptionOf(inner=inner):
            return _option(inner)
        case ResultOf():
            return _result(wit)
        case Record():
            return _record(wit)
        case TupleOf(items=items):
            return _tuple(items)
        case Enum():
            return _enum(wit)


def lower_value(lower: Lower, kind: int, value: Any, memory: Memory) -> bytes:
    """The 32 bytes of `value`."""
    return VAL.pack(kind, *lower(value, memory), 0)


def _octets(value: Any, memory: Memory) -> Words:
    return memory.octets(bytes(value))


def _string(value: Any, memory: Memory) -> Words:
    return memory.text(value.encode())


def _primitive(name: str) -> Lower:
    if name == "string":
        return _string
    if name == "bool":
        return lambda value, _memory: (int(bool(value)), 0)
    if name == "f64":
        return lambda value, _memory: (struct.unpack("<Q", struct.pack("<d", value))[0], 0)
    if name == "f32":
        return lambda value, _memory: (struct.unpack("<I", struct.pack("<f", value))[0], 0)
    if name == "char":
        return lambda value, _memory: (ord(value), 0)
    mask = WIDTH_MASK[name]
    return lambda value, _memory: (value & mask, 0)


def _enum(wit: Enum) -> Lower:
    cases = {case: case.encode() for case in wit.cases}
    return lambda value, memory: memory.text(cases[value])


def _list(element: WitType) -> Lower:
    lower, kind = lowerer(element), kind_of(element)

    def run(value: Any, memory: Memory) -> Words:
        if not value:
            return memory.items(b"", 0)
        return memory.items(b"".join([VAL.pack(kind, *lower(item, memory), 0) for item in value]), len(value))

    return run


def _tuple(items: tuple[WitType, ...]) -> Lower:
    parts = [(kind_of(item), lowerer(item)) for item in items]

    def run(value: Any, memory: Memory) -> Words:
        packed = [VAL.pack(kind, *lower(item, memory), 0) for (kind, lower), item in zip(parts, value, strict=True)]
        return memory.members(b"".join(packed), len(packed))

    return run


def _option(inner: WitType) -> Lower:
    lower, kind = lowerer(inner), kind_of(inner)

    def run(value: Any, memory: Memory) -> Words:
        if value is None:
            return 0, 0
        return memory.box(VAL.pack(kind, *lower(value, memory), 0)), 0

    return run


def _result(wit: ResultOf) -> Lower:
    sides = [None if side is None else (kind_of(side), lowerer(side)) for side in (wit.err, wit.ok)]

    def run(value: Any, memory: Memory) -> Words:
        ok, payload = value
        side = sides[bool(ok)]
        if side is None:
            return int(bool(ok)), 0
        kind, lower = side
        return int(bool(ok)), memory.box(VAL.pack(kind, *lower(payload, memory), 0))

    return run


def _record(wit: Record) -> Lower:
    names = tuple(name.encode() for name, _ in wit.fields)
    parts = [(kind_of(field), lowerer(field)) for _, field in wit.fields]

    def run(value: Any, memory: Memory) -> Words:
        if len(value) != len(parts):
            raise ValueError(f"{wit.name} has {len(parts)} fields, not {len(value)}")
        return memory.fields(
            names, [(kind, *lower(item, memory)) for (kind, lower), item in zip(parts, value, strict=True)]
        )

    return run

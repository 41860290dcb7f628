"""Types of the component model, as far as our world and providers use them (Component Model, "WIT").

Pure descriptions: the codec, the capability checks and the provider conversion all read the same objects, so a
change in a WIT file reaches all three. They carry tags, so that a world can be handed to another process as it was read.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec


class Primitive(msgspec.Struct, frozen=True, tag=True):
    """`bool`, a number, `char` or `string`."""

    name: str


class ListOf(msgspec.Struct, frozen=True, tag=True):
    """`list<element>`; `list<u8>` is bytes everywhere in Python."""

    element: WitType


class OptionOf(msgspec.Struct, frozen=True, tag=True):
    """`option<inner>`: `None` or the value."""

    inner: WitType


class TupleOf(msgspec.Struct, frozen=True, tag=True):
    """`tuple<…>`."""

    items: tuple[WitType, ...]


class ResultOf(msgspec.Struct, frozen=True, tag=True):
    """`result<ok, err>`; either side may be absent."""

    ok: WitType | None
    err: WitType | None


class Record(msgspec.Struct, frozen=True, tag=True):
    """A record; the order of its fields is part of the contract, because linking is structural."""

    name: str
    fields: tuple[tuple[str, WitType], ...]


class Enum(msgspec.Struct, frozen=True, tag=True):
    """An enum; the order of its cases is part of the contract."""

    name: str
    cases: tuple[str, ...]


WitType: TypeAlias = Primitive | ListOf | OptionOf | TupleOf | ResultOf | Record | Enum

STRING: Final = Primitive("string")
U8: Final = Primitive("u8")
BYTES: Final = ListOf(U8)

PRIMITIVES: Final = frozenset(
    {"bool", "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "f32", "f64", "char", "string"}
)


class Function(msgspec.Struct, frozen=True):
    """One function of an interface."""

    name: str
    params: tuple[tuple[str, WitType], ...]
    result: WitType | None


class Interface(msgspec.Struct, frozen=True):
    """One interface: `name` without its package, functions in file order."""

    name: str
    types: dict[str, WitType]
    functions: tuple[Function, ...]


class World(msgspec.Struct, frozen=True):
    """A package's interfaces, and the imports and exported functions of its single world."""

    package: str
    interfaces: dict[str, Interface]
    imports: tuple[str, ...]
    exports: tuple[Function, ...]

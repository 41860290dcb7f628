"""The interface of a component, from what `wasm-tools component wit --json` says about it, compared with our world.

Linking is structural: names of records do not count, the order and names of their fields do. So a function is
compared type by type with the one in `shared/wit`, and the first difference is named by its place, for instance
`request.http.body`. The comparison walks *our* type, which is small; a hostile component cannot make it long.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from shared.wit_types import (
    Enum,
    Function,
    ListOf,
    OptionOf,
    Primitive,
    Record,
    ResultOf,
    TupleOf,
    WitType,
)

Reference: TypeAlias = int | str
"""A type in the JSON: an index into `types`, or the name of a primitive."""


class InterfaceFormatError(ValueError):
    """The JSON is not what this release of `wasm-tools` writes."""


class _Field(msgspec.Struct, frozen=True):
    name: str
    type: Reference


class _Fields(msgspec.Struct, frozen=True):
    fields: tuple[_Field, ...]


class _Case(msgspec.Struct, frozen=True):
    name: str


class _Cases(msgspec.Struct, frozen=True):
    cases: tuple[_Case, ...]


class _Items(msgspec.Struct, frozen=True):
    types: tuple[Reference, ...]


class _Either(msgspec.Struct, frozen=True):
    ok: Reference | None = None
    err: Reference | None = None


class _Kind(msgspec.Struct, frozen=True):
    """One of these is set; a kind that our world does not use (variant, flags, handle, stream, …) sets none."""

    type: Reference | None = None
    list: Reference | None = None
    option: Reference | None = None
    record: _Fields | None = None
    enum: _Cases | None = None
    tuple: _Items | None = None
    result: _Either | None = None


class _Type(msgspec.Struct, frozen=True):
    kind: _Kind | str


class _Parameter(msgspec.Struct, frozen=True):
    name: str
    type: Reference


class _Function(msgspec.Struct, frozen=True):
    name: str
    kind: str | dict[str, Reference]
    params: tuple[_Parameter, ...] = ()
    result: Reference | None = None


class _InterfaceId(msgspec.Struct, frozen=True):
    id: int


class _Item(msgspec.Struct, frozen=True):
    """An import or export of the world: an interface, a function, or only the name of a type."""

    interface: _InterfaceId | None = None
    function: _Function | None = None


class _World(msgspec.Struct, frozen=True):
    name: str
    imports: dict[str, _Item]
    exports: dict[str, _Item]


class _Interface(msgspec.Struct, frozen=True):
    functions: dict[str, _Function]
    name: str | None = None
    package: int | None = None


class _Package(msgspec.Struct, frozen=True):
    name: str


class _Document(msgspec.Struct, frozen=True):
    worlds: tuple[_World, ...]
    interfaces: tuple[_Interface, ...]
    types: tuple[_Type, ...]
    packages: tuple[_Package, ...]


class ComponentInterface:
    """Imports and exports of one component.

    Attributes:
        imports: full names (`alga:extension/http`, `wasi:io/streams@0.2.9`), or plain ones for what is not in an
            interface; in the component's order.
        exports: likewise.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._document = msgspec.json.decode(data, type=_Document)
        except msgspec.MsgspecError as error:
            raise InterfaceFormatError(f"wasm-tools describes the component in an unknown form: {error}") from error
        if len(self._document.worlds) != 1:
            raise InterfaceFormatError(f"a component has one world; wasm-tools describes {len(self._document.worlds)}")
        world = self._document.worlds[0]
        self._imported = self._named(world.imports)
        self._exported = self._named(world.exports)
        self.imports = tuple(self._imported)
        self.exports = tuple(self._exported)

    def imported_functions(self, interface: str) -> tuple[str, ...]:
        """The functions that the component uses of an imported interface, by its full name."""
        return tuple(self._functions(interface))

    def import_mismatch(self, interface: str, name: str, ours: Function) -> str:
        """How an imported function differs from ours; empty when it does not."""
        return self._mismatch(self._functions(interface)[name], ours)

    def export_mismatch(self, ours: Function) -> str:
        """How the exported function of this name differs from ours; empty when it does not."""
        item = self._exported.get(ours.name)
        if item is None or item.function is None:
            return "there is no such function"
        return self._mismatch(item.function, ours)

    def _named(self, items: dict[str, _Item]) -> dict[str, _Item]:
        found: dict[str, _Item] = {}
        for key, item in items.items():
            if item.interface is not None:
                found[self._full_name(key, self._document.interfaces[item.interface.id])] = item
            elif item.function is not None:
                found[key] = item
        return found

    def _full_name(self, key: str, interface: _Interface) -> str:
        if interface.name is None or interface.package is None:
            return key
        package, at, version = self._document.packages[interface.package].name.partition("@")
        return f"{package}/{interface.name}{at}{version}"

    def _functions(self, interface: str) -> dict[str, _Function]:
        item = self._imported[interface]
        return self._document.interfaces[item.interface.id].functions if item.interface else {}

    def _mismatch(self, theirs: _Function, ours: Function) -> str:
        if theirs.kind != "freestanding":
            return f"it must be a synchronous function, not {theirs.kind}"
        names, our_names = [param.name for param in theirs.params], [name for name, _ in ours.params]
        if names != our_names:
            return f"its parameters must be ({', '.join(our_names)}), not ({', '.join(names)})"
        for param, (name, wit) in zip(theirs.params, ours.params, strict=True):
            found = self._difference(param.type, wit, name)
            if found:
                return found
        return self._optional(theirs.result, ours.result, "its result")

    def _difference(self, reference: Reference, wit: WitType, where: str) -> str:
        """The first difference between a type of the component and one of ours."""
        kind = self._kind(reference)
        match wit:
            case Primitive(name):
                found = "" if kind == name else self._unlike(where, wit, kind)
            case ListOf(element) if isinstance(kind, _Kind) and kind.list is not None:
                found = self._difference(kind.list, element, f"{where}[]")
            case OptionOf(inner) if isinstance(kind, _Kind) and kind.option is not None:
                found = self._difference(kind.option, inner, where)
            case Record() if isinstance(kind, _Kind) and kind.record is not None:
                found = self._record(kind.record, wit, where)
            case Enum() if isinstance(kind, _Kind) and kind.enum is not None:
                cases = tuple(case.name for case in kind.enum.cases)
                found = (
                    "" if cases == wit.cases else f"{where} must have the cases {', '.join(wit.cases)}, in this order"
                )
            case TupleOf(items) if isinstance(kind, _Kind) and kind.tuple is not None:
                found = self._tuple(kind.tuple.types, items, where)
            case ResultOf(ok, err) if isinstance(kind, _Kind) and kind.result is not None:
                found = self._optional(kind.result.ok, ok, where)
                found = found or self._optional(kind.result.err, err, f"the error of {where}")
            case _:
                found = self._unlike(where, wit, kind)
        return found

    def _record(self, theirs: _Fields, ours: Record, where: str) -> str:
        names, our_names = [field.name for field in theirs.fields], [name for name, _ in ours.fields]
        if names != our_names:
            return f"{where} must have the fields {', '.join(our_names)}, in this order"
        pairs = zip(theirs.fields, ours.fields, strict=True)
        differences = (self._difference(field.type, wit, f"{where}.{name}") for field, (name, wit) in pairs)
        return next(filter(None, differences), "")

    def _tuple(self, theirs: tuple[Reference, ...], ours: tuple[WitType, ...], where: str) -> str:
        if len(theirs) != len(ours):
            return f"{where} must be a tuple of {len(ours)}"
        differences = (self._difference(one, wit, where) for one, wit in zip(theirs, ours, strict=True))
        return next(filter(None, differences), "")

    def _optional(self, reference: Reference | None, wit: WitType | None, where: str) -> str:
        if reference is None:
            return "" if wit is None else f"{where} must be there"
        return f"{where} must not be there" if wit is None else self._difference(reference, wit, where)

    def _kind(self, reference: Reference) -> _Kind | str:
        """The kind behind a reference, aliases followed; a primitive is its own name."""
        kind: _Kind | str = reference if isinstance(reference, str) else self._document.types[reference].kind
        while isinstance(kind, _Kind) and kind.type is not None:
            kind = kind.type if isinstance(kind.type, str) else self._document.types[kind.type].kind
        return kind

    def _unlike(self, where: str, wit: WitType, kind: _Kind | str) -> str:
        theirs = (
            kind if isinstance(kind, str) else next((key for key in _Kind.__struct_fields__ if getattr(kind, key)), "")
        )
        return f"{where} must be {_words(wit)}{f', not {theirs}' if theirs else ''}"


def _words(wit: WitType) -> str:
    match wit:
        case Primitive(name):
            return name
        case ListOf(element):
            return f"list<{_words(element)}>"
        case OptionOf(inner):
            return f"option<{_words(inner)}>"
        case TupleOf(items):
            return f"tuple<{', '.join(map(_words, items))}>"
        case Record(name) | Enum(name):
            return f"the {type(wit).__name__.lower()} {name}"
        case ResultOf():
            return "a result"

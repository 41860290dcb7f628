"""JSON text → WIT values: see `shared.wit_json` for the forms. What no type asks for is skipped without being built."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Callable
from types import GenericAlias
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from shared.strict_json import INTEGER_MAX
from shared.wit_json import (
    BOUNDS,
    FieldCase,
    Part,
    Room,
    WitJsonError,
    case_of,
    check_type,
    fixed,
    json_name,
    listed,
    one_char,
    optional,
    side,
)
from shared.wit_types import BYTES, Enum, ListOf, OptionOf, Primitive, Record, ResultOf, TupleOf, WitType

FromJson = Callable[[bytes], Any]
"""(JSON text) → value of the frames. Raises `WitJsonError`."""

_WIDE: Final = frozenset({"u64", "s64"})
_DECIMAL: Final = re.compile(r"0|-?[1-9][0-9]{0,19}")
_F32: Final = struct.Struct("<f")


def from_json(wit: WitType, case: FieldCase) -> FromJson:
    """Compile the function that reads values of `wit` from JSON text. Raises `UnmappableTypeError`."""
    check_type(wit, case)
    room = Room()
    decoder = msgspec.json.Decoder(_Shapes(case, room).of(wit))
    convert = _Readers(case, room).of(wit)

    def read(data: bytes) -> Any:
        room.reset()
        try:
            return convert(decoder.decode(data))
        except msgspec.ValidationError as error:
            reason, _, place = str(error).partition(" - at `")
            raise WitJsonError(reason, place.rstrip("`") or "$") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise WitJsonError(f"not JSON: {error}") from error
        except RecursionError as error:  # what is skipped is descended into
            raise WitJsonError("nested too deeply") from error

    return read


class _Shapes:
    """The structure that msgspec builds, everything unknown skipped; what a type allows beyond it, `_reader` checks."""

    def __init__(self, case: FieldCase, room: Room) -> None:
        self._case, self._room = case, room

    def of(self, wit: WitType) -> Any:
        match wit:
            case Primitive(name=name):
                return _primitive_shape(name)
            case Enum():
                return str
            case ListOf(element=element):
                return str if wit == BYTES else GenericAlias(list, (self.of(element),))
            case OptionOf(inner=inner):
                return self.of(inner) | None
            case TupleOf(items=items):
                return GenericAlias(tuple, tuple(map(self.of, items)))
            case ResultOf(ok=ok, err=err):
                sides = {name: None if one is None else self.of(one) for name, one in (("ok", ok), ("err", err))}
                return self._struct([(name, shape | UnsetType, UNSET) for name, shape in sides.items()], {})
            case Record(fields=fields):
                return self._struct(
                    [
                        (f"f{at}", self.of(field), *([None] if isinstance(field, OptionOf) else []))
                        for at, (_, field) in enumerate(fields)
                    ],
                    {f"f{at}": json_name(field, self._case) for at, (field, _) in enumerate(fields)},
                )

    def _struct(self, fields: list[Any], names: dict[str, str]) -> Any:
        def take(_built: object) -> None:
            try:
                self._room.take(len(fields))
            except WitJsonError as error:
                raise ValueError(error.reason) from error  # msgspec puts the place behind it

        return msgspec.defstruct("Built", fields, namespace={"__post_init__": take}, rename=names, kw_only=True)


def _primitive_shape(name: str) -> Any:
    if name == "bool":
        return bool
    if name in {"string", "char"}:
        return str
    if name in {"f32", "f64"}:
        return float
    return int | float | str if name in _WIDE else int | float


class _Readers:
    """Functions from what `_Shapes` describes to values of the frames."""

    def __init__(self, case: FieldCase, room: Room) -> None:
        self._case, self._room = case, room

    def of(self, wit: WitType) -> Part:
        match wit:
            case Primitive(name=name):
                return _primitive_reader(name)
            case Enum():
                return case_of(wit)
            case ListOf(element=element):
                return _read_bytes if wit == BYTES else listed(self.of(element), self._room)
            case OptionOf(inner=inner):
                return optional(self.of(inner))
            case TupleOf(items=items):
                return fixed([self.of(item) for item in items])
            case ResultOf(ok=ok, err=err):
                return _result_reader(side(ok, self.of), side(err, self.of))
            case Record(fields=fields):
                return _record_reader([(json_name(name, self._case), self.of(field)) for name, field in fields])


def _primitive_reader(name: str) -> Part:
    if name == "char":
        return one_char
    if name == "f32":
        return _read_f32
    if name in BOUNDS:
        return _integer_reader(name)
    return lambda value: value  # bool, string and f64 are what msgspec made of them


def _integer_reader(name: str) -> Part:
    low, high = BOUNDS[name]

    def run(value: int | float | str) -> int:  # noqa: PYI041 - what msgspec builds: `20` is one, `20.0` the other
        if isinstance(value, str):
            if not _DECIMAL.fullmatch(value):
                raise WitJsonError("must be a number, or a whole number in decimal as text")
        elif isinstance(value, float) and not value.is_integer():
            raise WitJsonError("must be a whole number")
        elif name in _WIDE and abs(value) > INTEGER_MAX:
            raise WitJsonError(f"must be written as text beyond {INTEGER_MAX}")
        number = int(value)
        if not low <= number <= high:
            raise WitJsonError(f"must be from {low} to {high}")
        return number

    return run


def _read_f32(value: float) -> float:
    try:
        found: float = _F32.unpack(_F32.pack(value))[0]
    except OverflowError as error:
        raise WitJsonError("must fit 32 bits") from error
    return found


def _read_bytes(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as error:
        raise WitJsonError("must be base64 (RFC 4648 §4, padded)") from error


def _record_reader(parts: list[tuple[str, Part]]) -> Part:
    def run(value: Any) -> list[Any]:
        found: list[Any] = []
        for (name, read), part in zip(parts, msgspec.structs.astuple(value), strict=True):
            try:
                found.append(read(part))
            except WitJsonError as error:
                error.at(name)
                raise
        return found

    return run


def _result_reader(ok: Part, err: Part) -> Part:
    def run(value: Any) -> tuple[bool, Any]:
        if (value.ok is UNSET) == (value.err is UNSET):
            raise WitJsonError("must have either ok or err")
        name, read, held = ("err", err, value.err) if value.ok is UNSET else ("ok", ok, value.ok)
        try:
            return name == "ok", read(held)
        except WitJsonError as error:
            error.at(name)
            raise

    return run

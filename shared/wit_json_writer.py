"""WIT values → JSON values: see `shared.wit_json` for the forms."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

from shared.strict_json import INTEGER_MAX, JsonValue
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
    sequence,
    side,
)
from shared.wit_types import BYTES, Enum, ListOf, OptionOf, Primitive, Record, ResultOf, TupleOf, WitType

ToJson = Callable[[Any], JsonValue]
"""(value of the frames) → JSON value. Raises `WitJsonError`."""


def to_json(wit: WitType, case: FieldCase) -> ToJson:
    """Compile the function that writes values of `wit`. Raises `UnmappableTypeError`."""
    check_type(wit, case)
    room = Room()
    convert = _Writers(case, room).of(wit)

    def write(value: Any) -> JsonValue:
        room.reset()
        written: JsonValue = convert(value)
        return written

    return write


class _Writers:
    """Functions from values of the frames to JSON values."""

    def __init__(self, case: FieldCase, room: Room) -> None:
        self._case, self._room = case, room

    def of(self, wit: WitType) -> Part:
        match wit:
            case Primitive(name=name):
                return _primitive_writer(name)
            case Enum():
                return case_of(wit)
            case ListOf(element=element):
                return _write_bytes if wit == BYTES else listed(self.of(element), self._room)
            case OptionOf(inner=inner):
                return optional(self.of(inner))
            case TupleOf(items=items):
                return fixed([self.of(item) for item in items])
            case ResultOf(ok=ok, err=err):
                return _result_writer(side(ok, self.of), side(err, self.of))
            case Record(fields=fields):
                return _record_writer(
                    [
                        (json_name(name, self._case), self.of(field), isinstance(field, OptionOf))
                        for name, field in fields
                    ],
                    self._room,
                )


def _primitive_writer(name: str) -> Part:
    if name == "bool":
        return _write_bool
    if name == "string":
        return _write_text
    if name == "char":
        return lambda value: one_char(_write_text(value))
    if name in BOUNDS:
        return _integer_writer(name)
    return _write_float


def _write_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise WitJsonError("must be a bool")
    return value


def _write_text(value: object) -> str:
    if not isinstance(value, str):
        raise WitJsonError("must be a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise WitJsonError("must be Unicode scalar values") from error
    return value


def _write_float(value: object) -> float:
    if not isinstance(value, float):
        raise WitJsonError("must be a float")
    if not math.isfinite(value):
        raise WitJsonError("must be finite: JSON has no form for NaN and infinities")
    return value


def _integer_writer(name: str) -> Part:
    low, high = BOUNDS[name]

    def run(value: object) -> int | str:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise WitJsonError(f"must be a whole number from {low} to {high}")
        return value if abs(value) <= INTEGER_MAX else str(value)

    return run


def _write_bytes(value: object) -> str:
    if not isinstance(value, bytes):
        raise WitJsonError("must be bytes")
    return base64.b64encode(value).decode()


def _record_writer(parts: list[tuple[str, Part, bool]], room: Room) -> Part:
    def run(value: Any) -> dict[str, JsonValue]:
        room.take(len(parts))
        written: dict[str, JsonValue] = {}
        for (name, write, may_lack), part in zip(parts, sequence(value, len(parts)), strict=True):
            if may_lack and part is None:
                continue
            try:
                written[name] = write(part)
            except WitJsonError as error:
                error.at(name)
                raise
        return written

    return run


def _result_writer(ok: Part, err: Part) -> Part:
    def run(value: Any) -> dict[str, JsonValue]:
        good, payload = sequence(value, 2)
        name, write = ("ok", ok) if _write_bool(good) else ("err", err)
        try:
            return {name: write(payload)}
        except WitJsonError as error:
            error.at(name)
            raise

    return run

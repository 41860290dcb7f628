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
    return _writer(wit, case)


def _writer(wit: WitType, case: FieldCase) -> Part:
    match wit:
        case Primitive(name=name):
            return _primitive_writer(name)
        case Enum():
            return case_of(wit)
        case ListOf(element=element):
            return _write_bytes if wit == BYTES else listed(_writer(element, case))
        case OptionOf(inner=inner):
            return optional(_writer(inner, case))
        case TupleOf(items=items):
            return fixed([_writer(item, case) for item in items])
        case ResultOf(ok=ok, err=err):
            return _result_writer(side(ok, case, _writer), side(err, case, _writer))
        case Record():
            return _record_writer(wit, case)


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
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise WitJsonError("must be Unicode scalar values")
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


def _record_writer(wit: Record, case: FieldCase) -> Part:
    parts = [(json_name(name, case), _writer(field, case), isinstance(field, OptionOf)) for name, field in wit.fields]

    def run(value: Any) -> dict[str, JsonValue]:
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

"""The other codec: wasmtime-py's own conversion, in the shapes that ours has. Slow, and independent of C layouts.

`RUNNER_CODEC=library` switches a whole runner to it: the way out when a release of wasmtime changes the layout that
`runner.sandbox.codec` relies on, and the second opinion when a value looks wrong. It costs about 0.4 ms a call and 2 s
for each MiB of bytes, and a value is in memory before its size is looked at; the limits are the same afterwards.

One thing it cannot say: the error of a `result<option<…>, …>`, since it takes every value for the option. Functions
that answer such a type keep our codec (`expressible`).

Shapes: records and tuples are lists, results pairs `(ok, value)`. The library has objects with attributes, bare
payloads and, where the two sides of a choice have the same Python type, `Variant`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from wasmtime import Store, WasmtimeError
from wasmtime.component import Record as LibraryRecord
from wasmtime.component import Variant, _enter

from runner.sandbox.codec.layout import VAL_BYTES
from runner.sandbox.codec.lift import LiftError, Room
from runner.sandbox.host_function import HostCall, Refuse
from shared.limits import LIFTED_LIST_MAX_COUNT, LIFTED_MAX_BYTES
from shared.wit_answers import failed_answer
from shared.wit_types import U8, Enum, Function, ListOf, OptionOf, Primitive, Record, ResultOf, TupleOf, WitType

_ABSENT: Final = object
"""The class that stands for the side of a choice without a value."""


class LibraryHandler:
    """The exported function through the library; the counterpart of `runner.sandbox.guest.Handler`."""

    def __init__(self, export: Function) -> None:
        ((_, self._request),) = export.params
        if export.result is None:
            raise ValueError("handler must answer")
        self._answer: WitType = export.result

    def call(self, store: Store, function: Any, request: Any) -> Any:
        """Call the guest. Raises `WasmtimeError` for a trap, `LiftError` for an answer that is too large."""
        _enter.LAST_EXCEPTION = None  # a process global: what an earlier call left must not end this one
        try:
            answer = function(store, to_library(self._request, request))
        except WasmtimeError:
            raise
        except (AssertionError, TypeError, ValueError) as error:
            raise LiftError(f"the answer is not of its type: {error}") from error
        return from_library(self._answer, answer)


def library_function(interface: str, function: Function, host: HostCall, refuse: Refuse) -> Callable[..., Any]:
    """One import as the library calls it: `(store, *arguments)` → its value of the result. Never raises."""
    types = [wit for _, wit in function.params]

    def run(_store: object, *arguments: Any) -> Any:
        try:
            try:
                values = [from_library(wit, value) for wit, value in zip(types, arguments, strict=True)]
            except LiftError as error:
                answer = refuse(interface, function, str(error))
            else:
                answer = host(interface, function, values)
            return _result(function, answer)
        except BaseException:  # noqa: BLE001 - nothing may cross into wasmtime; the guest gets its typed failure
            return _result(function, failed_answer(function))

    return run


def expressible(function: Function) -> bool:
    """Whether the library can answer every value of this function's result."""
    match function.result:
        case ResultOf(ok=ok, err=err):
            return _tagged(ok, err) or ok is None or _ABSENT not in _classes(ok)
        case _:
            return True


def _result(function: Function, answer: Any) -> Any:
    return None if function.result is None else to_library(function.result, answer)


# ---- our shapes → the library's -----------------------------------------------------------------------------


def to_library(wit: WitType, value: Any) -> Any:
    """`value` of type `wit` as the library wants it. Raises what a wrong shape raises."""
    match wit:
        case Primitive(name="f32" | "f64"):
            return float(value)
        case Primitive() | Enum():
            return value
        case ListOf(element=element):
            return bytes(value) if element == U8 else [to_library(element, item) for item in value]
        case TupleOf(items=items):
            return tuple(to_library(item, part) for item, part in zip(items, value, strict=True))
        case Record(fields=fields):
            record = LibraryRecord()
            for (name, field), part in zip(fields, value, strict=True):
                setattr(record, name, to_library(field, part))
            return record
        case OptionOf(inner=inner):
            case, payload = ("none", None) if value is None else ("some", to_library(inner, value))
            return Variant(case, payload) if _tagged(None, inner) else payload
        case ResultOf(ok=ok, err=err):
            good, inside = value
            side = ok if good else err
            payload = None if side is None else to_library(side, inside)
            return Variant("ok" if good else "err", payload) if _tagged(ok, err) else payload


# ---- the library's shapes → ours ----------------------------------------------------------------------------


def from_library(wit: WitType, value: Any) -> Any:
    """`value` of type `wit` in our shape. Raises `LiftError` for one that is larger than may cross the boundary."""
    room = Room()
    room.left_bytes = LIFTED_MAX_BYTES
    return _lift(wit, value, room)


def _lift(wit: WitType, value: Any, room: Room) -> Any:
    match wit:
        case Primitive(name="string"):
            room.take(len(value.encode()))
            return value
        case Primitive() | Enum():
            return value
        case ListOf(element=element):
            return _list(element, value, room)
        case TupleOf(items=items):
            return [_lift(item, part, room) for item, part in zip(items, value, strict=True)]
        case Record(fields=fields):
            return [_lift(field, getattr(value, name), room) for name, field in fields]
        case OptionOf(inner=inner):
            if _tagged(None, inner):
                return None if value.tag == "none" else _lift(inner, value.payload, room)
            return None if value is None else _lift(inner, value, room)
        case ResultOf():
            return _choice(wit, value, room)


def _list(element: WitType, value: Any, room: Room) -> Any:
    if element == U8:
        room.take(len(value))
        return bytes(value)
    if len(value) > LIFTED_LIST_MAX_COUNT:
        raise LiftError(f"a list of {len(value)} items is longer than {LIFTED_LIST_MAX_COUNT}")
    room.take(len(value) * VAL_BYTES)
    return [_lift(element, item, room) for item in value]


def _choice(wit: ResultOf, value: Any, room: Room) -> tuple[bool, Any]:
    if _tagged(wit.ok, wit.err):
        good, inside = value.tag == "ok", value.payload
    else:
        good, inside = _is_a(wit.ok, value), value
    side = wit.ok if good else wit.err
    return good, None if side is None else _lift(side, inside, room)


# ---- how the library tells two sides apart ------------------------------------------------------------------


def _is_a(wit: WitType | None, value: Any) -> bool:
    return value is None if wit is None else isinstance(value, tuple(_classes(wit)))


def _tagged(*sides: WitType | None) -> bool:
    """Whether the sides of a choice share a Python class, so that the library wraps its values in `Variant`."""
    one, other = ({_ABSENT} if side is None else _classes(side) for side in sides)
    return bool(one & other)


def _classes(wit: WitType) -> set[type]:
    """The Python classes of the library's values of a type."""
    match wit:
        case Primitive(name="bool"):
            return {bool}
        case Primitive(name="f32" | "f64"):
            return {float}
        case Primitive(name="string" | "char") | Enum():
            return {str}
        case Primitive():
            return {int}
        case ListOf(element=element):
            return {bytes} if element == U8 else {list}
        case TupleOf():
            return {tuple}
        case Record():
            return {LibraryRecord}
        case OptionOf(inner=inner):
            return {Variant} if _tagged(None, inner) else {_ABSENT} | _classes(inner)
        case ResultOf(ok=ok, err=err):
            if _tagged(ok, err):
                return {Variant}
            return {found for side in (ok, err) for found in ({_ABSENT} if side is None else _classes(side))}

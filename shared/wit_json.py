"""WIT values ↔ JSON, by their types: what a guest says to a host application's service, and what that answers.

Values are those of the frames between sandbox and runner: a record is a sequence of its fields in WIT order, an enum
its case, an option `None` or the value, a result `(ok?, payload)`, `list<u8>` bytes, any other list or tuple a list.

| WIT | JSON |
|---|---|
| record | object; names in the provider's case; a `none` field is left out, read as absent or `null` |
| enum | the case as WIT writes it (`not-allowed`) |
| option elsewhere | `null` or the value |
| result | `{"ok": …}` or `{"err": …}`, `null` where a side has no payload |
| tuple, list | array |
| `list<u8>` | base64 text (RFC 4648 §4, padded) |
| `u8`–`u32`, `s8`–`s32` | number; read from `20` and `20.0` alike, since JSON has one kind of number (RFC 8259 §6) |
| `u64`, `s64` | number within ±(2^53 − 1), decimal text beyond (RFC 7493 §2.2); read in either form within these bounds |
| `f32`, `f64` | number; NaN and infinities have no form in JSON and are refused |
| `char`, `string`, `bool` | text of one scalar value, text, boolean |

This module is what both directions agree on; `wit_json_writer` and `wit_json_reader` are the two. None of them performs
I/O or trusts a side: a value of the wrong type, as a hostile sandbox may send it, is the same typed error as a wrong
answer of the service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any, Final, cast

from shared.limits import (
    LIFTED_LIST_MAX_COUNT,
    PROVIDER_VALUES_MAX_COUNT,
    WIT_TYPE_MAX_COUNT,
    WIT_TYPE_MAX_DEPTH,
)
from shared.wit_types import Enum, ListOf, OptionOf, Primitive, Record, ResultOf, TupleOf, WitType

Part = Callable[[Any], Any]
"""Converts the value of one type. Raises `WitJsonError`."""

BOUNDS: Final = {
    **{f"u{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
    **{f"s{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
}
"""Least and greatest value of each integer type."""

_SHOWN_MAX: Final = 8  # cases of an enum in a message


class FieldCase(StrEnum):
    """How a host application writes names: `billingEmail` or `billing_email`."""

    CAMEL = "camel"
    SNAKE = "snake"


class WitJsonError(ValueError):
    """A value that is not of its type. `reason` says what would be; `path` where it stands, as `$.items[3].rate`."""

    def __init__(self, reason: str, path: str = "$") -> None:
        super().__init__(reason)
        self.reason = reason
        self._root = path
        self._inwards: list[str] = []

    def at(self, segment: str | int) -> None:
        """Put a member's name or an item's index in front of the path."""
        self._inwards.append(f"[{segment}]" if isinstance(segment, int) else f".{segment}")

    @property
    def path(self) -> str:
        """Where it stands."""
        return self._root + "".join(reversed(self._inwards))

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Room:
    """How many values one conversion may still meet: fields of records and items of lists.

    A short text can write many fields that are absent, and a sandbox can send as many; both cost memory and time.
    """

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = 0

    def reset(self) -> None:
        """For the next conversion."""
        self.left = PROVIDER_VALUES_MAX_COUNT

    def take(self, count: int) -> None:
        """Raises `WitJsonError` when there are not as many left."""
        self.left -= count
        if self.left < 0:
            raise WitJsonError(f"has more than {PROVIDER_VALUES_MAX_COUNT} values")


class UnmappableTypeError(ValueError):
    """A WIT type that has no unambiguous form in JSON, or is too large; the message says which and why."""


def json_name(name: str, case: FieldCase) -> str:
    """A name of WIT (kebab-case) as the host application writes it."""
    first, *others = name.lower().split("-")
    if case is FieldCase.SNAKE:
        return "_".join([first, *others])
    return first + "".join(word.capitalize() for word in others)


def check_type(wit: WitType, case: FieldCase, depth: int = 1) -> int:
    """How many types `wit` is made of, written out. Raises `UnmappableTypeError`."""
    if depth > WIT_TYPE_MAX_DEPTH:
        raise UnmappableTypeError(f"types are nested at most {WIT_TYPE_MAX_DEPTH} deep")
    count = 1
    for part in _parts(wit):
        count += check_type(part, case, depth + 1)
        if count > WIT_TYPE_MAX_COUNT:
            raise UnmappableTypeError(f"a type has at most {WIT_TYPE_MAX_COUNT} parts, written out")
    if isinstance(wit, OptionOf) and isinstance(wit.inner, OptionOf):
        raise UnmappableTypeError("an option of an option: JSON has one null; use a record with a field for each")
    if isinstance(wit, Record):
        names = [json_name(name, case) for name, _ in wit.fields]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise UnmappableTypeError(f"record {wit.name}: two fields are {', '.join(doubled)} in JSON; rename one")
    return count


def _parts(wit: WitType) -> Iterable[WitType]:
    match wit:
        case Primitive() | Enum():
            return ()
        case ListOf(element=inner) | OptionOf(inner=inner):
            return (inner,)
        case TupleOf(items=items):
            return items
        case ResultOf(ok=ok, err=err):
            return [one for one in (ok, err) if one is not None]
        case Record(fields=fields):
            return [field for _, field in fields]


def side(wit: WitType | None, compiled: Callable[[WitType], Part]) -> Part:
    """One side of a result, which may have no payload."""
    return nothing if wit is None else compiled(wit)


def nothing(value: object) -> None:
    """The payload of a side that has none."""
    if value is not None:
        raise WitJsonError("must be none: this side of the result has no payload")


def sequence(value: Any, length: int) -> Sequence[Any]:
    """Exactly `length` values."""
    found = values_of(value)
    if found is None or len(found) != length:
        raise WitJsonError(f"must be {length} values")
    return found


def values_of(value: Any) -> Sequence[Any] | None:
    """`value` when it is a list or a tuple."""
    return cast(Sequence[Any], value) if isinstance(value, list | tuple) else None


def case_of(wit: Enum) -> Part:
    """The case of an enum."""
    cases = frozenset(wit.cases)
    more = ", …" if len(wit.cases) > _SHOWN_MAX else ""

    def run(value: object) -> str:
        if not isinstance(value, str) or value not in cases:
            raise WitJsonError(f"must be one of {', '.join(wit.cases[:_SHOWN_MAX])}{more}")
        return value

    return run


def one_char(value: str) -> str:
    """A text of one scalar value."""
    if len(value) != 1:
        raise WitJsonError("must be text of one character")
    return value


def optional(convert: Part) -> Part:
    """None, or the value."""
    return lambda value: None if value is None else convert(value)


def listed(convert: Part, room: Room) -> Part:
    """A list of values of one type."""

    def run(value: Any) -> list[Any]:
        values = values_of(value)
        if values is None:
            raise WitJsonError("must be a list")
        if len(values) > LIFTED_LIST_MAX_COUNT:
            raise WitJsonError(f"must have at most {LIFTED_LIST_MAX_COUNT} items")
        room.take(len(value))
        found: list[Any] = []
        for item in values:
            try:
                found.append(convert(item))
            except WitJsonError as error:
                error.at(len(found))
                raise
        return found

    return run


def fixed(parts: list[Part]) -> Part:
    """A tuple: as many values as there are types."""

    def run(value: Any) -> list[Any]:
        found: list[Any] = []
        for convert, item in zip(parts, sequence(value, len(parts)), strict=True):
            try:
                found.append(convert(item))
            except WitJsonError as error:
                error.at(len(found))
                raise
        return found

    return run

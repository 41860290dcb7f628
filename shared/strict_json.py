"""A JSON reader for documents that people sign, publish or trust: it refuses what parsers disagree about.

RFC 8259 leaves open what a repeated name, a lone surrogate or `NaN` means; two readers that differ on it can be
played against each other (threat T65: a second `capabilities` key). So each of these is an error here, as are text
that is not UTF-8, a byte order mark, nesting without bound and numbers no IEEE double holds (RFC 7493, I-JSON).
"""

from __future__ import annotations

import json
import math
from typing import Final, NoReturn, TypeAlias, TypeGuard

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

INTEGER_MAX: Final = 2**53 - 1  # RFC 7493 §2.2: beyond it JavaScript and Python read different numbers


class StrictJsonError(ValueError):
    """The bytes are not acceptable JSON.

    Attributes:
        code: `json`, `size`, `duplicate_key`, `number` or `depth`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def loads(data: bytes, *, max_bytes: int, max_depth: int) -> JsonValue:
    """The value that `data` writes.

    Args:
        data: UTF-8 text without a byte order mark.
        max_bytes: refuse more than this.
        max_depth: refuse arrays and objects nested deeper than this.

    Raises:
        StrictJsonError: what is wrong, with the place where the parser knows it.
    """
    if len(data) > max_bytes:
        raise StrictJsonError("size", f"the document has {len(data)} bytes; at most {max_bytes} are read")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrictJsonError("json", f"byte {error.start} is not UTF-8") from error
    if text.startswith("\ufeff"):
        raise StrictJsonError("json", "the text starts with a byte order mark; write it without one")
    try:
        value: JsonValue = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise StrictJsonError("json", f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise StrictJsonError("depth", f"nested deeper than {max_depth} levels") from error
    _check(value, max_depth)
    return value


def is_object(value: JsonValue) -> TypeGuard[dict[str, JsonValue]]:
    """Whether `value` is a JSON object."""
    return isinstance(value, dict)


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for name, value in pairs:
        if name in found:
            raise StrictJsonError("duplicate_key", f"the name {json.dumps(name)} stands twice in one object; keep one")
        found[name] = value
    return found


def _constant(text: str) -> NoReturn:
    raise StrictJsonError("number", f"{text} is not a JSON number")


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > INTEGER_MAX:
        raise StrictJsonError("number", f"whole numbers go from -{INTEGER_MAX} to {INTEGER_MAX}")
    return int(text)


def _check(value: JsonValue, max_depth: int) -> None:
    # Breadth first with a list of its own: the depth limit must not depend on the interpreter's stack.
    level: list[JsonValue] = [value]
    for _ in range(max_depth + 1):
        deeper: list[JsonValue] = []
        for item in level:
            if isinstance(item, dict):
                deeper.extend(item.keys())
                deeper.extend(item.values())
            elif isinstance(item, list):
                deeper.extend(item)
            else:
                _check_scalar(item)
        if not deeper:
            return
        level = deeper
    raise StrictJsonError("depth", f"nested deeper than {max_depth} levels")


def _check_scalar(value: bool | float | str | None) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise StrictJsonError("number", "a number is larger than an IEEE 754 double holds")
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise StrictJsonError("json", "a string has a lone surrogate; write the pair or the character") from error

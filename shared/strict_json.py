"""A JSON reader for documents that people sign, publish or trust: it refuses what parsers disagree about.

RFC 8259 leaves open what a repeated name, a lone surrogate or `NaN` means; two readers that differ on it can be
played against each other (threat T65: a second `capabilities` key). So each of these is an error here, as are text
that is not UTF-8, a byte order mark, nesting without bound and numbers no IEEE double holds (RFC 7493, I-JSON).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Final, NoReturn, TypeAlias, TypeGuard

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

INTEGER_MAX: Final = 2**53 - 1  # RFC 7493 §2.2: beyond it JavaScript and Python read different numbers
DUPLICATES_MAX_COUNT: Final = 20  # names that stand twice, reported at once
NUMBER_MAX_CHARS: Final = 64  # a double needs 24; decimal readers, a database among them, keep every digit they get


class StrictJsonError(ValueError):
    """The bytes are not acceptable JSON.

    Attributes:
        code: `json`, `size`, `duplicate_key`, `number` or `depth`.
        messages: one for each thing that is wrong; several names may stand twice.
    """

    def __init__(self, code: str, *messages: str) -> None:
        super().__init__("; ".join(messages))
        self.code = code
        self.messages = messages


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
    twice: dict[str, None] = {}

    def read_object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
        found = dict(pairs)
        if len(found) != len(pairs) and len(twice) < DUPLICATES_MAX_COUNT:
            twice.update(dict.fromkeys(name for name, times in Counter(name for name, _ in pairs).items() if times > 1))
        return found

    try:
        value: JsonValue = json.loads(
            text, object_pairs_hook=read_object, parse_constant=_constant, parse_int=_integer, parse_float=_number
        )
    except json.JSONDecodeError as error:
        raise StrictJsonError("json", f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise StrictJsonError("depth", f"nested deeper than {max_depth} levels") from error
    if twice:
        names = [json.dumps(name[:NUMBER_MAX_CHARS]) for name in list(twice)[:DUPLICATES_MAX_COUNT]]
        raise StrictJsonError(
            "duplicate_key", *(f"the name {name} stands twice in one object; keep one" for name in names)
        )
    _check(value, max_depth)
    return value


def is_object(value: JsonValue) -> TypeGuard[dict[str, JsonValue]]:
    """Whether `value` is a JSON object."""
    return isinstance(value, dict)


def _constant(text: str) -> NoReturn:
    raise StrictJsonError("number", f"{text} is not a JSON number")


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > INTEGER_MAX:
        raise StrictJsonError("number", f"whole numbers go from -{INTEGER_MAX} to {INTEGER_MAX}")
    return int(text)


def _number(text: str) -> float:
    # Silently zero here, an error or another number for a reader of decimals: `1e-400`, `0e99999`.
    value = float(text)
    mantissa, _, exponent = text.lower().partition("e")
    vanished = value == 0 and (bool(exponent) or any(digit in "123456789" for digit in mantissa))
    if len(text) > NUMBER_MAX_CHARS or vanished or not math.isfinite(value):
        raise StrictJsonError("number", f"a number has at most {NUMBER_MAX_CHARS} characters and fits an IEEE double")
    return value


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
            elif isinstance(item, str):
                _check_text(item)
        if not deeper:
            return
        level = deeper
    raise StrictJsonError("depth", f"nested deeper than {max_depth} levels")


def _check_text(value: str) -> None:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise StrictJsonError("json", "a string has a lone surrogate; write the pair or the character") from error

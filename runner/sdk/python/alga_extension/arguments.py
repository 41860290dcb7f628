"""What a handler gives to the host, as it crosses the border: checked, and made of the border's types.

A wrong type is told by name here; beyond the border it would be a trap.
"""

from __future__ import annotations


def as_text(value: object, what: str) -> str:
    """A text; a lone surrogate, which no other language has, becomes `?`. Raises `TypeError`."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def as_optional_text(value: object, what: str) -> str | None:
    """A text, or none. Raises `TypeError`."""
    return None if value is None else as_text(value, what)


def as_bytes(value: object, what: str) -> bytes:
    """Bytes; a text becomes its UTF-8. Raises `TypeError`."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"{what} must be bytes or a str, not {type(value).__name__}")
    return bytes(value)


def as_optional_bytes(value: object, what: str) -> bytes | None:
    """Bytes, or none. Raises `TypeError`."""
    return None if value is None else as_bytes(value, what)


def as_number(value: object, what: str) -> float:
    """A number. Raises `TypeError`."""
    if not isinstance(value, int | float):
        raise TypeError(f"{what} must be a number, not {type(value).__name__}")
    return float(value)


def as_revision(value: object) -> int | None:
    """A revision of an entry, or none. Raises `TypeError`."""
    if value is not None and (not isinstance(value, int) or not 0 <= value < 2**64):
        raise TypeError("a revision must be a whole number of 64 bits")
    return value


def as_u32(value: object, what: str) -> int | None:
    """A whole number of 32 bits, or none. Raises `TypeError`."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32):
        raise TypeError(f"{what} must be a whole number of 32 bits")
    return value


def as_optional_flag(value: object, what: str) -> bool | None:
    """True, false, or none. Raises `TypeError`."""
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"{what} must be True, False or None")
    return value


def as_optional_case(value: object, types: object, enum: str) -> object:
    """The case of a generated enum that WIT writes like `value`, or none. Raises `TypeError`."""
    if value is None:
        return None
    cases = {case.name.lower().replace("_", "-"): case for case in getattr(types, enum)}
    if not isinstance(value, str) or value not in cases:
        raise TypeError(f"{value!r} is none of {', '.join(cases)}")
    return cases[value]

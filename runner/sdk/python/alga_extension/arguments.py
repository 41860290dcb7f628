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

"""Settings: each service reads the environment once, into one frozen struct.

A variable is declared once (`Var`) with its parser, default and sentence; the table in `deploy/README.md` is
generated from the declarations. A bad value stops the start and names the variable; an unknown name that looks
like ours is a warning with the nearest match. `NAME_FILE` may hold the path of a file with the value.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

Settings = TypeVar("Settings", bound=msgspec.Struct)

OURS: Final = ("EXT_", "RUNNER_", "GATEWAY_", "COMPILER_", "STORAGE_S3_", "UI_PROXY_")


class SettingError(Exception):
    """A variable is missing or wrong. The text names it and says what would be valid."""


class _Required(msgspec.Struct, frozen=True):
    """Marks a variable without a default."""


REQUIRED: Final = _Required()


class Var(msgspec.Struct, frozen=True, kw_only=True):
    """One environment variable.

    Attributes:
        field: name in the service's struct.
        name: name in the environment, a documented contract.
        parse: turns text into the value; raises `ValueError` whose text says what would be valid.
        help: one sentence for the table, with the unit.
        default: value when unset; `REQUIRED` stops the start.
        secret: never printed.
    """

    field: str
    name: str
    parse: Callable[[str], Any]
    help: str
    default: Any = REQUIRED
    secret: bool = False


def load(kind: type[Settings], variables: Sequence[Var], env: Mapping[str, str]) -> Settings:
    """The struct filled from `env`. Raises `SettingError` for the first variable that is missing or wrong."""
    return kind(**{var.field: _value(var, env) for var in variables})


def unknown(env: Mapping[str, str], *declared: Iterable[Var]) -> list[str]:
    """One warning for each variable that looks like ours but is declared nowhere, with the nearest name."""
    names = {var.name for group in declared for var in group}
    names |= {f"{name}_FILE" for name in names}
    warnings: list[str] = []
    for name in sorted(env):
        if name.startswith(OURS) and name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            warnings.append(f"{name} is not a setting{hint}")
    return warnings


def _value(var: Var, env: Mapping[str, str]) -> Any:
    text = env.get(var.name)
    path = env.get(f"{var.name}_FILE")
    if text is not None and path is not None:
        raise SettingError(f"{var.name} and {var.name}_FILE are both set; keep one")
    if path is not None:
        try:
            text = Path(path).read_text().strip()
        except OSError as error:
            raise SettingError(f"{var.name}_FILE: {path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise SettingError(f"{var.name}_FILE: {path} is not UTF-8 text") from None  # its text would show bytes
    if text is None:
        if isinstance(var.default, _Required):
            raise SettingError(f"{var.name} is required: {var.help}")
        return var.default
    try:
        return var.parse(text)
    except ValueError as error:
        if var.secret:  # a parser's text and traceback may quote the value
            reason = str(error).replace(text, "***") if text else str(error)
            raise SettingError(f"{var.name}: the value is not valid: {reason}") from None
        raise SettingError(f"{var.name}: {text!r} is not valid: {error}") from error


# ---- parsers ------------------------------------------------------------------------------------------------


def text(value: str) -> str:
    """Any text that is not empty."""
    if not value:
        raise ValueError("must not be empty")
    return value


def any_text(value: str) -> str:
    """Any text, the empty one included."""
    return value


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", value) or not low <= int(value) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(value)

    return parse


def flag(value: str) -> bool:
    """`1` or `true`, `0` or `false`."""
    found = {"1": True, "true": True, "0": False, "false": False}.get(value.lower())
    if found is None:
        raise ValueError("must be 1, true, 0 or false")
    return found


def choice(*options: str) -> Callable[[str], str]:
    """One of a few words."""

    def parse(value: str) -> str:
        if value not in options:
            raise ValueError(f"must be one of {', '.join(options)}")
        return value

    return parse


def url(*schemes: str) -> Callable[[str], str]:
    """An absolute URL with one of `schemes`, without a trailing slash."""

    def parse(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname or re.search(r"\s", value):
            raise ValueError(f"must be an absolute URL with {' or '.join(schemes)}")
        return value.rstrip("/")

    return parse


def csv(value: str) -> tuple[str, ...]:
    """Comma-separated words, blanks around them dropped."""
    return tuple(word.strip() for word in value.split(",") if word.strip())


def bind(value: str) -> str:
    """`host:port`, where a listener stands; IPv6 in brackets."""
    if (
        not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}", value)
        or int(value.rpartition(":")[2]) > 65535
    ):
        raise ValueError("must be host:port")
    return value


def directory(value: str) -> Path:
    """A path; made at the start when it is missing."""
    return Path(text(value)).absolute()

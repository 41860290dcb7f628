"""One interface of the guest's world, as componentize-py generates it, with its errors as `HostError`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from enum import Enum
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

from alga_extension.errors import HostError

WORLD = "wit_world"

_Record = TypeVar("_Record")


class Interface:
    """One interface of the world; it may be missing, which is an error at the call.

    Args:
        name: in WIT.
        error: what the generated functions raise for the error case of a result.
    """

    def __init__(self, name: str, error: type[Exception]) -> None:
        self._name = name
        self._error = error
        self._module: ModuleType | None = None
        module = f"{WORLD}.imports.{name.replace('-', '_')}"
        try:
            self._module = importlib.import_module(module)
        except ModuleNotFoundError as missing:
            if missing.name != module:
                raise

    def call(self, function: str, *arguments: object) -> Any:
        """What a function of the interface answers. Raises `HostError` for the error case of its result."""
        if self._module is None:
            raise RuntimeError(
                f"alga:extension/{self._name} is not in this guest's world: list its capability in manifest.json"
            )
        try:
            return getattr(self._module, function)(*arguments)
        except self._error as error:
            raise self._host_error(error) from None

    def _host_error(self, error: Exception) -> HostError:
        value: object = getattr(error, "value", None)
        if isinstance(value, Enum):
            return HostError(self._name, case_name(value))
        return HostError(self._name, "refused", str(value))


def as_record(kind: type[_Record], raw: object, **changed: object) -> _Record:
    """A generated record as ours, whose fields have the same names; some of them changed."""
    return kind(**{**vars(raw), **changed})


def case_name(value: Enum) -> str:
    """The case of a generated enum, as WIT writes it."""
    return value.name.lower().replace("_", "-")


class Provider:
    """A service of the host application that the operator declared: its functions, as the guest's world has them.

    Records and enums are those of `wit_world.imports.types`, arguments are not checked before they cross.
    """

    def __init__(self, name: str, interface: Interface | None) -> None:
        self._name, self._interface = name, interface

    def __getattr__(self, function: str) -> Callable[..., Any]:
        if function.startswith("_"):
            raise AttributeError(function)
        return partial(self._call, function)

    def _call(self, function: str, *arguments: object) -> Any:
        if self._interface is None:
            raise RuntimeError(f"alga:extension/{self._name} exists inside of a component; a test gives a stand-in")
        return self._interface.call(function, *arguments)


def provider(name: str) -> Provider:
    """The service of this name; call it where the module is loaded, since a guest's imports are fixed when it is built.

    In plain CPython there is no world: every call of its functions says so.
    """
    try:
        error: type[Exception] = importlib.import_module("componentize_py_types").Err
    except ModuleNotFoundError:
        return Provider(name, None)
    return Provider(name, Interface(name, error))

"""Host functions as wasmtime's C API calls them: raw callbacks compiled from WIT types.

They cannot raise: whatever goes wrong inside becomes the function's own failure value, because an exception that
crosses into wasmtime would be swallowed and turn into a type mismatch, or worse, surface in another call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from ctypes import c_size_t, c_void_p, memmove
from typing import Any

from runner.sandbox.codec import layout
from runner.sandbox.codec.lift import LiftError, kind_of, lift_value, lifter
from runner.sandbox.codec.lower import Owned, lower_value, lowerer
from shared.wit_answers import failed_answer
from shared.wit_types import Function

HostCall = Callable[[str, Function, Sequence[Any]], Any]
"""(interface, function, arguments) → a value of the function's result type."""

Refuse = Callable[[str, Function, str], Any]
"""(interface, function, reason) → what to answer when the arguments were not taken."""

Thunk = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t)
"""`wasmtime_component_func_callback_t`. Whoever registers one keeps it alive: the linker holds its address only."""


def _fail(_interface: str, function: Function, _reason: str) -> Any:
    return failed_answer(function)


def host_function(interface: str, function: Function, host: HostCall, refuse: Refuse = _fail) -> Callable[..., None]:
    """The raw callback of one import: lift arguments, ask `host`, lower the answer. Never raises.

    Args:
        refuse: asked instead of `host` when the arguments are larger than may cross.
    """
    parameters = [(lifter(wit), kind_of(wit)) for _, wit in function.params]
    result = function.result
    lower, kind = (None, 0) if result is None else (lowerer(result), kind_of(result))
    owned = Owned()

    def run(
        _data: int, _context: int, _type: int, arguments: int, count: int, results: int, _result_count: int
    ) -> None:
        try:
            try:
                values = [
                    lift_value(lift, expected, arguments + at * layout.VAL_BYTES)
                    for at, (lift, expected) in zip(range(count), parameters, strict=True)
                ]
            except LiftError as error:
                answer = refuse(interface, function, str(error))
            else:
                answer = host(interface, function, values)
            packed = None if lower is None else lower_value(lower, kind, answer, owned)
        except BaseException:  # noqa: BLE001 - nothing may cross into wasmtime; the guest gets its typed failure
            packed = None if lower is None else lower_value(lower, kind, failed_answer(function), owned)
        if packed is not None:
            memmove(results, packed, layout.VAL_BYTES)

    return run


def trap_function(message: str) -> Callable[..., int]:
    """The raw callback of an import that stops the guest with `message`."""
    text = message.encode()

    def run(*_arguments: int) -> int:
        error: int = layout.error_new(text)  # wasmtime frees it
        return error

    return run


def define(instance: Any, name: str, thunk: Any) -> bool:
    """Add a function to a linker's instance; `False` when one of that name is there and may not be shadowed."""
    encoded = name.encode()
    address, code = ctypes.cast(instance.ptr(), c_void_p), ctypes.cast(thunk, c_void_p)
    error = layout.add_function(address, encoded, len(encoded), code, None, None)
    if error:
        layout.error_delete(error)
    return not error

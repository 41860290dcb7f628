"""The linker: every import of the world, once for each engine.

Host functions are raw C callbacks compiled from the WIT types. They cannot raise: whatever goes wrong inside
becomes the function's own failure value, because an exception that crosses into wasmtime would be swallowed and
turn into a type mismatch, or worse, surface in another call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from ctypes import c_size_t, c_void_p, memmove
from typing import Any, Final

from wasmtime import Engine
from wasmtime.component import Linker

from runner.sandbox.codec import layout
from runner.sandbox.codec.lift import kind_of, lift_value, lifter
from runner.sandbox.codec.lower import Owned, lower_value, lowerer
from shared.wit_answers import failed_answer
from shared.wit_types import Function, World

HostCall = Callable[[str, Function, Sequence[Any]], Any]

_CALLBACK: Final = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t)


class GuestLinker:
    """A linker whose imports call `host`, plus everything that must outlive it."""

    def __init__(self, engine: Engine, world: World, host: HostCall) -> None:
        self.linker = Linker(engine)
        self.linker.add_wasip2()
        self._callbacks: list[Any] = []  # ctypes thunks; the linker holds only their addresses
        with self.linker.root() as root:
            for name in world.imports:
                with root.add_instance(f"{world.package}/{name}") as instance:
                    for function in world.interfaces[name].functions:
                        self._add(instance, name, function, host)

    def _add(self, instance: Any, interface: str, function: Function, host: HostCall) -> None:
        callback = _CALLBACK(host_function(interface, function, host))
        self._callbacks.append(callback)
        name = function.name.encode()
        address = ctypes.cast(instance.ptr(), c_void_p)
        error = layout.add_function(address, name, len(name), ctypes.cast(callback, c_void_p), None, None)
        if error:
            raise RuntimeError(f"{interface}.{function.name} cannot be linked")


def host_function(interface: str, function: Function, host: HostCall) -> Callable[..., None]:
    """The raw callback of one import: lift arguments, ask `host`, lower the answer. Never raises."""
    parameters = [(lifter(wit), kind_of(wit)) for _, wit in function.params]
    result = function.result
    lower, kind = (None, 0) if result is None else (lowerer(result), kind_of(result))
    owned = Owned()

    def run(
        _data: int, _context: int, _type: int, arguments: int, count: int, results: int, _result_count: int
    ) -> None:
        try:
            values = [
                lift_value(lift, expected, arguments + at * layout.VAL_BYTES)
                for at, (lift, expected) in zip(range(count), parameters, strict=True)
            ]
            answer = host(interface, function, values)
            packed = None if lower is None else lower_value(lower, kind, answer, owned)
        except BaseException:  # noqa: BLE001 - nothing may cross into wasmtime; the guest gets its typed failure
            packed = None if lower is None else lower_value(lower, kind, failed_answer(function), owned)
        if packed is not None:
            memmove(results, packed, layout.VAL_BYTES)

    return run

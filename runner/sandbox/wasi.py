"""WASI 0.2 as guests get it: wasmtime's own, but with rounded clocks and traps in place of the network.

    wasi:clocks     `now` and `resolution` are ours (`guest_clock`); waiting is wasmtime's
    wasi:sockets    every function traps and names `http.fetch`
    wasi:http       not wasmtime's: resource types without values, every function traps and names `http.fetch`
    the rest        wasmtime's, on a context without directories, variables, arguments and network

Ours shadow wasmtime's by name, and the name holds the version that this release of wasmtime carries. Under another
version they would stand beside its functions and shadow nothing; so each is first seen to be there, and a wasmtime
that lacks one does not start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from ctypes import memmove
from typing import Any, Final

from wasmtime.component import Linker, ResourceType

from runner.sandbox.codec import layout
from runner.sandbox.guest_clock import RESOLUTION_NS, GuestClock
from runner.sandbox.host_function import Thunk, define, host_function, trap_function
from shared import wasi
from shared.wit_types import Function, Primitive, Record

VERSION: Final = "0.2.12"  # of the WASI in wasmtime 50.0.1
_DATETIME: Final = Record("datetime", (("seconds", Primitive("u64")), ("nanoseconds", Primitive("u32"))))
_KIND_U64: Final = layout.NUMBER_KINDS["u64"]
_RESOURCES_FROM: Final = 7_000  # host resource types are told apart by number; nobody else here makes any

Definitions = dict[str, dict[str, Any]]
"""Interface without version → function → callback."""


def offer_wasi(linker: Linker, clock: GuestClock) -> list[Any]:
    """Define WASI in `linker`. Returns what must live as long as the linker does.

    Raises:
        RuntimeError: this wasmtime's WASI lacks what is to be shadowed, or has what must be ours alone.
    """
    linker.add_wasip2()
    shadows = _clocks(clock) | _traps(wasi.SOCKETS, "guests have no sockets")
    http = _traps(wasi.HTTP, "guests do not speak HTTP by themselves")
    if missing := _defined(linker, shadows):
        raise RuntimeError(f"this wasmtime has no {', '.join(missing)} in WASI {VERSION}")
    linker.allow_shadowing = True
    shadowing = _defined(linker, shadows)
    linker.allow_shadowing = False
    for interface, functions in http.items():
        _add_resources(linker, interface, wasi.resources(functions))
    refused = _names(shadows) + _names(http) - shadowing - _defined(linker, http)
    if refused:
        raise RuntimeError(f"this wasmtime does not let {', '.join(refused)} of WASI {VERSION} be defined")
    return [shadows, http]


def _names(definitions: Definitions) -> Counter[str]:
    return Counter(f"{interface} {name}" for interface, functions in definitions.items() for name in functions)


def _defined(linker: Linker, definitions: Definitions) -> Counter[str]:
    """Add functions to their interfaces; the names that were not taken yet, or might be shadowed."""
    found: Counter[str] = Counter()
    for interface, functions in definitions.items():
        with linker.root() as root, root.add_instance(f"{interface}@{VERSION}") as instance:
            found.update(f"{interface} {name}" for name, thunk in functions.items() if define(instance, name, thunk))
    return found


def _add_resources(linker: Linker, interface: str, names: Iterable[str]) -> None:
    with linker.root() as root, root.add_instance(f"{interface}@{VERSION}") as instance:
        for number, name in enumerate(names, _RESOURCES_FROM):
            instance.add_resource(name, ResourceType.host(number), lambda _store, _value: None)


def _traps(interfaces: Iterable[str], reason: str) -> Definitions:
    return {
        interface: {
            name: Thunk(
                trap_function(
                    f"{interface} {name}: {reason}; import alga:extension/http and call http.fetch, "
                    "which the grant cap:http.fetch allows"
                )
            )
            for name in wasi.FUNCTIONS[interface]
        }
        for interface in interfaces
    }


def _clocks(clock: GuestClock) -> Definitions:
    def wall(_interface: str, function: Function, _arguments: object) -> tuple[int, int]:
        return clock.wall() if function.name == "now" else (0, RESOLUTION_NS)

    return {
        "wasi:clocks/monotonic-clock": {
            "now": Thunk(_number(clock.monotonic_ns)),
            "resolution": Thunk(_number(lambda: RESOLUTION_NS)),
        },
        "wasi:clocks/wall-clock": {
            name: Thunk(host_function("wall-clock", Function(name, (), _DATETIME), wall))
            for name in ("now", "resolution")
        },
    }


def _number(value: Callable[[], int]) -> Callable[..., None]:
    """A function without arguments that answers a `u64`. StarlingMonkey asks for the time eight times a call."""

    def run(
        _data: int, _context: int, _type: int, _arguments: int, _count: int, results: int, _result_count: int
    ) -> None:
        memmove(results, layout.VAL.pack(_KIND_U64, value(), 0, 0), layout.VAL_BYTES)

    return run

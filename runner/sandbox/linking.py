"""The linker: every import of the world and of WASI, once for each engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from wasmtime import Engine
from wasmtime.component import Linker

from runner.sandbox.guest_clock import GuestClock
from runner.sandbox.host_function import Thunk, define, host_function
from runner.sandbox.library_codec import expressible, library_function
from runner.sandbox.offer import OWN, Codec
from runner.sandbox.wasi import offer_wasi
from shared.wit_types import Function, World


class Host(Protocol):
    """Who answers a guest's calls."""

    def call(self, interface: str, function: Function, arguments: Sequence[Any]) -> Any:
        """The answer, of the function's result type; may raise, the guest then gets the function's failure value."""
        ...

    def refuse(self, interface: str, function: Function, reason: str) -> Any:
        """What to answer to arguments that are larger than may cross."""
        ...


class GuestLinker:
    """A linker whose imports call `host`, plus everything that must outlive it.

    Attributes:
        clock: what guests see of time; to be started with each store.
    """

    def __init__(self, engine: Engine, world: World, host: Host, codec: Codec = OWN) -> None:
        self._codec = codec
        self.linker = Linker(engine)
        self.clock = GuestClock()
        self._thunks: list[Any] = offer_wasi(self.linker, self.clock)
        with self.linker.root() as root:
            for name in world.imports:
                with root.add_instance(f"{world.package}/{name}") as instance:
                    for function in world.interfaces[name].functions:
                        self._add(instance, name, function, host)

    def _add(self, instance: Any, interface: str, function: Function, host: Host) -> None:
        if self._codec != OWN and expressible(function):
            instance.add_func(function.name, library_function(interface, function, host.call, host.refuse))
            return
        thunk = Thunk(host_function(interface, function, host.call, host.refuse))
        self._thunks.append(thunk)
        if not define(instance, function.name, thunk):
            raise RuntimeError(f"{interface}.{function.name} cannot be linked")

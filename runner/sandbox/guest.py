"""One call of one guest: fresh store, instantiate, call `handler`, say what happened. A store serves one call, ever."""

from __future__ import annotations

import ctypes
import time
from ctypes import addressof, c_void_p
from typing import Any, Final, Protocol

import msgspec
from wasmtime import Engine, Store, WasiConfig, WasmtimeError
from wasmtime import _ffi as ffi
from wasmtime.component import Component, ExportIndex

from runner.sandbox import frames
from runner.sandbox.codec import layout
from runner.sandbox.codec.lift import LiftError, kind_of, lift_value, lifter
from runner.sandbox.codec.lower import Borrowed, lower_value, lowerer
from runner.sandbox.guest_host import GuestHost, OutputLines
from runner.sandbox.linking import GuestLinker
from runner.sandbox.ticker import Ticker
from shared.limits import (
    GUEST_ANSWER_MAX_BYTES,
    STORE_MAX_INSTANCES,
    STORE_MAX_MEMORIES,
    STORE_MAX_TABLES,
    TABLE_MAX_ELEMENTS,
)
from shared.wit_types import Function

EXPORT: Final = "handler"
MESSAGE_MAX_CHARS: Final = 4096  # of wasmtime's text with the guest's backtrace

_error_pointer: Final = ctypes.POINTER(ffi.wasmtime_error_t)


class LoadedComponent(msgspec.Struct, frozen=True):
    """Native code mapped into this process, and where its handler is."""

    component: Component
    handler: ExportIndex


def load_component(engine: Engine, path: str) -> LoadedComponent:
    """Map a `.cwasm`. The bytes must have been authenticated: they are native code."""
    component = Component.deserialize_file(engine, path)
    handler = component.get_export_index(EXPORT)
    if handler is None:
        raise ValueError(f"the component exports no {EXPORT}")
    return LoadedComponent(component, handler)


class Handler:
    """The exported function's codec, compiled once from the world's types."""

    def __init__(self, export: Function) -> None:
        ((_, request),) = export.params
        if export.result is None:
            raise ValueError("handler must answer")
        self._lower, self._request_kind = lowerer(request), kind_of(request)
        self._lift, self._answer_kind = lifter(export.result), kind_of(export.result)

    def call(self, store: Store, function: Any, request: Any) -> Any:
        """Call the guest. Raises `WasmtimeError` for a trap, `LiftError` for an answer that is none."""
        memory = Borrowed()
        argument = lower_value(self._lower, self._request_kind, request, memory)
        answer = ffi.wasmtime_component_val_t()
        context = ctypes.cast(store._context(), c_void_p)
        raw = layout.function_call(
            addressof(function._func), context, layout.bytes_address(argument), 1, addressof(answer), 1
        )
        if raw:
            raise WasmtimeError._from_ptr(ctypes.cast(raw, _error_pointer))
        try:
            return lift_value(self._lift, self._answer_kind, addressof(answer))
        finally:
            layout.val_delete(addressof(answer))


class Codec(Protocol):
    """What calls a guest's handler, whichever way its values cross."""

    def call(self, store: Store, function: Any, request: Any) -> Any:
        """As `Handler.call`."""
        ...


class Failure(msgspec.Struct, frozen=True):
    """Why there is no answer."""

    kind: frames.FailureKind
    message: str


class GuestCall:
    """One execution. Use as a context manager: the store is dropped on exit, after the answer has left."""

    def __init__(self, engine: Engine, linker: GuestLinker, handler: Codec, host: GuestHost, ticker: Ticker) -> None:
        self._engine, self._linker, self._handler = engine, linker, handler
        self._host, self._ticker = host, ticker
        self._store: Store | None = None

    def close(self) -> None:
        """Drop the store, and with it all memory the guest touched."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def run(self, frame: frames.Execute, loaded: LoadedComponent) -> frames.Done | frames.Failed:
        """Execute `frame`; never raises for anything the guest does."""
        started_ns = time.process_time_ns()
        self._host.begin(frame)
        stdout, stderr = OutputLines(self._host, "stdout"), OutputLines(self._host, "stderr")
        self._ticker.arm(frame.timeout_ms)
        try:
            answer = self._answer(frame, loaded, stdout, stderr)
        except WasmtimeError as error:
            answer = classify(str(error))
        except LiftError as error:
            answer = Failure("response", str(error))
        finally:
            self._ticker.disarm()
            stdout.flush()
            stderr.flush()
        cpu_us = (time.process_time_ns() - started_ns) // 1000
        if isinstance(answer, Failure):
            message = answer.message[:MESSAGE_MAX_CHARS]
            return frames.Failed(frame.seq, answer.kind, message, cpu_us, self._host.host_calls)
        status, headers, body = answer
        pairs = [(name, value) for name, value in headers]
        return frames.Done(frame.seq, status, pairs, body, cpu_us, self._host.host_calls)

    def _answer(self, frame: frames.Execute, loaded: LoadedComponent, stdout: OutputLines, stderr: OutputLines) -> Any:
        store = self._store = Store(self._engine)
        store.set_limits(
            memory_size=frame.memory_bytes,
            table_elements=TABLE_MAX_ELEMENTS,
            instances=STORE_MAX_INSTANCES,
            tables=STORE_MAX_TABLES,
            memories=STORE_MAX_MEMORIES,
        )
        store.set_epoch_deadline(1)
        self._linker.clock.begin()
        wasi = WasiConfig()
        wasi.stdout_custom = stdout.write
        wasi.stderr_custom = stderr.write
        store.set_wasi(wasi)
        instance = self._linker.linker.instantiate(store, loaded.component)
        function = instance.get_func(store, loaded.handler)
        request = (frame.context, (frame.method, frame.url, frame.headers, frame.body))
        return self._handler.call(store, function, request)


_SIGNS: Final[tuple[tuple[str, frames.FailureKind], ...]] = (
    ("wasm trap: interrupt", "interrupt"),
    ("call stack exhausted", "stack"),
    ("all fuel consumed", "fuel"),
    ("exceeds memory limits", "memory"),
    ("exceeds table limits", "memory"),
    ("resource limit exceeded", "memory"),  # instances, memories or tables
    ("wasm `unreachable` instruction", "unreachable"),
)
_FUEL: Final = "fuel allocated for hostcalls"
_BACKTRACE: Final = "error while executing at wasm backtrace"


def classify(message: str) -> Failure:
    """What a wasmtime error means. There are no codes for component traps in the C API, so the text decides.

    A backtrace shows the names a guest gave its functions, so only what stands behind it counts.
    """
    inside = message.startswith(_BACKTRACE)
    cause = message.rpartition("Caused by:")[2]
    if _FUEL in cause and inside:
        said = f"more than {GUEST_ANSWER_MAX_BYTES} bytes were passed to a host function at once"
        return Failure("trap", f"{said}: {message}")
    if _FUEL in cause:
        return Failure("response", f"the answer is larger than {GUEST_ANSWER_MAX_BYTES} bytes can be: {message}")
    for sign, kind in _SIGNS:
        if sign in cause:
            return Failure(kind, message)
    if message.startswith("component imports"):
        return Failure("link", message)
    return Failure("trap", message)

"""Memory layout of component values in wasmtime's C API, and the C functions that own such memory.

    wasmtime_component_val_t       32 bytes: kind u8 at 0, union at 8 (we use its first two words, a and b)
      string, enum, list, record, tuple   a = size, b = pointer
      option                              a = pointer or 0
      result                              a = is_ok (one byte), b = pointer or 0
      numbers, bool, char                 a = the bits
    record entry                   48 bytes: name {size, pointer}, then a value

The layout is private to wasmtime, so it is asserted at import against the library's own ctypes definitions and
the version is pinned (decision 0004).
"""

from __future__ import annotations

import ctypes
import struct
from ctypes import c_char_p, c_size_t, c_void_p, string_at
from typing import Any, Final

from wasmtime import _ffi as ffi

VAL_BYTES: Final = 32
ENTRY_BYTES: Final = 48
UNION_OFFSET: Final = 8

VAL: Final = struct.Struct("<QQQQ")  # kind, a, b, unused
WORD_PAIR: Final = struct.Struct("<QQ")

KIND_BOOL: Final[int] = ffi.WASMTIME_COMPONENT_BOOL.value
KIND_STRING: Final[int] = ffi.WASMTIME_COMPONENT_STRING.value
KIND_LIST: Final[int] = ffi.WASMTIME_COMPONENT_LIST.value
KIND_RECORD: Final[int] = ffi.WASMTIME_COMPONENT_RECORD.value
KIND_TUPLE: Final[int] = ffi.WASMTIME_COMPONENT_TUPLE.value
KIND_ENUM: Final[int] = ffi.WASMTIME_COMPONENT_ENUM.value
KIND_OPTION: Final[int] = ffi.WASMTIME_COMPONENT_OPTION.value
KIND_RESULT: Final[int] = ffi.WASMTIME_COMPONENT_RESULT.value
KIND_U8: Final[int] = ffi.WASMTIME_COMPONENT_U8.value
NUMBER_KINDS: Final[dict[str, int]] = {
    name: getattr(ffi, f"WASMTIME_COMPONENT_{name.upper()}").value
    for name in ("u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "f32", "f64", "char")
}
WIDTH_MASK: Final[dict[str, int]] = {
    name: (1 << int(name[1:])) - 1 for name in ("u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64")
}

# The payload of a bytes object stands at a fixed distance from its address (CPython object layout).
BYTES_OFFSET: Final = bytes.__basicsize__ - 1


def bytes_address(data: bytes) -> int:
    """Address of the payload of `data`, valid while `data` lives."""
    return id(data) + BYTES_OFFSET


def _function(library: Any, name: str, result: Any, *arguments: Any) -> Any:
    function = library[name]
    function.restype = result
    function.argtypes = list(arguments)
    return function


# PyDLL keeps the interpreter lock: these take a microsecond or less. CDLL releases it: a guest may run for seconds.
_held: Final = ctypes.PyDLL(str(ffi.filename))
_released: Final = ctypes.CDLL(str(ffi.filename))

byte_vec_new: Final = _function(_held, "wasm_byte_vec_new", None, c_void_p, c_size_t, c_char_p)
record_new: Final = _function(_held, "wasmtime_component_valrecord_new_uninit", None, c_void_p, c_size_t)
list_new: Final = _function(_held, "wasmtime_component_vallist_new_uninit", None, c_void_p, c_size_t)
tuple_new: Final = _function(_held, "wasmtime_component_valtuple_new_uninit", None, c_void_p, c_size_t)
val_new: Final = _function(_held, "wasmtime_component_val_new", c_void_p, c_void_p)
val_delete: Final = _function(_held, "wasmtime_component_val_delete", None, c_void_p)
error_new: Final = _function(_held, "wasmtime_error_new", c_void_p, c_char_p)
error_delete: Final = _function(_held, "wasmtime_error_delete", None, c_void_p)
engine_increment_epoch: Final = _function(_held, "wasmtime_engine_increment_epoch", None, c_void_p)
add_function: Final = _function(
    _held,
    "wasmtime_component_linker_instance_add_func",
    c_void_p,
    c_void_p,
    c_char_p,
    c_size_t,
    c_void_p,
    c_void_p,
    c_void_p,
)
function_call: Final = _function(
    _released,
    "wasmtime_component_func_call",
    c_void_p,
    c_void_p,
    c_void_p,
    c_void_p,
    c_size_t,
    c_void_p,
    c_size_t,
)


def check_layout() -> None:
    """Raise `RuntimeError` unless this build of wasmtime lays values out as this module says."""
    result: Any = ffi.wasmtime_component_valresult_t  # typed as pointers by the library's stubs
    listed: Any = ffi.wasmtime_component_vallist_t
    probe = b"layout-probe-\x01\x02"
    facts = (
        ctypes.sizeof(ffi.wasmtime_component_val_t) == VAL_BYTES,
        ctypes.sizeof(ffi.wasmtime_component_valrecord_entry_t) == ENTRY_BYTES,
        ffi.wasmtime_component_val_t.of.offset == UNION_OFFSET,
        result.val.offset == 8,
        listed.data.offset == 8,
        string_at(bytes_address(probe), len(probe)) == probe,
    )
    if not all(facts):
        raise RuntimeError(f"this wasmtime build has another value layout: {facts}")


check_layout()

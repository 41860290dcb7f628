"""Everything that is wrong with a project, at once: manifest, files, component, and whether they fit each other.

The rules are the platform's own (`shared`), applied as far as each of them can be when another is broken, so that an
author corrects one list and not one error after the other.
"""

from __future__ import annotations

import os
import stat
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from gateway.cli.incremental import stale
from gateway.cli.pages import blocked_in
from gateway.cli.project import MANIFEST, Project, manifest_bytes
from gateway.cli.providers import providers_here
from shared.bundle_names import MemberNameError, Names, member_max_bytes
from shared.bundle_writer import FOLDERS, write_bundle
from shared.component import ComponentFacts, check_against_manifest, inspect_component
from shared.errors import PlatformError
from shared.limits import BUILD_MAX_S, BUNDLE_MAX_FILES, BUNDLE_UNPACKED_MAX_BYTES
from shared.manifest import Manifest, parse_manifest
from shared.manifest_rules import check_members

Severity = Literal["error", "warning"]

_RANDOM: Final = "wasi:random/random@"
_ENTRY: Final = "dist/main.wasm"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    Attributes:
        severity: an error stops packing and publishing, a warning does not.
        code: stable; the platform's where it has one.
        path: a JSON path in the manifest, or the name of a file.
        message: says what would be right.
    """

    severity: Severity = "error"
    code: str
    path: str
    message: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `check --json` prints."""

    ok: bool
    name: str | None
    version: str | None
    files: int
    unpacked_bytes: int
    component: ComponentFacts | None
    problems: tuple[Problem, ...]

    def errors(self) -> tuple[Problem, ...]:
        """What stops the extension."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


def check_project(folder: Path, *, allow_unused_imports: bool, try_packing: bool = True) -> Report:
    """Look at the project in `folder` as publishing will.

    Args:
        folder: with a manifest.
        allow_unused_imports: an import whose capability is not declared becomes a warning.
        try_packing: find out, too, what only packing finds; not needed by who packs anyway.

    Raises:
        CliError: there is no manifest at all.
        OSError: a file cannot be read.
    """
    manifest, problems = _manifest(manifest_bytes(folder))
    files = _files(folder, manifest)
    problems += _names_and_sizes(files)
    problems += _pages(files)
    facts = None
    if manifest is not None:
        problems += [
            Problem(code=one.code, path=one.path, message=one.message) for one in check_members(manifest, files)
        ]
    entry = files.get(_ENTRY if manifest is None else manifest.entry)
    if entry is not None:
        facts, found = _component(entry, manifest, allow_unused_imports=allow_unused_imports)
        problems += found
    if manifest is not None:
        problems += _of_the_build(Project(folder.resolve(), manifest), built=entry is not None)
        if try_packing and not any(problem.severity == "error" for problem in problems):
            problems += _archive(folder)
    return Report(
        ok=not any(problem.severity == "error" for problem in problems),
        name=manifest.name if manifest else None,
        version=manifest.version if manifest else None,
        files=len(files),
        unpacked_bytes=sum(path.lstat().st_size for path in files.values()),
        component=facts,
        problems=tuple(sorted(problems, key=lambda one: one.severity)),
    )


def _manifest(data: bytes) -> tuple[Manifest | None, list[Problem]]:
    try:
        return parse_manifest(data, known=providers_here().capabilities), []
    except PlatformError as error:
        return None, _from_platform(error, MANIFEST)


# ---- files --------------------------------------------------------------------------------------------------


def _files(folder: Path, manifest: Manifest | None) -> dict[str, Path]:
    """What would be packed: name in the archive → file."""
    single = (MANIFEST, _ENTRY) if manifest is None else (MANIFEST, manifest.entry, manifest.sbom)
    found = {name: folder / name for name in single if name is not None and os.path.lexists(folder / name)}
    for top in FOLDERS:
        for inside, folders, names in os.walk(folder / top):
            linked = [name for name in folders if (Path(inside) / name).is_symlink()]
            for name in (*names, *linked):
                path = Path(inside) / name
                found[unicodedata.normalize("NFC", path.relative_to(folder).as_posix())] = path
    return dict(sorted(found.items()))


def _names_and_sizes(files: dict[str, Path]) -> Iterator[Problem]:
    names = Names()
    total_bytes = 0
    for name, path in files.items():
        try:
            names.add(name)
        except MemberNameError as error:
            yield Problem(code="bundle_invalid", path=name, message=str(error))
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            yield Problem(code="bundle_invalid", path=name, message="must be a regular file: no link, device or pipe")
            continue
        total_bytes += status.st_size
        if status.st_size > member_max_bytes(name):
            message = f"has {status.st_size:,} bytes; at most {member_max_bytes(name):,} fit into a bundle"
            yield Problem(code="bundle_limits", path=name, message=message)
    if len(files) > BUNDLE_MAX_FILES:
        message = f"a bundle has at most {BUNDLE_MAX_FILES:,} files; there are {len(files):,}"
        yield Problem(code="bundle_limits", path=".", message=message)
    if total_bytes > BUNDLE_UNPACKED_MAX_BYTES:
        message = f"a bundle has at most {BUNDLE_UNPACKED_MAX_BYTES:,} bytes unpacked; there are {total_bytes:,}"
        yield Problem(code="bundle_limits", path=".", message=message)


def _pages(files: dict[str, Path]) -> Iterator[Problem]:
    for name, path in files.items():
        if name.startswith("ui/") and name.endswith((".html", ".htm")) and path.is_file():
            for sentence in blocked_in(path.read_text(encoding="utf-8", errors="replace")):
                yield Problem(severity="warning", code="page_blocked", path=name, message=sentence)


def _archive(folder: Path) -> list[Problem]:
    """What only packing finds: the compressed size, and how far the content shrinks."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            write_bundle(folder, Path(scratch) / "bundle.tar.zst", known=providers_here().capabilities)
        except PlatformError as error:
            return _from_platform(error, ".")
    return []


# ---- the component ------------------------------------------------------------------------------------------


def _component(
    path: Path, manifest: Manifest | None, *, allow_unused_imports: bool
) -> tuple[ComponentFacts | None, list[Problem]]:
    name = _ENTRY if manifest is None else manifest.entry
    providers = providers_here()
    try:
        facts = inspect_component(path, BUILD_MAX_S, providers.world)
    except PlatformError as error:
        return None, _from_platform(error, name)
    problems: list[Problem] = []
    if manifest is not None:
        try:
            warnings = check_against_manifest(
                facts, manifest, allow_unused_imports=allow_unused_imports, interfaces=providers.interfaces
            )
        except PlatformError as error:
            problems = _from_platform(error, name)
        else:
            problems = [
                Problem(severity="warning", code="capabilities_differ", path="$.capabilities", message=message)
                for message in warnings
            ]
    if not any(imported.startswith(_RANDOM) for imported in facts.imports):
        problems.append(_frozen_randomness(name))
    return facts, problems


def _frozen_randomness(entry: str) -> Problem:
    return Problem(
        severity="warning",
        code="randomness_frozen",
        path=entry,
        message="the component imports no wasi:random: random numbers may be the same in every call, so never draw ids, "
        "keys or tokens from them; build with StarlingMonkey or Python where you need them",
    )


def _of_the_build(project: Project, *, built: bool) -> Iterator[Problem]:
    if built and stale(project):
        yield Problem(
            severity="warning",
            code="component_stale",
            path=project.manifest.entry,
            message="was built from other sources than stand here now: alga-ext build",
        )


def _from_platform(error: PlatformError, path: str) -> list[Problem]:
    """One problem for each violation the error lists, else one for itself."""
    listed: Any = error.extra.get("violations")
    if listed:
        return [Problem(code=one["code"], path=one["path"], message=one["message"]) for one in listed]
    return [Problem(code=error.code, path=str(error.extra.get("path", path)), message=error.detail)]

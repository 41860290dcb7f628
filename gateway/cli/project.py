"""A project folder, which is at the same time the tree of its bundle.

    manifest.json        what the extension is and asks for
    ui/                  its pages, packed as they are
    dist/main.wasm       the component, written by `build` (the manifest's `entry`)
    dist/wit/            the world it was built for, derived from the manifest's capabilities
    dist/NAME-VERSION.tar.zst                 written by `pack`
    dist/NAME-VERSION.signature.json          written by `sign`

So there is nothing to copy: what `pack` takes is what stands in the editor.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from gateway.cli.failures import CliError, from_platform, usage
from gateway.cli.providers import providers_here
from shared.errors import PlatformError
from shared.limits import MANIFEST_MAX_BYTES
from shared.manifest import Manifest, parse_manifest

MANIFEST: Final = "manifest.json"
DIST: Final = "dist"
_ARCHIVE: Final = ".tar.zst"


class Project(msgspec.Struct, frozen=True):
    """A folder with a valid manifest.

    Attributes:
        folder: absolute.
        manifest: as its file has it.
    """

    folder: Path
    manifest: Manifest

    @property
    def reference(self) -> str:
        """The extension's name that is never ambiguous: `publisher.name`."""
        return f"{self.manifest.publisher}.{self.manifest.name}"

    @property
    def bundle(self) -> Path:
        """Where `pack` puts the archive."""
        return self.folder / DIST / f"{self.manifest.name}-{self.manifest.version}{_ARCHIVE}"

    @property
    def component(self) -> Path:
        """Where the manifest says that the component is."""
        return self.folder / self.manifest.entry


def signature_of(bundle: Path) -> Path:
    """Where `sign` puts the signature of `bundle`, and `publish` and `verify` look for it."""
    return bundle.with_name(f"{bundle.name.removesuffix(_ARCHIVE)}.signature.json")


def manifest_bytes(folder: Path) -> bytes:
    """The bytes of the manifest in `folder`. Raises `CliError` when there is none."""
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            return file.read(MANIFEST_MAX_BYTES + 1)
    except OSError as error:
        raise CliError(
            f"{path} cannot be read: {error.strerror}",
            next_step="go to the folder of an extension, or make one: alga-ext new NAME",
            code="cli_no_project",
        ) from error


def open_project(folder: Path) -> Project:
    """The project in `folder`.

    Raises:
        CliError: there is no manifest, or it is not valid; the details list everything that is wrong.
    """
    data = manifest_bytes(folder)
    try:
        return Project(folder.resolve(), parse_manifest(data, known=providers_here().capabilities))
    except PlatformError as error:
        raise from_platform(error) from error


def project_here() -> Project | None:
    """The project in the current folder, `None` when there is none. Raises `CliError` for one that is not valid."""
    return open_project(Path.cwd()) if (Path.cwd() / MANIFEST).is_file() else None


def reference_here() -> str:
    """`publisher.name` of the project in the current folder. Raises `CliError` when there is none."""
    project = project_here()
    if project is None:
        raise usage("which extension?", next_step="give --extension NAME, or go to the folder of its manifest")
    return project.reference


def named_or_here(given: str | None) -> tuple[str, str | None]:
    """The extension and version in `NAME[@VERSION]`; by default the project here, no version. Raises `CliError`."""
    if given is None:
        return reference_here(), None
    reference, _, version = given.partition("@")
    if not reference or given.endswith("@"):
        raise usage(f"{given!r} names no extension", next_step="write NAME, publisher.NAME or an id, perhaps @VERSION")
    return reference, version or None


def bundle_or_packed(bundle: Path | None) -> Path:
    """The archive that was named, else the one that `pack` wrote for the project here. Raises `CliError`."""
    if bundle is None:
        bundle = open_project(Path.cwd()).bundle
    if not bundle.is_file():
        raise CliError(
            f"there is no bundle at {bundle}",
            next_step="write it with alga-ext pack, or name another one",
            code="cli_no_bundle",
        )
    return bundle

"""What the compiler role reads out of a verified bundle: manifest and component, checked against what was signed."""

from __future__ import annotations

from typing import BinaryIO, Final

import msgspec

from shared.bundle_reader import read_bundle
from shared.digest import sha256_hex
from shared.errors import BundleInvalid
from shared.manifest import Manifest, parse_manifest, refusal
from shared.manifest_rules import check_members
from shared.sbom import parse_sbom
from shared.signing import BundleStatement
from shared.wire import Sbom

MANIFEST: Final = "manifest.json"


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """The two members that decide what runs.

    Attributes:
        manifest: validated.
        written: the bytes of `manifest.json`, for the registry.
        component, component_sha256: `None` when the bundle is UI-only.
        sbom: what the document that the manifest names says; none when it names none.
        archive_bytes, files: of the whole bundle.
    """

    manifest: Manifest
    written: bytes
    component: bytes | None
    component_sha256: str | None
    sbom: Sbom | None
    archive_bytes: int
    files: int


def read_contents(archive: BinaryIO, statement: BundleStatement, known: frozenset[str] | None = None) -> Contents:
    """Read a bundle whose digest and signature were verified. Blocks; call it in a thread.

    The archive is read twice: which members are the component and the SBOM stands in the manifest, which comes behind.

    Args:
        archive: the bytes.
        statement: what was signed about them.
        known: capabilities the manifest may ask for, as `parse_manifest` takes them.

    Raises:
        BundleInvalid, BundleLimits: not a well-formed bundle, or one whose members are not the signed ones.
        ManifestInvalid: the manifest, or what it points at.
    """
    names: set[str] = set()

    def is_manifest(name: str) -> bool:
        names.add(name)
        return name == MANIFEST

    found = list(read_bundle(archive, is_manifest))
    if not found:
        raise BundleInvalid(f"{MANIFEST} must stand at the root of the bundle", path=MANIFEST)
    data = found[0].data
    if sha256_hex(data) != statement.manifest_sha256:
        raise BundleInvalid("the signature names another manifest; sign the bundle that is sent", path=MANIFEST)
    manifest = parse_manifest(data, known=known)
    if violations := check_members(manifest, names):
        raise refusal(violations)
    _check_names(manifest, statement)
    archive.seek(0)
    members = {one.name: one.data for one in read_bundle(archive, {manifest.entry, manifest.sbom}.__contains__)}
    component = _component(members.get(manifest.entry), manifest.entry, statement)
    return Contents(
        manifest=manifest,
        written=data,
        component=component,
        component_sha256=statement.component_sha256,
        sbom=None if manifest.sbom is None else parse_sbom(members[manifest.sbom], manifest.sbom),
        archive_bytes=archive.seek(0, 2),
        files=len(names),
    )


def _check_names(manifest: Manifest, statement: BundleStatement) -> None:
    for field in ("name", "publisher", "version"):
        if getattr(manifest, field) != getattr(statement, field):
            raise BundleInvalid(f"the signature names another {field} than the manifest", path=MANIFEST)


def _component(component: bytes | None, entry: str, statement: BundleStatement) -> bytes | None:
    if (None if component is None else sha256_hex(component)) != statement.component_sha256:
        raise BundleInvalid("the signature names another component; sign the bundle that is sent", path=entry)
    return component

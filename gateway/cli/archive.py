"""What is in a bundle: digests and manifest, read with the platform's own reader and its limits."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from gateway.cli.failures import from_platform
from shared.bundle_reader import read_bundle
from shared.bundle_writer import BundleDigest
from shared.digest import file_sha256_hex, sha256_hex
from shared.errors import BundleInvalid, PlatformError
from shared.ids import ContentHash
from shared.manifest import Manifest, stored_manifest

_MANIFEST: Final = "manifest.json"


class Archive(msgspec.Struct, frozen=True):
    """A bundle that was read to its end."""

    manifest: Manifest
    digest: BundleDigest


def content_hash(bundle: Path) -> ContentHash:
    """`sha256:<hex>` of the file."""
    return ContentHash(f"sha256:{file_sha256_hex(bundle)}")


def read_archive(bundle: Path) -> Archive:
    """The facts about a bundle.

    Raises:
        CliError: it is not a bundle, breaks a limit, or its manifest is not valid.
        OSError: it cannot be read.
    """
    found: dict[str, str] = {}
    manifest = b""
    try:
        with bundle.open("rb") as source:
            for member in read_bundle(source, _wanted):
                found[member.name] = sha256_hex(member.data)
                if member.name == _MANIFEST:
                    manifest = member.data
        if _MANIFEST not in found:
            raise BundleInvalid(f"the archive has no {_MANIFEST}")
        parsed = stored_manifest(manifest)
    except PlatformError as error:
        raise from_platform(error) from error
    digest = BundleDigest(
        content_hash=content_hash(bundle),
        manifest_sha256=found[_MANIFEST],
        component_sha256=found.get(parsed.entry),
        size_bytes=bundle.stat().st_size,
    )
    return Archive(parsed, digest)


def _wanted(name: str) -> bool:
    """The manifest, and what could be the component: which it is, the manifest says, and that comes later."""
    return name == _MANIFEST or (name.endswith(".wasm") and not name.startswith("ui/"))

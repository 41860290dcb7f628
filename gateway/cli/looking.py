"""What is in a bundle or a component, for somebody who looks at it before trusting it: read whole, believed in nothing.

The archive is read by the platform's own reader under its limits, the component by the same inspection as at publishing.
What a check would refuse is said and the rest is shown all the same: who looks wants to know what is there.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from gateway.cli import key_files
from gateway.cli.archive import content_hash
from gateway.cli.failures import CliError, from_platform
from gateway.cli.project import signature_of
from gateway.cli.providers import providers_here
from shared.bundle_reader import read_bundle
from shared.bundle_writer import BundleDigest
from shared.component import ComponentFacts, inspect_component
from shared.digest import sha256_hex
from shared.errors import BundleInvalid, PlatformError
from shared.limits import BUILD_MAX_S, SIGNATURE_MAX_BYTES
from shared.manifest import Manifest, stored_manifest
from shared.signing import Envelope, decode_envelope, verify_envelope

_MANIFEST: Final = "manifest.json"
_WASM: Final = b"\0asm"

SignatureState = Literal["none", "unchecked", "trusted", "refused"]


class Folder(msgspec.Struct, frozen=True):
    """What lies in one place of a bundle: the top-level folder, or the file itself."""

    name: str
    files: int
    size_bytes: int


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """Who vouches for a bundle.

    Attributes:
        state: `none`; `unchecked` where nobody said whom to trust; `trusted`; `refused`, with the code.
        keys: ids the envelope names; who wrote the envelope chose them.
        code: of the platform, when it is refused.
        says: one sentence.
    """

    state: SignatureState
    keys: tuple[str, ...] = ()
    code: str = ""
    says: str


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was read to its end.

    Attributes:
        component: `None` when it has pages only, or its component is not acceptable.
        component_problem: why it is not; empty otherwise.
    """

    manifest: Manifest
    digest: BundleDigest
    folders: tuple[Folder, ...]
    unpacked_bytes: int
    component: ComponentFacts | None = None
    component_problem: str = ""

    @property
    def reference(self) -> str:
        """`publisher.name`."""
        return f"{self.manifest.publisher}.{self.manifest.name}"


def is_component(path: Path) -> bool:
    """Whether the file begins as WebAssembly does. Raises `CliError` when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_WASM)) == _WASM
    except OSError as error:
        raise CliError(
            f"{path} cannot be read: {error.strerror}",
            next_step="name a bundle (alga-ext pack writes one) or a component (dist/main.wasm)",
            code="cli_no_bundle",
        ) from error


def look_at_component(path: Path) -> ComponentFacts:
    """What a component imports, exports and needs. Raises `CliError` for one that the platform would not take."""
    try:
        return inspect_component(path, BUILD_MAX_S, providers_here().world)
    except PlatformError as error:
        raise from_platform(error) from error


def look_at_bundle(path: Path) -> Bundle:
    """Everything there is to say about a bundle.

    Raises:
        CliError: it is not a bundle, breaks a limit, or its manifest is not valid.
        OSError: it cannot be read.
    """
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return _looked(path, Path(scratch))
        except PlatformError as error:
            raise from_platform(error) from error


def _looked(path: Path, scratch: Path) -> Bundle:
    digests: dict[str, str] = {}
    kept: dict[str, Path] = {}
    folders: dict[str, Folder] = {}
    written = b""
    with path.open("rb") as source:
        for number, member in enumerate(read_bundle(source)):
            top = member.name.partition("/")[0] + ("/" if "/" in member.name else "")
            before = folders.get(top, Folder(top, 0, 0))
            folders[top] = Folder(top, before.files + 1, before.size_bytes + len(member.data))
            digests[member.name] = sha256_hex(member.data)
            if member.name == _MANIFEST:
                written = member.data
            elif member.data.startswith(_WASM) and not member.name.startswith("ui/"):
                kept[member.name] = scratch / f"{number}.wasm"
                kept[member.name].write_bytes(member.data)
    if _MANIFEST not in digests:
        raise BundleInvalid(f"the archive has no {_MANIFEST}")
    manifest = stored_manifest(written)
    facts, problem = _facts(kept.get(manifest.entry))
    return Bundle(
        manifest=manifest,
        digest=BundleDigest(
            content_hash=content_hash(path),
            manifest_sha256=digests[_MANIFEST],
            component_sha256=digests.get(manifest.entry),
            size_bytes=path.stat().st_size,
        ),
        folders=tuple(folders[name] for name in sorted(folders)),
        unpacked_bytes=sum(folder.size_bytes for folder in folders.values()),
        component=facts,
        component_problem=problem,
    )


def _facts(component: Path | None) -> tuple[ComponentFacts | None, str]:
    if component is None:
        return None, ""
    try:
        return inspect_component(component, BUILD_MAX_S, providers_here().world), ""
    except PlatformError as error:
        return None, f"{error.code}: {error.detail}"


# ---- its signature ------------------------------------------------------------------------------------------


def look_at_signature(bundle: Path, digest: BundleDigest, given: Path | None, trust: str | None) -> Signature:
    """Who vouches for a bundle, as far as that can be told here.

    Args:
        bundle: the archive.
        digest: of the archive that was read.
        given: the envelope; by default the one beside the archive.
        trust: whom to trust, as `key_files.read_trust` takes it; `None` when nobody said.

    Raises:
        CliError: a named envelope is not there, or the trust bundle is not one.
    """
    place = given or signature_of(bundle)
    if given is None and not place.is_file():
        return Signature(state="none", says=f"not signed: there is no {place.name} beside it")
    try:
        envelope = _envelope(place)
        keys = tuple(one.keyid for one in envelope.signatures)
        if trust is None:
            return Signature(state="unchecked", keys=keys, says="not checked: name the keys you trust with --trust")
        anchors = key_files.read_trust(trust)
        statement = verify_envelope(
            envelope, anchors, content_hash=digest.content_hash, judge_expiry_at=datetime.now(UTC)
        )
    except PlatformError as error:
        return Signature(state="refused", code=error.code, says=f"{error.code}: {error.detail}")
    if (statement.manifest_sha256, statement.component_sha256) != (digest.manifest_sha256, digest.component_sha256):
        says = "content_hash_mismatch: the statement that was signed is about other files"
        return Signature(state="refused", keys=keys, code="content_hash_mismatch", says=says)
    return Signature(state="trusted", keys=keys, says=f"signed at {statement.issued_at:%Y-%m-%d %H:%M} UTC, trusted")


def _envelope(path: Path) -> Envelope:
    try:
        with path.open("rb") as file:
            return decode_envelope(file.read(SIGNATURE_MAX_BYTES + 1))
    except OSError as error:
        raise CliError(
            f"there is no signature at {path}",
            next_step="sign the bundle with alga-ext sign, or name the file with --signature",
            code="cli_no_signature",
        ) from error

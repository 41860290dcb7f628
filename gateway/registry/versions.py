"""A version as publishers and administrators see it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gateway.store.catalogue import Listed
from gateway.store.registry import State, Version


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong in a manifest."""

    path: str = "$"
    code: str = ""
    message: str = ""


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a version was rejected. `path`: where in the manifest (JSON path) or which member of the archive."""

    code: str
    message: str
    path: str = ""
    violations: tuple[Violation, ...] = ()


class _Signature(msgspec.Struct, frozen=True):
    keyid: str


class _Envelope(msgspec.Struct, frozen=True):
    """A stored DSSE envelope, as far as a view needs it; it was verified when it was stored."""

    signatures: tuple[_Signature, ...] = ()


class DeprecatedView(msgspec.Struct, frozen=True, kw_only=True):
    """What the author says about a version that should not be used any more."""

    message: str
    since: datetime


class SbomSummary(msgspec.Struct, frozen=True, kw_only=True):
    """That there is an SBOM; `GET /api/registry/versions/{id}/sbom` has its packages."""

    format: str
    packages: int


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one version; `manifest` once it is ready.

    Attributes:
        unsigned: nobody vouches for it; a machine with `EXT_ALLOW_UNSIGNED` took it.
        signers: ids of the keys that signed, each once.
    """

    extension_id: str
    version_id: str
    publisher: str
    name: str
    version: str
    content_hash: str
    size_bytes: int
    state: State
    reason: Reason | None
    warnings: list[str]
    capabilities: list[str]
    manifest: msgspec.Raw | None
    created_at: datetime
    revoked: bool
    unsigned: bool = False
    deprecated: DeprecatedView | None = None
    sbom: SbomSummary | None = None
    signers: list[str] = []


class ExtensionView(msgspec.Struct, frozen=True, kw_only=True):
    """One extension; `latest` can be installed, `allowed_tenants` is the owner's to know."""

    extension_id: str
    publisher: str
    name: str
    display_name: str
    description: str
    visibility: str
    installed: bool
    latest: LatestView | None
    owned: bool
    allowed_tenants: list[str] | None
    created_at: datetime


class LatestView(msgspec.Struct, frozen=True, kw_only=True):
    """The newest version that can be installed."""

    version_id: str
    version: str
    content_hash: str


def view(version: Version) -> VersionView:
    """The row as an answer."""
    signatures = msgspec.json.decode(version.signature, type=_Envelope).signatures
    deprecated = None
    if version.deprecated_at is not None:
        deprecated = DeprecatedView(message=version.deprecated_message or "", since=version.deprecated_at)
    return VersionView(
        extension_id=version.registry_id,
        version_id=version.id,
        publisher=version.publisher,
        name=version.name,
        version=version.version,
        content_hash=version.content_hash,
        size_bytes=version.size_bytes,
        state=version.state,
        reason=None if version.reason is None else msgspec.json.decode(version.reason, type=Reason),
        warnings=version.warnings,
        capabilities=version.capabilities,
        manifest=None if version.manifest is None else msgspec.Raw(version.manifest),
        created_at=version.created_at,
        revoked=version.revoked_at is not None,
        unsigned=not signatures,
        deprecated=deprecated,
        sbom=None if version.sbom is None else msgspec.json.decode(version.sbom, type=SbomSummary),
        signers=list(dict.fromkeys(one.keyid for one in signatures)),
    )


def listed(row: Listed) -> ExtensionView:
    """The row as an item of a list."""
    latest = None
    if row.version_id is not None and row.version is not None and row.content_hash is not None:
        latest = LatestView(version_id=row.version_id, version=row.version, content_hash=row.content_hash)
    return ExtensionView(
        extension_id=row.id,
        publisher=row.publisher,
        name=row.name,
        display_name=row.display_name,
        description=row.description,
        visibility=row.visibility,
        installed=row.installed,
        latest=latest,
        owned=row.owned,
        allowed_tenants=row.allowed_tenants if row.owned else None,
        created_at=row.created_at,
    )

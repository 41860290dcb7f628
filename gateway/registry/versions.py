"""A version as publishers and administrators see it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gateway.store.registry import Listed, State, Version


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


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one version; `manifest` once it is ready."""

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


class ExtensionView(msgspec.Struct, frozen=True, kw_only=True):
    """One extension in a list; `latest` can be installed."""

    extension_id: str
    publisher: str
    name: str
    display_name: str
    description: str
    visibility: str
    installed: bool
    latest: LatestView | None


class LatestView(msgspec.Struct, frozen=True, kw_only=True):
    """The newest version that can be installed."""

    version_id: str
    version: str
    content_hash: str


def view(version: Version) -> VersionView:
    """The row as an answer."""
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
    )

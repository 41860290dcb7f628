"""An install as its administrators see it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gateway.installs.grants import Asked, asked
from gateway.store.installs import Install, Status
from shared.limits import MANIFEST_MAX_BYTES
from shared.manifest import Manifest, stored_manifest


class GrantedView(msgspec.Struct, frozen=True, kw_only=True):
    """What was granted, completely."""

    capabilities: list[str]
    egress: list[str]
    secrets: list[str]


class InstallView(msgspec.Struct, frozen=True, kw_only=True):
    """One install with what it asked for and what it got."""

    install_id: str
    extension_id: str
    version_id: str
    publisher: str
    name: str
    version: str
    content_hash: str
    status: Status
    asked: Asked
    granted: GrantedView
    generation: int
    created_at: datetime
    updated_at: datetime


class ConfigView(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of an install; `version` 0 means that none were written yet."""

    config: msgspec.Raw
    version: int


def manifest_of(data: bytes) -> Manifest:
    """The manifest in a row: it was validated when the version became ready."""
    assert len(data) <= 2 * MANIFEST_MAX_BYTES
    return stored_manifest(data)


def view(install: Install) -> InstallView:
    """The row as an answer."""
    return InstallView(
        install_id=install.id,
        extension_id=install.registry_id,
        version_id=install.version_id,
        publisher=install.publisher,
        name=install.name,
        version=install.version,
        content_hash=install.content_hash,
        status=install.status,
        asked=asked(manifest_of(install.manifest)),
        granted=GrantedView(
            capabilities=install.granted_caps, egress=install.granted_egress, secrets=install.granted_secrets
        ),
        generation=install.generation,
        created_at=install.created_at,
        updated_at=install.updated_at,
    )

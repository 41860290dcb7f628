"""An install as its administrators see it."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

import msgspec

from gateway.installs.grants import Asked, asked
from gateway.store.install_history import Action, Entry
from gateway.store.installs import Granted, Install, Pending, Status
from shared.limits import MANIFEST_MAX_BYTES
from shared.manifest import Manifest, stored_manifest
from shared.permission_diff import PermissionDiff, permission_diff


class GrantedView(msgspec.Struct, frozen=True, kw_only=True):
    """What was granted, completely."""

    capabilities: list[str]
    egress: list[str]
    secrets: list[str]


class UpgradeView(msgspec.Struct, frozen=True, kw_only=True):
    """A version that waits for consent, while the installed one serves.

    Attributes:
        asked: all that it asks for.
        diff: what of that is other than what the installed version asks for.
    """

    state: Literal["pending_consent"] = "pending_consent"
    version_id: str
    version: str
    content_hash: str
    asked: Asked
    diff: PermissionDiff
    requested_at: datetime
    requested_by: str


class DeprecatedView(msgspec.Struct, frozen=True, kw_only=True):
    """What the author says about a version that should not be used any more."""

    message: str
    since: datetime


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
    upgrade: UpgradeView | None
    deprecated: DeprecatedView | None


class ConfigView(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of an install; `version` 0 means that none were written yet."""

    config: msgspec.Raw
    version: int


class HistoryView(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to an install; `granted` is what was granted after it."""

    id: int
    action: Action
    version: str
    version_id: str
    granted: GrantedView
    actor: str
    at: datetime


_pending: Final = msgspec.json.Decoder(Pending)


def manifest_of(data: bytes) -> Manifest:
    """The manifest in a row: it was validated when the version became ready."""
    assert len(data) <= 2 * MANIFEST_MAX_BYTES
    return stored_manifest(data)


def pending_of(install: Install) -> Pending | None:
    """The version that waits for consent, if one does."""
    return None if install.pending is None else _pending.decode(install.pending)


def granted_of(install: Install) -> Granted:
    """The grants of the row."""
    return Granted(capabilities=install.granted_caps, egress=install.granted_egress, secrets=install.granted_secrets)


def granted_view(install: Install) -> GrantedView:
    """The grants of the row, as an answer."""
    return GrantedView(
        capabilities=install.granted_caps, egress=install.granted_egress, secrets=install.granted_secrets
    )


def view(install: Install) -> InstallView:
    """The row as an answer."""
    manifest = manifest_of(install.manifest)
    return InstallView(
        install_id=install.id,
        extension_id=install.registry_id,
        version_id=install.version_id,
        publisher=install.publisher,
        name=install.name,
        version=install.version,
        content_hash=install.content_hash,
        status=install.status,
        asked=asked(manifest),
        granted=granted_view(install),
        generation=install.generation,
        created_at=install.created_at,
        updated_at=install.updated_at,
        upgrade=_upgrade(install, manifest),
        deprecated=_deprecated(install),
    )


def history_view(entry: Entry) -> HistoryView:
    """The row as an answer."""
    return HistoryView(
        id=entry.id,
        action=entry.action,
        version=entry.version,
        version_id=entry.version_id,
        granted=GrantedView(
            capabilities=entry.granted_caps, egress=entry.granted_egress, secrets=entry.granted_secrets
        ),
        actor=entry.actor,
        at=entry.created_at,
    )


def _upgrade(install: Install, manifest: Manifest) -> UpgradeView | None:
    pending = pending_of(install)
    if pending is None:
        return None
    target = manifest_of(bytes(pending.manifest))
    return UpgradeView(
        version_id=pending.version_id,
        version=pending.version,
        content_hash=pending.content_hash,
        asked=asked(target),
        diff=permission_diff(manifest, target),
        requested_at=pending.requested_at,
        requested_by=pending.requested_by,
    )


def _deprecated(install: Install) -> DeprecatedView | None:
    if install.deprecated_at is None:
        return None
    return DeprecatedView(message=install.deprecated_message or "", since=install.deprecated_at)

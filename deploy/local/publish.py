"""The samples' way through the platform's front door: upload, sign, finalize, install, as any publisher would.

Everything may be repeated: the same bytes give the same ids, and an install that is there stays as it is.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

import msgspec

from deploy.local.failures import StackError
from deploy.local.rest import RefusedError, Rest
from deploy.local.samples import Packed
from shared.keys import PrivateKey
from shared.limits import PREPARE_MAX_S
from shared.signing import BundleStatement, Envelope, sign_statement

PREPARE_POLL_S: Final = 0.1
NOT_FOUND: Final = 404


class Reason(msgspec.Struct, frozen=True):
    """Why a version was rejected."""

    code: str = ""
    message: str = ""


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """A version in the registry."""

    extension_id: str
    version_id: str
    name: str
    version: str
    content_hash: str
    state: str
    reason: Reason | None = None


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """An install of a tenant."""

    install_id: str
    extension_id: str
    version_id: str
    version: str
    content_hash: str
    status: str


class _Upload(msgspec.Struct, frozen=True):
    upload_id: str
    content_hash: str


class _Finalize(msgspec.Struct, frozen=True):
    signature: Envelope
    declared_hash: str
    allow_unused_imports: bool = True  # componentize-js keeps every import of its world


class _Grants(msgspec.Struct, frozen=True):
    capabilities: tuple[str, ...]
    egress: tuple[str, ...]
    withhold: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


class _Install(msgspec.Struct, frozen=True):
    extension: str
    version: str
    grants: _Grants
    config: dict[str, str] = {}


class _Installs(msgspec.Struct, frozen=True):
    items: tuple[Installed, ...]
    next_cursor: str | None = None


async def publish(rest: Rest, sample: Packed, key: PrivateKey) -> Published:
    """Bring the sample's bundle into the registry and wait until it can be installed.

    Args:
        rest: acting as someone with `extension:publish`.
        sample: what to publish.
        key: the publisher's signing key.

    Raises:
        RefusedError: the registry refused; `version_exists` when other bytes have this version.
        StackError: the version was rejected, or not ready in time.
    """
    upload = await rest.upload("/api/registry/bundles", sample.bundle, _Upload)
    body = _Finalize(signature=_signed(sample, key), declared_hash=sample.digest.content_hash)
    version = await rest.post(f"/api/registry/bundles/{upload.upload_id}/finalize", body, Published)
    try:
        async with asyncio.timeout(PREPARE_MAX_S):
            while version.state == "preparing":
                await asyncio.sleep(PREPARE_POLL_S)
                version = await rest.get(f"/api/registry/versions/{version.version_id}", Published)
    except TimeoutError as error:
        raise StackError(
            f"{sample.name} was not prepared within {PREPARE_MAX_S} s", next_step="look at the compiler's log"
        ) from error
    if version.state != "ready":
        reason = version.reason or Reason()
        raise StackError(f"{sample.name} was rejected: {reason.code} {reason.message}")
    return version


async def published(rest: Rest, version: Published) -> bool:
    """Whether the registry has exactly this version, ready to be installed. Raises `RefusedError`."""
    try:
        found = await rest.get(f"/api/registry/versions/{version.version_id}", Published)
    except RefusedError as error:
        if error.status == NOT_FOUND:
            return False
        raise
    return found.state == "ready" and found.content_hash == version.content_hash


async def install(rest: Rest, version: Published, sample: Packed) -> Installed:
    """The tenant's install of `version`; made, with everything granted that it asks for, when there is none.

    An install of another version is removed first: its data stays and belongs to the new one.

    Args:
        rest: acting as the tenant's administrator.
        version: what to install.
        sample: says what it asks for.

    Raises:
        RefusedError: the gateway refused.
    """
    found = await _installed(rest, version.extension_id)
    if found is not None and found.version_id == version.version_id:
        return found
    if found is not None:
        await rest.delete(f"/api/installs/{found.install_id}", Installed)
    grants = _Grants(
        capabilities=tuple(sample.manifest.capabilities),
        egress=tuple(entry.host for entry in sample.manifest.egress_entries()),
    )
    body = _Install(extension=version.extension_id, version=version.version, grants=grants)
    return await rest.post("/api/installs", body, Installed)


async def _installed(rest: Rest, extension_id: str) -> Installed | None:
    cursor = ""
    while True:
        page = await rest.get(f"/api/installs{cursor}", _Installs)
        for item in page.items:
            if item.extension_id == extension_id:
                return item
        if page.next_cursor is None:
            return None
        cursor = f"?cursor={page.next_cursor}"


def _signed(sample: Packed, key: PrivateKey) -> Envelope:
    statement = BundleStatement(
        content_hash=sample.digest.content_hash,
        name=sample.manifest.name,
        publisher=sample.manifest.publisher,
        version=sample.manifest.version,
        manifest_sha256=sample.digest.manifest_sha256,
        component_sha256=sample.digest.component_sha256,
        issued_at=datetime.now(UTC),
    )
    return sign_statement(statement, key)

"""Identifiers, validated once at the door. Sources: the wire contract ("Identifiers") and decision 0002.

A value of these types has been checked; functions further in take it as it is.
"""

from __future__ import annotations

import re
import uuid
from typing import NewType

from shared.errors import InvalidRequest

TenantId = NewType("TenantId", str)
ExtensionId = NewType("ExtensionId", str)
InstallId = NewType("InstallId", str)
VersionId = NewType("VersionId", str)
ContentHash = NewType("ContentHash", str)

_TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PUBLISHER = re.compile(r"[a-z0-9-]{1,100}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HASH = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def tenant_id(text: str) -> TenantId:
    """A tenant id: 1–64 of `[A-Za-z0-9_-]`. Raises `InvalidRequest`."""
    if not _TENANT.fullmatch(text):
        raise InvalidRequest("tenant_id must be 1-64 characters of A-Z a-z 0-9 _ -")
    return TenantId(text)


def publisher(text: str) -> str:
    """A publisher slug: 1–100 of `[a-z0-9-]`, so that `publisher.name` splits at its first dot."""
    if not _PUBLISHER.fullmatch(text):
        raise InvalidRequest("publisher must be 1-100 characters of a-z 0-9 -")
    return text


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID in its canonical, lower-case form (RFC 9562)."""
    return bool(_UUID.fullmatch(text))


def extension_id(text: str) -> ExtensionId:
    """A registry id: a canonical UUID. Raises `InvalidRequest`."""
    if not is_uuid(text):
        raise InvalidRequest("extension_id must be a lower-case UUID")
    return ExtensionId(text)


def install_id(text: str) -> InstallId:
    """An install id: a canonical UUID. Raises `InvalidRequest`."""
    if not is_uuid(text):
        raise InvalidRequest("install_id must be a lower-case UUID")
    return InstallId(text)


def version_id(text: str) -> VersionId:
    """A version id: a canonical UUID. Raises `InvalidRequest`."""
    if not is_uuid(text):
        raise InvalidRequest("version_id must be a lower-case UUID")
    return VersionId(text)


def content_hash(text: str) -> ContentHash:
    """A bundle digest, `sha256:<64 lower hex>`; the prefix is optional on input and always written."""
    found = _HASH.fullmatch(text)
    if not found:
        raise InvalidRequest("content_hash must be sha256:<64 lower-case hex digits>")
    return ContentHash(f"sha256:{found[1]}")


def digest_hex(digest: ContentHash) -> str:
    """The 64 hex digits of a digest, as object keys and file names use them."""
    return digest.removeprefix("sha256:")


def request_id(text: str | None) -> str:
    """The caller's request id when it is harmless in logs and headers, else a fresh UUID."""
    if text and _REQUEST_ID.fullmatch(text):
        return text
    return str(uuid.uuid4())

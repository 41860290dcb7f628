"""Records as REST shows and takes them: JSON values, camelCase members, times in RFC 3339."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from gateway.store.storage import Record, Write, Written
from shared.errors import StorageValidationFailed

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class PutRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What a record shall be.

    Attributes:
        value: any JSON.
        value_base64: instead of it, bytes in base64.
        metadata: a JSON object.
        ttl_seconds: how long the record lives; none: without an end.
        if_revision: the revision that must be current, 0 for an absent record.
    """

    value: msgspec.Raw | UnsetType = UNSET
    value_base64: str | UnsetType = UNSET
    metadata: msgspec.Raw | UnsetType = UNSET
    ttl_seconds: int | None = None
    if_revision: int | None = None


class BulkItem(PutRequest, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One record of several."""

    key: str


class BulkRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records to be written together."""

    items: list[BulkItem]


class WrittenView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A record after a write."""

    namespace: str
    key: str
    revision: int
    ttl_expires_at: datetime | None
    created_at: datetime
    updated_at: datetime


class RecordView(WrittenView, frozen=True, kw_only=True, rename="camel"):
    """A record. Its value stands in one of two members, by whether the bytes are JSON."""

    value: msgspec.Raw | UnsetType = UNSET
    value_base64: str | UnsetType = UNSET
    metadata: msgspec.Raw | UnsetType = UNSET


class BulkWritten(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One of several records after the write."""

    key: str
    revision: int
    ttl_expires_at: datetime | None


class BulkView(msgspec.Struct, frozen=True, kw_only=True):
    """All of them."""

    namespace: str
    items: list[BulkWritten]


class Page(msgspec.Struct, frozen=True, kw_only=True, rename={"camel_cursor": "nextCursor"}):
    """One page of records; the cursor under both of its names."""

    items: list[Any]
    next_cursor: str | None
    camel_cursor: str | None


def write(key: str, wanted: PutRequest, revision: int | None) -> Write:
    """What is to be written. Raises `StorageValidationFailed`."""
    return Write(
        key=key,
        value=_bytes(wanted),
        metadata=_object(wanted.metadata),
        ttl_s=wanted.ttl_seconds,
        revision=revision,
    )


def written(namespace: str, found: Written) -> WrittenView:
    """The answer to a write."""
    return WrittenView(
        namespace=namespace,
        key=found.key or "",
        revision=found.revision,
        ttl_expires_at=found.expires_at,
        created_at=found.created_at,
        updated_at=found.updated_at,
    )


def bulk(namespace: str, found: Sequence[Written]) -> BulkView:
    """The answer to several writes."""
    items = [BulkWritten(key=one.key or "", revision=one.revision, ttl_expires_at=one.expires_at) for one in found]
    return BulkView(namespace=namespace, items=items)


def record(namespace: str, found: Record) -> RecordView:
    """One whole record."""
    return listed(namespace, found, values=True, metadata=True)


def listed(namespace: str, found: Record, *, values: bool, metadata: bool) -> RecordView:
    """One record of a list, with what was asked for of it."""
    value: msgspec.Raw | UnsetType = UNSET
    value_base64: str | UnsetType = UNSET
    if values:
        data = found.value or b""
        if _is_json(data):
            value = msgspec.Raw(data)
        else:
            value_base64 = base64.b64encode(data).decode()
    return RecordView(
        namespace=namespace,
        key=found.key or "",
        revision=found.revision,
        value=value,
        value_base64=value_base64,
        metadata=msgspec.Raw((found.metadata or "{}").encode()) if metadata else UNSET,
        ttl_expires_at=found.expires_at,
        created_at=found.created_at,
        updated_at=found.updated_at,
    )


def _bytes(wanted: PutRequest) -> bytes:
    if isinstance(wanted.value, UnsetType) == isinstance(wanted.value_base64, UnsetType):
        raise StorageValidationFailed("give a value (any JSON) or a valueBase64, one of them")
    if isinstance(wanted.value_base64, str):
        try:
            return base64.b64decode(wanted.value_base64, validate=True)
        except (binascii.Error, ValueError) as error:
            raise StorageValidationFailed("valueBase64 is not base64") from error
    assert isinstance(wanted.value, msgspec.Raw)
    data = bytes(wanted.value)
    if not _is_json(data):  # a raw member is skipped, not read, when the body is decoded
        raise StorageValidationFailed("value is not valid JSON, or is nested too deeply")
    return data


def _object(raw: msgspec.Raw | UnsetType) -> str | None:
    if isinstance(raw, UnsetType) or bytes(raw) == b"null":
        return None
    try:
        msgspec.json.decode(raw, type=dict[str, Any])
        return bytes(raw).decode()
    except _UNREADABLE as error:
        raise StorageValidationFailed("metadata must be a JSON object") from error


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except _UNREADABLE:
        return False
    return True

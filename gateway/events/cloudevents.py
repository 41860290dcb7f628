"""Events as CloudEvents 1.0.2 JSON, in the structured mode of its HTTP binding: the whole event in one body. Pure.

Structured, because a guest gets only headers of an allowlist: `ce-*` headers of the binary mode would either be lost on
the way or be passed from any caller. What proves an event to a guest is a header no caller can send (`x-alga-trigger`),
never the body, which anybody who may call the handler could write as well.

The platform sets `id`, `source` and `tenant`. Attributes beyond the specification's: `tenant`, and `originid`, the host
application's own id of an event. A payload that is JSON stands in `data` as the very text it was published as; any other
bytes stand in `data_base64`.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from gateway.store.events import Event
from shared.errors import InvalidRequest, TenantMismatch
from shared.events import check_payload, check_topic
from shared.limits import (
    EVENT_MEDIA_TYPE_MAX_CHARS,
    EVENT_ORIGIN_ID_MAX_CHARS,
    EVENT_SOURCE_MAX_CHARS,
    EVENT_SUBJECT_MAX_CHARS,
)

JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"

HOST_SOURCE: Final = "/host"
"""Where the host application's events come from unless it says more; an extension's come from `/extensions/…`."""

_SOURCE: Final = re.compile(
    r"(?:/host|[a-z][a-z0-9+.-]*:[A-Za-z0-9._~@!$&'()*+,;=:/-]+)(?:/[A-Za-z0-9._~@!$&'()*+,;=:-]+)*"
)
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_MEDIA_TYPE: Final = re.compile(r"[a-zA-Z0-9!#$&^_.+-]+/[a-zA-Z0-9!#$&^_.+-]+(?:; ?[a-zA-Z0-9-]+=[a-zA-Z0-9_.+-]+)*")
_JSON_TYPE: Final = re.compile(r"(?:application/json|[^;/]+/[^;/]+\+json)(?:;.*)?", re.IGNORECASE)
_FIRST_YEAR, _LAST_YEAR = 1970, 2999  # any offset from UTC leaves them where every reader of dates can follow
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event as a guest reads it; the order of the members is the order of the bytes."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str | UnsetType = UNSET
    time: datetime
    tenant: str
    originid: str | UnsetType = UNSET
    datacontenttype: str | UnsetType = UNSET
    data: msgspec.Raw | UnsetType = UNSET
    data_base64: str | UnsetType = UNSET


class Submitted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event as the host application sends it.

    Attributes:
        id: its own; with `source` it makes the request repeatable. None: every request is a new event.
        source: a part of the host application: `/host`, a path below it, or an absolute URI.
        tenant: may be repeated here, and must then be the credential's.
    """

    specversion: Literal["1.0"] = "1.0"
    id: str | None = None
    source: str = HOST_SOURCE
    type: str
    subject: str | None = None
    time: datetime | None = None
    tenant: str | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw | UnsetType = UNSET
    data_base64: str | UnsetType = UNSET


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What is said about something that happened, checked."""

    topic: str
    subject: str | None
    media_type: str | None
    payload: bytes


def extension_source(publisher: str, name: str) -> str:
    """Where an extension's events come from. No event of the host application can have such a source."""
    return f"/extensions/{publisher}.{name}"


def encode(tenant_id: str, event: Event) -> bytes:
    """The body of a delivery: the same bytes for each receiver and each attempt."""
    payload = event.payload or b""
    as_json = bool(event.media_type) and _JSON_TYPE.fullmatch(event.media_type or "") is not None
    return msgspec.json.encode(
        CloudEvent(
            specversion="1.0",
            id=event.id,
            source=event.source,
            type=event.topic,
            subject=UNSET if event.subject is None else event.subject,
            time=event.occurred_at.astimezone(UTC),
            tenant=tenant_id,
            originid=UNSET if event.origin_id is None else event.origin_id,
            datacontenttype=event.media_type or UNSET,
            data=msgspec.Raw(payload) if as_json else UNSET,
            data_base64=base64.b64encode(payload).decode() if payload and not as_json else UNSET,
        )
    )


def media_type_of(payload: bytes) -> str | None:
    """What a guest's payload is: JSON, other bytes, or nothing at all."""
    if not payload:
        return None
    return JSON if is_json(payload) else BYTES


def is_json(data: bytes) -> bool:
    """Whether `data` is one JSON text (RFC 8259), not nested deeper than a reader of ours would follow."""
    try:
        msgspec.json.decode(data)
    except _UNREADABLE:
        return False
    return True


def read(submitted: Submitted, tenant_id: str) -> Content:
    """What the host application says, checked.

    Raises:
        InvalidRequest: a member is not acceptable; says what would be.
        PayloadTooLarge: the payload is.
        TenantMismatch: it names another tenant.
    """
    if submitted.tenant not in (None, tenant_id):
        raise TenantMismatch("leave tenant out; the credential says it")
    check_topic(submitted.type)
    _check_source(submitted.source)
    if submitted.id is not None:
        _check_visible("id", submitted.id, EVENT_ORIGIN_ID_MAX_CHARS)
    if submitted.subject is not None:
        _check_subject(submitted.subject)
    if submitted.time is not None and submitted.time.tzinfo is None:
        raise InvalidRequest("time must have an offset from UTC (RFC 3339), such as 2026-01-31T12:00:00Z")
    if submitted.time is not None and not _FIRST_YEAR <= submitted.time.year <= _LAST_YEAR:
        raise InvalidRequest(f"time must be in the years {_FIRST_YEAR} to {_LAST_YEAR}")
    media_type, payload = _payload(submitted)
    check_payload(payload)
    return Content(topic=submitted.type, subject=submitted.subject, media_type=media_type, payload=payload)


def _payload(submitted: Submitted) -> tuple[str | None, bytes]:
    given, media_type = submitted.data, submitted.datacontenttype
    if media_type is not None and (
        len(media_type) > EVENT_MEDIA_TYPE_MAX_CHARS or not _MEDIA_TYPE.fullmatch(media_type)
    ):
        raise InvalidRequest(
            f"datacontenttype must be a media type of at most {EVENT_MEDIA_TYPE_MAX_CHARS} characters, such as {JSON}"
        )
    if not isinstance(given, UnsetType):
        if not isinstance(submitted.data_base64, UnsetType):
            raise InvalidRequest("give data (any JSON) or data_base64 (other bytes), one of them")
        if not is_json(given):  # a raw member is skipped, not read, when the body is decoded
            raise InvalidRequest("data is not valid JSON, or is nested too deeply")
        if media_type is not None and not _JSON_TYPE.fullmatch(media_type):
            raise InvalidRequest(f"data is JSON; content of type {media_type} belongs into data_base64")
        return media_type or JSON, bytes(given)
    if isinstance(submitted.data_base64, UnsetType):
        return None, b""
    try:
        payload = base64.b64decode(submitted.data_base64, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("data_base64 is not base64") from error
    if media_type is not None and _JSON_TYPE.fullmatch(media_type) and not is_json(payload):
        raise InvalidRequest(f"data_base64 is not {media_type}, which datacontenttype says it is")
    return media_type or media_type_of(payload), payload


def _check_source(text: str) -> None:
    parts = text.split("/")
    if len(text) > EVENT_SOURCE_MAX_CHARS or not _SOURCE.fullmatch(text) or "." in parts or ".." in parts:
        raise InvalidRequest(
            f"source must be {HOST_SOURCE}, a path below it, or an absolute URI such as urn:example:billing, "
            f"of at most {EVENT_SOURCE_MAX_CHARS} characters"
        )


def _check_visible(name: str, text: str, max_chars: int) -> None:
    if len(text) > max_chars or not _VISIBLE.fullmatch(text):
        raise InvalidRequest(f"{name} must be 1-{max_chars} visible ASCII characters")


def _check_subject(text: str) -> None:
    if not 1 <= len(text) <= EVENT_SUBJECT_MAX_CHARS or not text.isprintable():
        raise InvalidRequest(f"subject must be 1-{EVENT_SUBJECT_MAX_CHARS} printable characters")

"""The ids of events, and what tells a repetition from a mistake. Pure.

An extension's event gets a random id (UUID version 4). One that the host application gave an id of its own gets an id
made from whose it is (version 8, RFC 9562 §5.8): the same tenant, source and id always give the same one, so that a
request sent twice is one event, for the platform as long as it remembers and for receivers for ever.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Final

from gateway.events.cloudevents import Content

_BEGIN: Final = b"alga.event.1"


def event_id(tenant_id: str, source: str, origin_id: str | None) -> str:
    """The id of the host application's event.

    Args:
        origin_id: the host application's own id; none: a random one.
    """
    if origin_id is None:
        return str(uuid.uuid4())
    value = bytearray(_digest(_BEGIN, tenant_id.encode(), source.encode(), origin_id.encode())[:16])
    value[6] = value[6] & 0x0F | 0x80
    value[8] = value[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(value)))


def content_sha256(content: Content) -> bytes:
    """What an event says, in 32 bytes; its time is no part of it, since a repetition may leave it to the platform."""
    subject, media_type = content.subject or "", content.media_type or ""
    return _digest(content.topic.encode(), subject.encode(), media_type.encode(), content.payload)


def _digest(*parts: bytes) -> bytes:
    """SHA-256 over the parts with their lengths, so that none can pass for another's end."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    return found.digest()

"""Events: what a topic may be called, whose it is, how large a payload may be, and the message in which runners publish.

A topic is the CloudEvents `type` of an event. An extension's topics are its name and what stands below it, parted by a
dot: `com.acme.notes` publishes `com.acme.notes.created` and never `com.acme.notesx.created`.

The messages are MessagePack maps. Evolution rule: as in `shared.wire`.
"""

from __future__ import annotations

import re
from typing import Final

from shared.errors import InvalidRequest, PayloadTooLarge
from shared.limits import EVENT_PAYLOAD_MAX_BYTES, EVENT_TOPIC_MAX_CHARS
from shared.wire import Message

CAPABILITY: Final = "cap:events.publish"

PUBLISH_PATH: Final = "/internal/events/publish"

TRIGGER_HEADER: Final = "x-alga-trigger"
"""Stands on a call that nobody asked for, and says what made it due; no client can send it."""

CLOUDEVENT: Final = "application/cloudevents+json"
CLOUDEVENTS_BATCH: Final = "application/cloudevents-batch+json"

_TOPIC: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")  # as `events[].topic` of a manifest has it


class EventPublish(Message, frozen=True, kw_only=True):
    """One event of a running guest → `EventPublished`.

    Attributes:
        timeout_ms: what is left of the guest's call.
    """

    topic: str
    payload: bytes
    timeout_ms: int


class EventPublished(Message, frozen=True, kw_only=True):
    """The event was accepted, which means committed; `id` is what its receivers know it by."""

    id: str


def check_topic(topic: str) -> None:
    """Raise `InvalidRequest` unless `topic` can be one."""
    if len(topic) > EVENT_TOPIC_MAX_CHARS or not _TOPIC.fullmatch(topic):
        raise InvalidRequest(
            f"a topic must be 1-{EVENT_TOPIC_MAX_CHARS} characters: words of A-Z a-z 0-9 _ - separated by dots, "
            "such as com.acme.tickets.created"
        )


def check_payload(payload: bytes) -> None:
    """Raise `PayloadTooLarge` unless `payload` is small enough."""
    if len(payload) > EVENT_PAYLOAD_MAX_BYTES:
        raise PayloadTooLarge(
            f"an event's payload may have at most {EVENT_PAYLOAD_MAX_BYTES} bytes; keep more in storage and send its key"
        )


def belongs_to(topic: str, name: str) -> bool:
    """Whether `topic` is one of the extension called `name`."""
    return topic == name or topic.startswith(name + ".")

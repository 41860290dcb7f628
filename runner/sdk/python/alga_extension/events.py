"""Events that the platform delivers: a POST to the handler the manifest names under `events`, CloudEvents 1.0 as JSON.

    @router.post("/events")
    def receive(request: Request, host: Host) -> Response:
        event = read_event(request)
        host.logging.log_info(f"{event.type} from {event.source}: {event.data}")
        return empty_response()

An event may come more than once, always with the same `id`. A status of success says that it was handled, any 4xx but
408, 425 and 429 that it never can be; everything else, and every failure, lets it come again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from alga_extension.errors import HttpError
from alga_extension.request import Request

_TRIGGER = "x-alga-trigger"
_TYPE = "application/cloudevents+json"
_REQUIRED = {"id", "source", "type", "time", "tenant"}


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        id: the same at each delivery of the event.
        source: who published: `/extensions/{publisher}.{name}`, or a part of the host application.
        type: its topic.
        time: when it happened, RFC 3339.
        tenant: whose it is: always the tenant of the call.
        subject: what it is about, when its publisher says so.
        origin_id: the host application's own id.
        content_type: of what it says.
        data: what it says, when that is JSON.
        payload: what it says, when that is something else.
    """

    id: str
    source: str
    type: str
    time: str
    tenant: str
    subject: str | None = None
    origin_id: str | None = None
    content_type: str | None = None
    data: object = None
    payload: bytes | None = None


def read_event(request: Request) -> Event:
    """The event that a call delivers.

    Raises:
        HttpError: 403 when the platform does not deliver this call but somebody makes it, who may have written anything
            into it; 400 when it holds no event.
    """
    if request.header(_TRIGGER) != "event":
        raise HttpError(403, "this path takes events that the platform delivers")
    found = request.json()
    if not isinstance(found, dict) or found.get("specversion") != "1.0" or not found.keys() >= _REQUIRED:
        raise HttpError(400, "the body is no CloudEvents 1.0 event of the platform")
    encoded = found.get("data_base64")
    return Event(
        id=str(found["id"]),
        source=str(found["source"]),
        type=str(found["type"]),
        time=str(found["time"]),
        tenant=str(found["tenant"]),
        subject=cast("str | None", found.get("subject")),
        origin_id=cast("str | None", found.get("originid")),
        content_type=cast("str | None", found.get("datacontenttype")),
        data=found.get("data"),
        payload=None if encoded is None else base64.b64decode(str(encoded)),
    )


def mock_event(
    topic: str, data: object = None, *, payload: bytes | None = None, path: str = "/events", **attributes: str
) -> Request:
    """The call that would deliver such an event, for tests.

    Args:
        data: what it says, as JSON.
        payload: what it says, as bytes; instead of `data`.
        path: of the handler.
        attributes: of the event, by their CloudEvents names: `id`, `source`, `subject`, `time`, `tenant`, `originid`.
    """
    said: Mapping[str, object] = {}
    if payload is not None:
        said = {"datacontenttype": "application/octet-stream", "data_base64": base64.b64encode(payload).decode()}
    elif data is not None:
        said = {"datacontenttype": "application/json", "data": data}
    event = {
        "specversion": "1.0",
        "id": "00000000-0000-4000-8000-000000000001",
        "source": "/host",
        "type": topic,
        "time": "2026-01-01T00:00:00Z",
        "tenant": "tenant-1",
        **attributes,
        **said,
    }
    headers = [("content-type", _TYPE), ("x-idempotency-key", event["id"]), (_TRIGGER, "event")]
    return Request(
        "POST", path, headers=[(name, str(value)) for name, value in headers], body=json.dumps(event).encode()
    )

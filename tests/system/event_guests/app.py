"""A guest that publishes, and keeps what it is told. Its twin in JavaScript is handler.js."""

from __future__ import annotations

import json

from alga_extension import Event, Host, HostError, Request, Response, Router, empty_response, entry, json_response
from alga_extension import read_event as delivered

router = Router()
WitWorld = entry(router)


@router.post("/publish/:topic")
def publish(request: Request, host: Host) -> Response:
    try:
        host.events.publish(request.params["topic"], request.body)
    except HostError as error:
        return json_response({"error": str(error)})
    return json_response({})


@router.put("/mood/:status")
def mood(request: Request, host: Host) -> Response:
    host.storage.put("mood", "status", request.params["status"])
    return empty_response()


@router.get("/seen")
def seen(_request: Request, host: Host) -> Response:
    return json_response([json.loads(entry.value) for entry in host.storage.list_entries("seen")])


@router.post("/events")
def receive(request: Request, host: Host) -> Response:
    event = delivered(request)
    status = _status(host)
    if status >= 300:
        return json_response({"error": "not in the mood"}, status=status)
    keep(event, request, host)
    if event.type.endswith(".again"):
        try:
            host.events.publish(event.type, json.dumps({"after": event.id}))
        except HostError as error:
            host.storage.put("seen", f"refused {event.id}", json.dumps({"refused": str(error)}))
    return empty_response()


def keep(event: Event, request: Request, host: Host) -> None:
    said = {
        "id": event.id,
        "key": request.header("x-idempotency-key"),
        "source": event.source,
        "type": event.type,
        "tenant": event.tenant,
        "origin_id": event.origin_id,
        "data": event.data,
        "payload": None if event.payload is None else list(event.payload),
        "times": 1 + _times(event.id, host),
    }
    host.storage.put("seen", event.id, json.dumps(said))


def _times(key: str, host: Host) -> int:
    try:
        return int(json.loads(host.storage.get("seen", key).value)["times"])
    except HostError:
        return 0


def _status(host: Host) -> int:
    try:
        return int(host.storage.get("mood", "status").value)
    except HostError:
        return 204

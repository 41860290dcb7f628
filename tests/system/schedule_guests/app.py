"""A guest that arranges its own schedules, and keeps what it is called with. Its twin in JavaScript is handler.js."""

from __future__ import annotations

import dataclasses
import json

from alga_extension import (
    CreateScheduleInput,
    Host,
    HostError,
    Request,
    Response,
    Router,
    UpdateScheduleInput,
    empty_response,
    entry,
    json_response,
)

router = Router()
WitWorld = entry(router)


@router.post("/tick")
def tick(request: Request, host: Host) -> Response:
    try:
        user = dataclasses.asdict(host.user.get_user())
    except HostError as error:
        user = error.code
    kept = {"body": request.body.decode(), "type": request.header("content-type"), "user": user}
    host.storage.put("ticks", request.header("x-idempotency-key"), json.dumps(kept).encode())
    return empty_response()


@router.get("/ticks")
def ticks(_request: Request, host: Host) -> Response:
    entries = host.storage.list_entries("ticks")
    return json_response([{"key": one.key, "times": one.revision, **json.loads(one.value)} for one in entries])


@router.get("/fail")
def fail(_request: Request, _host: Host) -> Response:
    raise RuntimeError("it always fails")


@router.post("/scheduler/:function")
def scheduler(request: Request, host: Host) -> Response:
    asked = request.json()
    functions = {
        "list": host.scheduler.list_schedules,
        "get": lambda: host.scheduler.get_schedule(asked["id"]),
        "create": lambda: host.scheduler.create_schedule(CreateScheduleInput(**asked)),
        "update": lambda: host.scheduler.update_schedule(asked.pop("id"), UpdateScheduleInput(**asked)),
        "delete": lambda: host.scheduler.delete_schedule(asked["id"]),
        "endpoints": host.scheduler.get_endpoints,
    }
    try:
        found = functions[request.params["function"]]()
    except HostError as error:
        return json_response({"refused": error.code})
    if isinstance(found, list):
        return json_response([dataclasses.asdict(one) for one in found])
    return json_response(None if found is None else dataclasses.asdict(found))

"""A guest that does what its tests ask for: every part of the Python runtime, inside a real component."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Callable
from dataclasses import asdict

from alga_extension import (
    CreateScheduleInput,
    Host,
    HostError,
    HttpError,
    Request,
    Response,
    Router,
    UpdateScheduleInput,
    bytes_response,
    empty_response,
    entry,
    json_response,
    text_response,
)

router = Router()


def attempt(call: Callable[[], object]) -> object:
    try:
        return call()
    except HostError as error:
        return f"{error.interface}: {error.code}: {error}"


@router.post("/random")
def draw(_request: Request, _host: Host) -> Response:
    return json_response({"bytes": os.urandom(16).hex(), "uuid": str(uuid.uuid4()), "number": random.random()})


@router.post("/storage")
def store(_request: Request, host: Host) -> Response:
    put = host.storage.put("n", "k", "ä", revision=7)
    return json_response(
        {
            "put": {**asdict(put), "value": put.value.hex()},
            "got": attempt(lambda: host.storage.get("n", "absent")),
            "listed": [[entry.key, entry.revision] for entry in host.storage.list_entries("n", "j")],
            "deleted": host.storage.delete("n", "k") or "nothing",
        }
    )


@router.post("/everything")
def everything(_request: Request, host: Host) -> Response:
    host.metrics.counter("calls", 1, {"kind": "test"})
    schedule = CreateScheduleInput("/x", "* * * * *", enabled=True)
    return json_response(
        {
            "context": asdict(host.context.get_context()),
            "user": attempt(lambda: asdict(host.user.get_user())),
            "user_v2": attempt(lambda: asdict(host.user.get_user_v2())),
            "config": [host.config.get("region"), host.config.get("absent"), host.config.get_all()],
            "secrets": [attempt(lambda: host.secrets.get("k")), host.secrets.list_keys()],
            "proxied": attempt(lambda: host.ui_proxy.call_route("status", "x").hex()),
            "published": attempt(lambda: host.events.publish("t", "{}")),
            "schedules": [
                [asdict(schedule) for schedule in host.scheduler.list_schedules()],
                host.scheduler.get_schedule("absent"),
                asdict(host.scheduler.create_schedule(schedule)),
                asdict(host.scheduler.update_schedule("i", UpdateScheduleInput(cron="0 * * * *"))),
                asdict(host.scheduler.delete_schedule("i")),
                [asdict(endpoint) for endpoint in host.scheduler.get_endpoints()],
            ],
        }
    )


@router.post("/fetch")
def fetched(request: Request, host: Host) -> Response:
    answer = host.http.fetch(request.query["url"], method="post", body="a=b+c", headers={"x-a": "1"})
    told = answer.json()
    assert isinstance(told, dict)
    return json_response({"status": answer.status, "ok": answer.ok, "type": answer.header("content-TYPE"), **told})


@router.post("/items/:id")
def item(request: Request, _host: Host) -> Response:
    return json_response({**request.params, "q": request.query_values("q")})


@router.get("/only-get")
def only_get(_request: Request, _host: Host) -> Response:
    return empty_response()


@router.post("/body")
def body(request: Request, _host: Host) -> Response:
    return bytes_response(request.body[::-1], headers={"x-type": request.header("X-Test") or ""})


@router.post("/json")
def parsed(request: Request, _host: Host) -> Response:
    return json_response(request.json())


@router.post("/surrogate")
def surrogate(_request: Request, host: Host) -> Response:
    host.logging.log_info("a\ud800")
    return text_response((host.config.get("\udc00") or "none") + "\ud800", headers={"x-a": "a\ud800"})


@router.post("/http-error")
def teapot(_request: Request, _host: Host) -> Response:
    raise HttpError(418, "a teapot", {"short": True})


@router.post("/throw")
def throw(_request: Request, _host: Host) -> Response:
    raise LookupError("for the author")


@router.post("/argument")
def argument(_request: Request, host: Host) -> Response:
    return text_response(host.config.get(5) or "")  # type: ignore[arg-type]


@router.post("/nothing")
def nothing(_request: Request, _host: Host) -> Response:
    return None  # type: ignore[return-value]


@router.post("/recursion")
def recursion(request: Request, host: Host) -> Response:
    return recursion(request, host)


@router.post("/memory")
def memory(_request: Request, _host: Host) -> Response:
    held = []
    while True:
        held.append(b"\x01" * 2**20)


WitWorld = entry(router)

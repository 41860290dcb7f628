"""One small extension that shows each thing a guest can do, well-behaved or not.

Built by componentize-py against the world `runner`; the two JavaScript examples beside it answer the same.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

from alga_extension import (
    Host,
    HostError,
    HttpError,
    Request,
    Response,
    Router,
    bytes_response,
    empty_response,
    entry,
    json_response,
)

EXTENSION = "samples.hello-python"  # as in the manifest: a topic must start with it
LANGUAGE = "python"
MIB = 1024 * 1024
STORAGE_STATUS = {"missing": 404, "conflict": 409, "denied": 403, "internal": 500}

T = TypeVar("T")

router = Router()


class WitWorld(entry(router)):
    """The one export of the world; the toolchain looks for this name."""

    def handler(self, request):
        # The runtime answers 500 for a handler that raises. To show what the platform makes of a guest that gives no
        # answer at all, this one route goes around it.
        return trap() if request.http.url == "/trap" else super().handler(request)


@router.get("/hello")
def hello(request: Request, _host: Host) -> Response:
    return json_response(
        {
            "message": "hello",
            "tenant": request.context.tenant_id,
            "extension": request.context.extension_id,
            "language": LANGUAGE,
            "path": request.url,
        }
    )


@router.post("/echo")
def echo(request: Request, _host: Host) -> Response:
    # The body stays the bytes it came as: turning ten megabytes into text and back would cost more than the call.
    content_type = request.header("content-type") or "application/octet-stream"
    return Response(200, (("content-type", content_type),), request.body or None)


@router.get("/context")
def show_context(_request: Request, host: Host) -> Response:
    return json_response(
        {
            "context": dataclasses.asdict(host.context.get_context()),
            "user": outcome(lambda: dataclasses.asdict(host.user.get_user())),
            "user_v2": outcome(lambda: dataclasses.asdict(host.user.get_user_v2())),
            "config": host.config.get_all(),
            "region": host.config.get("region"),
        }
    )


@router.get("/log")
def log(_request: Request, host: Host) -> Response:
    host.logging.log_info("an info line")
    host.logging.log_warn("a warning line")
    host.logging.log_error("an error line")
    print("a line on stdout")
    print("a line on stderr", file=sys.stderr)
    return json_response({})


@router.get("/denied")
def denied(_request: Request, host: Host) -> Response:
    # One call of each interface that must be granted; with no grant every one of them answers, and none of them traps.
    calls: dict[str, Callable[[], object]] = {
        "secrets": lambda: host.secrets.get("api-key"),
        "http": lambda: host.http.fetch("https://example.com/"),
        "storage": lambda: host.storage.get("notes", "first"),
        "ui-proxy": lambda: host.ui_proxy.call_route("status"),
        "scheduler": host.scheduler.list_schedules,
        "events": lambda: host.events.publish(f"{EXTENSION}.greeted", b"{}"),
        "metrics": lambda: host.metrics.counter("greetings", 1, {"kind": "hello"}),
    }
    return json_response({name: summary(call) for name, call in calls.items()})


# A request of the caller's choice, as far as the install may go; the host's answer, or its word for why there is none.


@router.post("/fetch")
def send_for(request: Request, host: Host) -> Response:
    asked = request.json()
    if not isinstance(asked, dict):
        raise HttpError(400, "the body must be an object")
    try:
        answer = host.http.fetch(
            asked["url"],
            method=asked.get("method", "GET"),
            headers=asked.get("headers", {}),
            body=asked.get("body"),
            follow_redirects=5 if asked.get("redirect") == "follow" else 0,
        )
    except HostError as error:
        return json_response({"error": error.code})
    return json_response({"status": answer.status, "headers": answer.headers, "body": answer.text()})


# The install's storage over HTTP. Namespace and key stand in the query, where any character can.


@router.get("/entry")
def read_entry(request: Request, host: Host) -> Response:
    found = stored(lambda: host.storage.get(request.query["namespace"], request.query["key"]))
    return bytes_response(found.value, headers={"x-ext-app-revision": str(found.revision)})


@router.put("/entry")
def write_entry(request: Request, host: Host) -> Response:
    query = request.query
    revision = int(query["revision"]) if "revision" in query else None
    written = stored(lambda: host.storage.put(query["namespace"], query["key"], request.body, revision=revision))
    return json_response({"revision": written.revision, "bytes": len(written.value)})


@router.delete("/entry")
def remove_entry(request: Request, host: Host) -> Response:
    stored(lambda: host.storage.delete(request.query["namespace"], request.query["key"]))
    return empty_response()


@router.get("/entries")
def list_entries(request: Request, host: Host) -> Response:
    entries = stored(lambda: host.storage.list_entries(request.query["namespace"], request.query.get("cursor")))
    return json_response([[one.key, one.revision, len(one.value)] for one in entries])


@router.get("/random")
def random(_request: Request, _host: Host) -> Response:
    return json_response({"random": os.urandom(16).hex()})


@router.get("/headers")
def show_headers(request: Request, _host: Host) -> Response:
    return json_response(request.headers)


@router.get("/status/:code")
def status(request: Request, _host: Host) -> Response:
    return empty_response(number(request, "code"))


@router.get("/big/:bytes")
def big(request: Request, _host: Host) -> Response:
    return Response(200, (("content-type", "text/plain"),), b"x" * number(request, "bytes"))


@router.get("/loop")
def loop(_request: Request, _host: Host) -> NoReturn:
    while True:
        pass


@router.get("/bomb")
def bomb(_request: Request, _host: Host) -> NoReturn:
    held = []
    while True:
        held.append(b"\x01" * MIB)


@router.get("/stack")
def stack(_request: Request, _host: Host) -> Response:
    sys.setrecursionlimit(2**31 - 1)
    return json_response({"depth": dive(0)})


def dive(depth: int) -> int:
    # By way of a function written in C: a call from Python to Python takes no native stack, so it would never overflow.
    return max([depth + 1], key=dive) + 1


def trap() -> NoReturn:
    raise RuntimeError("this handler always fails")


def number(request: Request, name: str) -> int:
    if not re.fullmatch(r"[0-9]{1,8}", request.params[name]):
        raise HttpError(404, "not found", {"path": request.path})
    return int(request.params[name])


def stored(call: Callable[[], T]) -> T:
    """What storage answered, its errors as statuses."""
    try:
        return call()
    except HostError as error:
        raise HttpError(STORAGE_STATUS[error.code], error.code) from error


def outcome(call: Callable[[], object]) -> object:
    """What a call answered, or the error it answered with."""
    try:
        return call()
    except HostError as error:
        return str(error) if error.code == "refused" else error.code


def summary(call: Callable[[], object]) -> object:
    """The kind of answer only, never the value: one of them would be a secret."""
    return outcome(lambda: "[]" if call() == [] else "ok")

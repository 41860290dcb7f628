"""One small extension that shows each thing a guest can do, well-behaved or not.

Built by componentize-py against the world `runner`; the two JavaScript examples beside it answer the same.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn

from componentize_py_types import Err
from wit_world import WitWorld as Runner
from wit_world.imports import (
    config,
    context,
    events,
    http,
    logging,
    metrics,
    scheduler,
    secrets,
    storage,
    types,
    ui_proxy,
    user,
    user_v2,
)

EXTENSION = "samples.hello-python"  # as in the manifest: a topic must start with it
LANGUAGE = "python"
MIB = 1024 * 1024
NUMBERED = re.compile(r"(/[a-z]+)/([0-9]{1,8})")


class WitWorld(Runner):
    """The one export of the world; the toolchain looks for this name."""

    def handler(self, request: types.ExecuteRequest) -> types.ExecuteResponse:
        method, path = request.http.method, request.http.url.split("?", 1)[0]
        if route := ROUTES.get(f"{method} {path}"):
            return route(request)
        found = NUMBERED.fullmatch(path)
        if found and (numbered := NUMBERED_ROUTES.get(f"{method} {found[1]}")):
            return numbered(int(found[2]))
        return as_json(404, {"error": "not found", "path": path})


def answer(status: int, content_type: str, body: bytes | None) -> types.ExecuteResponse:
    return types.ExecuteResponse(status, [types.HttpHeader("content-type", content_type)], body)


def as_json(status: int, value: object) -> types.ExecuteResponse:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return answer(status, "application/json", text.encode())


def hello(request: types.ExecuteRequest) -> types.ExecuteResponse:
    return as_json(
        200,
        {
            "message": "hello",
            "tenant": request.context.tenant_id,
            "extension": request.context.extension_id,
            "language": LANGUAGE,
            "path": request.http.url,
        },
    )


def echo(request: types.ExecuteRequest) -> types.ExecuteResponse:
    # The body stays the bytes it came as: turning ten megabytes into text and back would cost more than the call.
    named = (header.value for header in request.http.headers if header.name.lower() == "content-type")
    return answer(200, next(named, "application/octet-stream"), request.http.body)


def show_context(_request: types.ExecuteRequest) -> types.ExecuteResponse:
    return as_json(
        200,
        {
            "context": dataclasses.asdict(context.get_context()),
            "user": outcome(lambda: dataclasses.asdict(user.get_user())),
            "user_v2": outcome(lambda: dataclasses.asdict(user_v2.get_user())),
            "config": dict(config.get_all()),
            "region": config.get("region"),
        },
    )


def log(_request: types.ExecuteRequest) -> types.ExecuteResponse:
    logging.log_info("an info line")
    logging.log_warn("a warning line")
    logging.log_error("an error line")
    print("a line on stdout")
    print("a line on stderr", file=sys.stderr)
    return as_json(200, {})


def denied(_request: types.ExecuteRequest) -> types.ExecuteResponse:
    # One call of each interface that must be granted; with no grant every one of them answers, and none of them traps.
    request = types.HttpRequest("GET", "https://example.com/", [], None)
    calls: dict[str, Callable[[], object]] = {
        "secrets": lambda: secrets.get("api-key"),
        "http": lambda: http.fetch(request),
        "storage": lambda: storage.get("notes", "first"),
        "ui-proxy": lambda: ui_proxy.call_route("status", None),
        "scheduler": scheduler.list_schedules,
        "events": lambda: events.publish(f"{EXTENSION}.greeted", b"{}"),
        "metrics": lambda: metrics.counter("greetings", 1, [("kind", "hello")]),
    }
    return as_json(200, {name: summary(call) for name, call in calls.items()})


def random(_request: types.ExecuteRequest) -> types.ExecuteResponse:
    return as_json(200, {"random": os.urandom(16).hex()})


def show_headers(request: types.ExecuteRequest) -> types.ExecuteResponse:
    return as_json(200, [[header.name, header.value] for header in request.http.headers])


def status(code: int) -> types.ExecuteResponse:
    return types.ExecuteResponse(code, [], None)


def big(size_bytes: int) -> types.ExecuteResponse:
    return answer(200, "text/plain", b"x" * size_bytes)


def loop(_request: types.ExecuteRequest) -> NoReturn:
    while True:
        pass


def bomb(_request: types.ExecuteRequest) -> NoReturn:
    held = []
    while True:
        held.append(b"\x01" * MIB)


def stack(_request: types.ExecuteRequest) -> types.ExecuteResponse:
    sys.setrecursionlimit(2**31 - 1)
    return as_json(200, {"depth": dive(0)})


def dive(depth: int) -> int:
    # By way of a function written in C: a call from Python to Python takes no native stack, so it would never overflow.
    return max([depth + 1], key=dive) + 1


def trap(_request: types.ExecuteRequest) -> NoReturn:
    raise RuntimeError("this handler always fails")


def outcome(call: Callable[[], object]) -> object:
    """What a call answered, or the name of the error it answered with."""
    try:
        return call()
    except Err as error:
        return error_name(error)


def summary(call: Callable[[], object]) -> str:
    """The kind of answer only, never the value: one of them would be a secret."""
    try:
        return "[]" if call() == [] else "ok"
    except Err as error:
        return error_name(error)


def error_name(error: Err) -> str:
    """The case of the WIT enum, or the text where the error is a string."""
    if isinstance(error.value, str):
        return error.value
    return error.value.name.lower().replace("_", "-")


ROUTES: dict[str, Callable[[types.ExecuteRequest], types.ExecuteResponse]] = {
    "GET /hello": hello,
    "POST /echo": echo,
    "GET /context": show_context,
    "GET /log": log,
    "GET /denied": denied,
    "GET /random": random,
    "GET /headers": show_headers,
    "GET /loop": loop,
    "GET /bomb": bomb,
    "GET /stack": stack,
    "GET /trap": trap,
}
NUMBERED_ROUTES: dict[str, Callable[[int], types.ExecuteResponse]] = {"GET /status": status, "GET /big": big}

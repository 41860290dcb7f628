"""An extension that calls every function there is, each by its name in WIT: what is possible, and how it is written.

`POST /call/INTERFACE/FUNCTION` with arguments as JSON answers `{"value": …}` or `{"error": …}`. Its twin is handler.js.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from alga_extension import (
    CreateScheduleInput,
    Host,
    HostError,
    HttpError,
    ManualInvoiceItemInput,
    Request,
    Response,
    Router,
    UpdateScheduleInput,
    entry,
    json_response,
)

CALLS: dict[str, Callable[[Host, Any], object]] = {
    "context/get-context": lambda host, _: host.context.get_context(),
    "logging/log-info": lambda host, given: host.logging.log_info(given["message"]),
    "logging/log-warn": lambda host, given: host.logging.log_warn(given["message"]),
    "logging/log-error": lambda host, given: host.logging.log_error(given["message"]),
    "user/get-user": lambda host, _: host.user.get_user(),
    "user-v2/get-user": lambda host, _: host.user.get_user_v2(),
    "config/get": lambda host, given: host.config.get(given["key"]),
    "config/get-all": lambda host, _: list(host.config.get_all().items()),
    "secrets/get": lambda host, given: host.secrets.get(given["key"]),
    "secrets/list-keys": lambda host, _: host.secrets.list_keys(),
    "http/fetch": lambda host, given: host.http.fetch(
        given["url"], method=given["method"], headers=given["headers"], body=given["body"]
    ),
    "storage/get": lambda host, given: host.storage.get(given["namespace"], given["key"]),
    "storage/put": lambda host, given: host.storage.put(
        given["namespace"], given["key"], given["value"], revision=given.get("revision")
    ),
    "storage/delete": lambda host, given: host.storage.delete(given["namespace"], given["key"]),
    "storage/list-entries": lambda host, given: host.storage.list_entries(given["namespace"], given["cursor"]),
    "ui-proxy/call-route": lambda host, given: host.ui_proxy.call_route(given["route"], given["payload"]),
    "scheduler/list-schedules": lambda host, _: host.scheduler.list_schedules(),
    "scheduler/get-schedule": lambda host, given: host.scheduler.get_schedule(given["id"]),
    "scheduler/create-schedule": lambda host, given: host.scheduler.create_schedule(CreateScheduleInput(**given)),
    "scheduler/update-schedule": lambda host, given: host.scheduler.update_schedule(
        given["id"], UpdateScheduleInput(**given["changes"])
    ),
    "scheduler/delete-schedule": lambda host, given: host.scheduler.delete_schedule(given["id"]),
    "scheduler/get-endpoints": lambda host, _: host.scheduler.get_endpoints(),
    "metrics/counter": lambda host, given: host.metrics.counter(given["name"], given["value"], given["labels"]),
    "metrics/gauge": lambda host, given: host.metrics.gauge(given["name"], given["value"], given["labels"]),
    "metrics/histogram": lambda host, given: host.metrics.histogram(given["name"], given["value"], given["labels"]),
    "events/publish": lambda host, given: host.events.publish(given["topic"], given["payload"]),
    "invoicing/create-manual-invoice": lambda host, given: host.invoicing.create_manual_invoice(
        given["client"],
        [ManualInvoiceItemInput(given["service"], given["quantity"], given["description"], given["rate"])],
    ),
    "clients/list-clients": lambda host, given: host.clients.list_clients(search=given["search"]),
    "clients/get-client": lambda host, given: host.clients.get_client(given["id"]),
    "services/list-services": lambda host, given: host.services.list_services(item_kind=given["kind"]),
    "services/get-service": lambda host, given: host.services.get_service(given["id"]),
    "wasi:clocks/wall-clock": lambda _host, _: time.time_ns() / 1_000_000,
    "wasi:clocks/monotonic-clock": lambda _host, _: time.monotonic_ns() / 1_000_000,
    "wasi:random/random": lambda _host, _: os.urandom(16).hex(),
    "wasi:cli/stdin": lambda _host, _: sys.stdin.read(),
    "wasi:cli/stdout": lambda _host, given: print(given["message"]),
    "wasi:cli/stderr": lambda _host, given: print(given["message"], file=sys.stderr),
    "wasi:cli/environment": lambda _host, _: [dict(os.environ), [word for word in sys.argv if word]],
    "wasi:filesystem/preopens": lambda _host, given: attempt(lambda: [*map(str, Path(given["path"]).iterdir())]),
    "wasi:filesystem/types": lambda _host, given: attempt(lambda: Path(given["path"]).write_bytes(b"x")),
    "wasi:sockets/tcp": lambda _host, given: socket.socket().connect((given["host"], given["port"])),
    "wasi:sockets/ip-name-lookup": lambda _host, given: socket.getaddrinfo(given["host"].encode(), given["port"]),
}

router = Router()
WitWorld = entry(router)


@router.post("/call/:interface/:function")
def call(request: Request, host: Host) -> Response:
    """One call; WASI has its functions in interfaces of packages, which here stand in for both names."""
    found = CALLS.get(f"{request.params['interface']}/{request.params['function']}")
    if found is None:
        raise HttpError(404, "this guest cannot call that")
    try:
        return json_response({"value": plain(found(host, request.json()))})
    except HostError as error:
        return json_response({"error": str(error) if error.code == "refused" else error.code})


def attempt(call: Callable[[], object]) -> object:
    """What a function of the standard library answers, or the kind of error it raises."""
    try:
        return call()
    except OSError as error:
        return type(error).__name__


def plain(value: object) -> object:
    """A value as JavaScript has it, so that both guests can be asked alike."""
    if is_dataclass(value) and not isinstance(value, type):
        return {_camel(field.name): plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, bytes):
        return value.decode()
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)

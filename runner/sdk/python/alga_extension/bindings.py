"""The real host: the interfaces of the guest's world, as componentize-py generates them.

The generated modules exist inside a component only, and only those of interfaces that the world imports, so they are
looked up by name while the component is built. Arguments are checked before they cross, because the border answers a
wrong type, or a text that has no form in UTF-8, by ending the guest.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from alga_extension.arguments import (
    as_bytes,
    as_number,
    as_optional_bytes,
    as_optional_text,
    as_revision,
    as_text,
)
from alga_extension.bindings_host_application import Clients, Invoicing, Services
from alga_extension.errors import HostError
from alga_extension.host import Host
from alga_extension.interfaces import WORLD, Interface, as_record
from alga_extension.records import (
    ContextData,
    CreateScheduleInput,
    CreateScheduleResult,
    DeleteScheduleResult,
    EndpointInfo,
    HttpResponse,
    ScheduleInfo,
    StorageEntry,
    UpdateScheduleInput,
    UpdateScheduleResult,
    UserData,
    UserDataV2,
)
from alga_extension.response import Headers, request_headers

SENT_MAX_BYTES = 2_621_440  # a little more crosses to the host at once; too much of it ends the guest


def world_host() -> Host:
    """The host of the guest that is being built. Raises `ModuleNotFoundError` outside of a component."""
    types = importlib.import_module(f"{WORLD}.imports.types")
    error: type[Exception] = importlib.import_module("componentize_py_types").Err

    def interface(name: str) -> Interface:
        return Interface(name, error)

    return Host(
        context=_Context(interface("context")),
        logging=_Logging(interface("logging")),
        secrets=_Secrets(interface("secrets")),
        http=_Http(interface("http"), types),
        storage=_Storage(interface("storage"), types),
        ui_proxy=_UiProxy(interface("ui-proxy")),
        user=_User(interface("user"), interface("user-v2")),
        scheduler=_Scheduler(interface("scheduler"), types),
        metrics=_Metrics(interface("metrics")),
        config=_Config(interface("config")),
        events=_Events(interface("events")),
        invoicing=Invoicing(interface("invoicing"), types),
        clients=Clients(interface("clients"), types),
        services=Services(interface("services"), types),
    )


# ---- one interface each -----------------------------------------------------------------------------------------


class _Context:
    def __init__(self, interface: Interface) -> None:
        self._interface = interface

    def get_context(self) -> ContextData:
        return as_record(ContextData, self._interface.call("get_context"))


class _Logging:
    def __init__(self, interface: Interface) -> None:
        self._interface = interface

    def log_info(self, message: str) -> None:
        self._interface.call("log_info", as_text(message, "a message"))

    def log_warn(self, message: str) -> None:
        self._interface.call("log_warn", as_text(message, "a message"))

    def log_error(self, message: str) -> None:
        self._interface.call("log_error", as_text(message, "a message"))


class _Secrets:
    def __init__(self, interface: Interface) -> None:
        self._interface = interface

    def get(self, key: str) -> str:
        value: str = self._interface.call("get", as_text(key, "the name of a secret"))
        return value

    def list_keys(self) -> list[str]:
        return list(self._interface.call("list_keys"))


class _Http:
    def __init__(self, interface: Interface, types: Any) -> None:
        self._interface, self._types = interface, types

    def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Headers = (),
        body: bytes | str | None = None,
        follow_redirects: int = 0,
    ) -> HttpResponse:
        sent = [
            self._types.HttpHeader(as_text(name, "the name of a header"), as_text(value, "the value of a header"))
            for name, value in request_headers(headers, follow_redirects)
        ]
        payload = as_optional_bytes(body, "a body")
        if payload is not None and len(payload) > SENT_MAX_BYTES:
            raise HostError("http", "transport", f"a body has at most {SENT_MAX_BYTES} bytes; send it in parts")
        request = self._types.HttpRequest(as_text(method, "a method").upper(), as_text(url, "a url"), sent, payload)
        answer = self._interface.call("fetch", request)
        pairs = tuple((header.name, header.value) for header in answer.headers)
        return HttpResponse(answer.status, pairs, answer.body or b"")


class _Storage:
    def __init__(self, interface: Interface, types: Any) -> None:
        self._interface, self._types = interface, types

    def get(self, namespace: str, key: str) -> StorageEntry:
        return as_record(
            StorageEntry, self._interface.call("get", as_text(namespace, "a namespace"), as_text(key, "a key"))
        )

    def put(self, namespace: str, key: str, value: bytes | str, *, revision: int | None = None) -> StorageEntry:
        entry = self._types.StorageEntry(
            as_text(namespace, "a namespace"),
            as_text(key, "a key"),
            as_bytes(value, "a value"),
            as_revision(revision),
        )
        return as_record(StorageEntry, self._interface.call("put", entry))

    def delete(self, namespace: str, key: str) -> None:
        self._interface.call("delete", as_text(namespace, "a namespace"), as_text(key, "a key"))

    def list_entries(self, namespace: str, cursor: str | None = None) -> list[StorageEntry]:
        after = as_optional_text(cursor, "a cursor")
        entries = self._interface.call("list_entries", as_text(namespace, "a namespace"), after)
        return [as_record(StorageEntry, entry) for entry in entries]


class _UiProxy:
    def __init__(self, interface: Interface) -> None:
        self._interface = interface

    def call_route(self, route: str, payload: bytes | str | None = None) -> bytes:
        sent = as_optional_bytes(payload, "a payload")
        return bytes(self._interface.call("call_route", as_text(route, "a route"), sent))


class _User:
    def __init__(self, interface: Interface, newer: Interface) -> None:
        self._interface, self._newer = interface, newer

    def get_user(self) -> UserData:
        return as_record(UserData, self._interface.call("get_user"))

    def get_user_v2(self) -> UserDataV2:
        return as_record(UserDataV2, self._newer.call("get_user"))


class _Scheduler:
    def __init__(self, interface: Interface, types: Any) -> None:
        self._interface, self._types = interface, types

    def list_schedules(self) -> list[ScheduleInfo]:
        return [as_record(ScheduleInfo, schedule) for schedule in self._interface.call("list_schedules")]

    def get_schedule(self, schedule_id: str) -> ScheduleInfo | None:
        found = self._interface.call("get_schedule", as_text(schedule_id, "an id"))
        return None if found is None else as_record(ScheduleInfo, found)

    def create_schedule(self, schedule: CreateScheduleInput) -> CreateScheduleResult:
        wanted = self._types.CreateScheduleInput(
            as_text(schedule.endpoint, "an endpoint"), as_text(schedule.cron, "a cron line"), *_rest(schedule)
        )
        return as_record(CreateScheduleResult, self._interface.call("create_schedule", wanted))

    def update_schedule(self, schedule_id: str, schedule: UpdateScheduleInput) -> UpdateScheduleResult:
        endpoint, cron = (
            as_optional_text(schedule.endpoint, "an endpoint"),
            as_optional_text(schedule.cron, "a cron line"),
        )
        wanted = self._types.UpdateScheduleInput(endpoint, cron, *_rest(schedule))
        changed = self._interface.call("update_schedule", as_text(schedule_id, "an id"), wanted)
        return as_record(UpdateScheduleResult, changed)

    def delete_schedule(self, schedule_id: str) -> DeleteScheduleResult:
        return as_record(DeleteScheduleResult, self._interface.call("delete_schedule", as_text(schedule_id, "an id")))

    def get_endpoints(self) -> list[EndpointInfo]:
        return [as_record(EndpointInfo, endpoint) for endpoint in self._interface.call("get_endpoints")]


def _rest(
    schedule: CreateScheduleInput | UpdateScheduleInput,
) -> tuple[str | None, bool | None, str | None, str | None]:
    if schedule.enabled is not None and not isinstance(schedule.enabled, bool):
        raise TypeError("enabled must be True, False or None")
    return (
        as_optional_text(schedule.timezone, "a time zone"),
        schedule.enabled,
        as_optional_text(schedule.name, "a name"),
        as_optional_text(schedule.payload, "a payload"),
    )


class _Metrics:
    def __init__(self, interface: Interface) -> None:
        self._interface = interface

    def counter(self, name: str, value: float = 1, labels: Mapping[str, str] | None = None) -> None:
        self._sample("counter", name, value, labels)

    def gauge(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        self._sample("gauge", name, value, labels)

    def histogram(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        self._sample("histogram", name, value, labels)

    def _sample(self, kind: str, name: str, value: float, labels: Mapping[str, str] | None) -> None:
        pairs = [
            (as_text(label, "a label"), as_text(held, "a label's value")) for label, held in (labels or {}).items()
        ]
        self._interface.call(kind, as_text(name, "a name"), as_number(value, "a sample"), pairs)


class _Config:
    def __init__(self, interface: Interface) -> None:
        self._interface = interface

    def get(self, key: str) -> str | None:
        value: str | None = self._interface.call("get", as_text(key, "a key"))
        return value

    def get_all(self) -> dict[str, str]:
        return dict(self._interface.call("get_all"))


class _Events:
    def __init__(self, interface: Interface) -> None:
        self._interface = interface

    def publish(self, topic: str, payload: bytes | str) -> None:
        self._interface.call("publish", as_text(topic, "a topic"), as_bytes(payload, "a payload"))

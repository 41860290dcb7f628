"""The real host: the interfaces of the guest's world, as componentize-py generates them.

The generated modules exist inside a component only, and only those of interfaces that the world imports, so they are
looked up by name while the component is built. Arguments are checked before they cross, because the border answers a
wrong type, or a text that has no form in UTF-8, by ending the guest.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from enum import Enum
from types import ModuleType
from typing import Any, TypeVar

from alga_extension.errors import HostError
from alga_extension.host import Host
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
from alga_extension.response import Headers, header_pairs

WORLD = "wit_world"

_Record = TypeVar("_Record")


def world_host() -> Host:
    """The host of the guest that is being built. Raises `ModuleNotFoundError` outside of a component."""
    types = importlib.import_module(f"{WORLD}.imports.types")
    error: type[Exception] = importlib.import_module("componentize_py_types").Err

    def interface(name: str) -> _Interface:
        return _Interface(name, error)

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
    )


class _Interface:
    """One interface of the world; it may be missing, which is an error at the call."""

    def __init__(self, name: str, error: type[Exception]) -> None:
        self._name = name
        self._error = error
        self._module: ModuleType | None = None
        module = f"{WORLD}.imports.{name.replace('-', '_')}"
        try:
            self._module = importlib.import_module(module)
        except ModuleNotFoundError as missing:
            if missing.name != module:
                raise

    def call(self, function: str, *arguments: object) -> Any:
        """What a function of the interface answers. Raises `HostError` for the error case of its result."""
        if self._module is None:
            raise RuntimeError(
                f"alga:extension/{self._name} is not in this guest's world: list its capability in manifest.json"
            )
        try:
            return getattr(self._module, function)(*arguments)
        except self._error as error:
            raise self._host_error(error) from None

    def _host_error(self, error: Exception) -> HostError:
        value: object = getattr(error, "value", None)
        if isinstance(value, Enum):
            return HostError(self._name, value.name.lower().replace("_", "-"))
        return HostError(self._name, "refused", str(value))


# ---- arguments --------------------------------------------------------------------------------------------------


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _optional_text(value: object, what: str) -> str | None:
    return None if value is None else _text(value, what)


def _bytes(value: object, what: str) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"{what} must be bytes or a str, not {type(value).__name__}")
    return bytes(value)


def _optional_bytes(value: object, what: str) -> bytes | None:
    return None if value is None else _bytes(value, what)


def _number(value: object, what: str) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{what} must be a number, not {type(value).__name__}")
    return float(value)


def _as(kind: type[_Record], raw: object) -> _Record:
    """A generated record as ours: the fields have the same names."""
    return kind(**vars(raw))


# ---- one interface each -----------------------------------------------------------------------------------------


class _Context:
    def __init__(self, interface: _Interface) -> None:
        self._interface = interface

    def get_context(self) -> ContextData:
        return _as(ContextData, self._interface.call("get_context"))


class _Logging:
    def __init__(self, interface: _Interface) -> None:
        self._interface = interface

    def log_info(self, message: str) -> None:
        self._interface.call("log_info", _text(message, "a message"))

    def log_warn(self, message: str) -> None:
        self._interface.call("log_warn", _text(message, "a message"))

    def log_error(self, message: str) -> None:
        self._interface.call("log_error", _text(message, "a message"))


class _Secrets:
    def __init__(self, interface: _Interface) -> None:
        self._interface = interface

    def get(self, key: str) -> str:
        value: str = self._interface.call("get", _text(key, "the name of a secret"))
        return value

    def list_keys(self) -> list[str]:
        return list(self._interface.call("list_keys"))


class _Http:
    def __init__(self, interface: _Interface, types: Any) -> None:
        self._interface, self._types = interface, types

    def fetch(
        self, url: str, *, method: str = "GET", headers: Headers = (), body: bytes | str | None = None
    ) -> HttpResponse:
        sent = [
            self._types.HttpHeader(_text(name, "the name of a header"), _text(value, "the value of a header"))
            for name, value in header_pairs(headers)
        ]
        payload = _optional_bytes(body, "a body")
        request = self._types.HttpRequest(_text(method, "a method").upper(), _text(url, "a url"), sent, payload)
        answer = self._interface.call("fetch", request)
        pairs = tuple((header.name, header.value) for header in answer.headers)
        return HttpResponse(answer.status, pairs, answer.body or b"")


class _Storage:
    def __init__(self, interface: _Interface, types: Any) -> None:
        self._interface, self._types = interface, types

    def get(self, namespace: str, key: str) -> StorageEntry:
        return _as(StorageEntry, self._interface.call("get", _text(namespace, "a namespace"), _text(key, "a key")))

    def put(self, namespace: str, key: str, value: bytes | str, *, revision: int | None = None) -> StorageEntry:
        if revision is not None and (not isinstance(revision, int) or not 0 <= revision < 2**64):
            raise TypeError("a revision must be a whole number of 64 bits")
        entry = self._types.StorageEntry(
            _text(namespace, "a namespace"), _text(key, "a key"), _bytes(value, "a value"), revision
        )
        return _as(StorageEntry, self._interface.call("put", entry))

    def delete(self, namespace: str, key: str) -> None:
        self._interface.call("delete", _text(namespace, "a namespace"), _text(key, "a key"))

    def list_entries(self, namespace: str, cursor: str | None = None) -> list[StorageEntry]:
        after = _optional_text(cursor, "a cursor")
        entries = self._interface.call("list_entries", _text(namespace, "a namespace"), after)
        return [_as(StorageEntry, entry) for entry in entries]


class _UiProxy:
    def __init__(self, interface: _Interface) -> None:
        self._interface = interface

    def call_route(self, route: str, payload: bytes | str | None = None) -> bytes:
        sent = _optional_bytes(payload, "a payload")
        return bytes(self._interface.call("call_route", _text(route, "a route"), sent))


class _User:
    def __init__(self, interface: _Interface, newer: _Interface) -> None:
        self._interface, self._newer = interface, newer

    def get_user(self) -> UserData:
        return _as(UserData, self._interface.call("get_user"))

    def get_user_v2(self) -> UserDataV2:
        return _as(UserDataV2, self._newer.call("get_user"))


class _Scheduler:
    def __init__(self, interface: _Interface, types: Any) -> None:
        self._interface, self._types = interface, types

    def list_schedules(self) -> list[ScheduleInfo]:
        return [_as(ScheduleInfo, schedule) for schedule in self._interface.call("list_schedules")]

    def get_schedule(self, schedule_id: str) -> ScheduleInfo | None:
        found = self._interface.call("get_schedule", _text(schedule_id, "an id"))
        return None if found is None else _as(ScheduleInfo, found)

    def create_schedule(self, schedule: CreateScheduleInput) -> CreateScheduleResult:
        wanted = self._types.CreateScheduleInput(
            _text(schedule.endpoint, "an endpoint"), _text(schedule.cron, "a cron line"), *_rest(schedule)
        )
        return _as(CreateScheduleResult, self._interface.call("create_schedule", wanted))

    def update_schedule(self, schedule_id: str, schedule: UpdateScheduleInput) -> UpdateScheduleResult:
        endpoint, cron = _optional_text(schedule.endpoint, "an endpoint"), _optional_text(schedule.cron, "a cron line")
        wanted = self._types.UpdateScheduleInput(endpoint, cron, *_rest(schedule))
        changed = self._interface.call("update_schedule", _text(schedule_id, "an id"), wanted)
        return _as(UpdateScheduleResult, changed)

    def delete_schedule(self, schedule_id: str) -> DeleteScheduleResult:
        return _as(DeleteScheduleResult, self._interface.call("delete_schedule", _text(schedule_id, "an id")))

    def get_endpoints(self) -> list[EndpointInfo]:
        return [_as(EndpointInfo, endpoint) for endpoint in self._interface.call("get_endpoints")]


def _rest(
    schedule: CreateScheduleInput | UpdateScheduleInput,
) -> tuple[str | None, bool | None, str | None, str | None]:
    if schedule.enabled is not None and not isinstance(schedule.enabled, bool):
        raise TypeError("enabled must be True, False or None")
    return (
        _optional_text(schedule.timezone, "a time zone"),
        schedule.enabled,
        _optional_text(schedule.name, "a name"),
        _optional_text(schedule.payload, "a payload"),
    )


class _Metrics:
    def __init__(self, interface: _Interface) -> None:
        self._interface = interface

    def counter(self, name: str, value: float = 1, labels: Mapping[str, str] | None = None) -> None:
        self._sample("counter", name, value, labels)

    def gauge(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        self._sample("gauge", name, value, labels)

    def histogram(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        self._sample("histogram", name, value, labels)

    def _sample(self, kind: str, name: str, value: float, labels: Mapping[str, str] | None) -> None:
        pairs = [(_text(label, "a label"), _text(held, "a label's value")) for label, held in (labels or {}).items()]
        self._interface.call(kind, _text(name, "a name"), _number(value, "a sample"), pairs)


class _Config:
    def __init__(self, interface: _Interface) -> None:
        self._interface = interface

    def get(self, key: str) -> str | None:
        value: str | None = self._interface.call("get", _text(key, "a key"))
        return value

    def get_all(self) -> dict[str, str]:
        return dict(self._interface.call("get_all"))


class _Events:
    def __init__(self, interface: _Interface) -> None:
        self._interface = interface

    def publish(self, topic: str, payload: bytes | str) -> None:
        self._interface.call("publish", _text(topic, "a topic"), _bytes(payload, "a payload"))

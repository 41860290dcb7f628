"""The records that cross between guest and host, with the fields of the world's types, in Python style."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextData:
    """Whom and what a call is for."""

    request_id: str | None = None
    tenant_id: str
    extension_id: str
    install_id: str | None = None
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What a host out there answered to `host.http.fetch`. Names of headers are as they came."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether the status is one of success, 200 to 299."""
        return 200 <= self.status <= 299

    def header(self, name: str) -> str | None:
        """The first header of this name, in whatever case."""
        wanted = name.lower()
        return next((value for held, value in self.headers if held.lower() == wanted), None)

    def text(self) -> str:
        """The body as UTF-8; what is malformed becomes U+FFFD."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> object:
        """The body as JSON. Raises `ValueError` when it is none."""
        parsed: object = json.loads(self.body)
        return parsed


@dataclass(frozen=True, slots=True)
class StorageEntry:
    """One stored value; `revision` starts at 1 and rises by 1 with each write."""

    namespace: str
    key: str
    value: bytes
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class UserData:
    """The user on whose behalf the call is made."""

    tenant_id: str
    client_name: str
    user_id: str
    user_email: str
    user_name: str
    user_type: str


@dataclass(frozen=True, slots=True)
class UserDataV2:
    """The user with their client and whatever else the host application knows, sorted by key."""

    tenant_id: str
    client_name: str
    user_id: str
    user_email: str
    user_name: str
    user_type: str
    client_id: str | None
    additional_fields: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """A schedule as it is kept. Times are RFC 3339 text; `payload` is JSON text."""

    id: str
    endpoint_path: str
    endpoint_method: str
    name: str | None
    cron: str
    timezone: str
    enabled: bool
    payload: str | None
    last_run_at: str | None
    last_run_status: str | None
    last_error: str | None
    created_at: str | None


@dataclass(frozen=True, slots=True)
class EndpointInfo:
    """An endpoint of the manifest."""

    id: str
    method: str
    path: str
    handler: str
    schedulable: bool


@dataclass(frozen=True, slots=True)
class CreateScheduleInput:
    """A schedule to make: `cron` has five fields, `timezone` is an IANA name (UTC when absent), `payload` JSON text."""

    endpoint: str
    cron: str
    timezone: str | None = None
    enabled: bool | None = None
    name: str | None = None
    payload: str | None = None


@dataclass(frozen=True, slots=True)
class CreateScheduleResult:
    """What became of it; `field_errors` is a JSON object from field to message."""

    success: bool
    schedule_id: str | None = None
    error: str | None = None
    field_errors: str | None = None


@dataclass(frozen=True, slots=True)
class UpdateScheduleInput:
    """What to change; a field that is `None` keeps its value."""

    endpoint: str | None = None
    cron: str | None = None
    timezone: str | None = None
    enabled: bool | None = None
    name: str | None = None
    payload: str | None = None


@dataclass(frozen=True, slots=True)
class UpdateScheduleResult:
    """What became of it; `field_errors` is a JSON object from field to message."""

    success: bool
    error: str | None = None
    field_errors: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteScheduleResult:
    """What became of it."""

    success: bool
    error: str | None = None

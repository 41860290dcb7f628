"""The host's interfaces as a handler sees them: one protocol each, together a `Host`.

Every call is synchronous and may raise `HostError`. `alga_extension.bindings` has the real ones, `mock_host` makes some
for tests, and a test may put its own in their place with `dataclasses.replace`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from alga_extension.host_application import Clients, Invoicing, Services
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
from alga_extension.response import Headers


class Context(Protocol):
    """Whom and what the call is for; cannot be denied."""

    def get_context(self) -> ContextData:
        """The same as `request.context`, for code that does not hold the request."""
        ...


class Logging(Protocol):
    """Lines for the extension's live debug stream."""

    def log_info(self, message: str) -> None:
        """One line for information."""
        ...

    def log_warn(self, message: str) -> None:
        """One line that warns."""
        ...

    def log_error(self, message: str) -> None:
        """One line about an error."""
        ...


class Secrets(Protocol):
    """The install's secrets. Capability `cap:secrets.get`."""

    def get(self, key: str) -> str:
        """The value of a secret. Codes: `missing`, `denied`, `expired`, `internal`."""
        ...

    def list_keys(self) -> list[str]:
        """Names of the secrets there are; none when denied."""
        ...


class Http(Protocol):
    """Requests to the hosts that the install was granted. Capability `cap:http.fetch`."""

    def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Headers = (),
        body: bytes | str | None = None,
        follow_redirects: int = 0,
    ) -> HttpResponse:
        """Send a request and wait for its answer. Codes: `invalid-url`, `not-allowed`, `transport`, `internal`.

        A header may hold `{{secret:name}}`: the platform puts the value in for a host the secret is bound to. A
        redirect is an answer like any other unless `follow_redirects` (1 to 5) asks for more. A body sent has at most 2.5 MiB, one received 10 MiB.
        """
        ...


class Storage(Protocol):
    """A key-value store of the install's own. Capability `cap:storage.kv`."""

    def get(self, namespace: str, key: str) -> StorageEntry:
        """One entry. Codes: `missing`, `denied`, `internal`."""
        ...

    def put(self, namespace: str, key: str, value: bytes | str, *, revision: int | None = None) -> StorageEntry:
        """Write one entry; with `revision`, only over that one (0: only if there is none).

        Codes: `conflict`, `denied` (also for a limit or a quota), `internal` (also for a name that is none).
        """
        ...

    def delete(self, namespace: str, key: str) -> None:
        """Remove one entry. Codes: `missing`, `denied`, `internal`."""
        ...

    def list_entries(self, namespace: str, cursor: str | None = None) -> list[StorageEntry]:
        """At most 100 entries in key order, those after the key `cursor`."""
        ...


class UiProxy(Protocol):
    """Routes of the host application. Capability `cap:ui.proxy`."""

    def call_route(self, route: str, payload: bytes | str | None = None) -> bytes:
        """The body of a route's answer. Codes: `route-not-found`, `denied`, `bad-request`, `internal`."""
        ...


class User(Protocol):
    """The user on whose behalf the call is made. Capability `cap:user.read`."""

    def get_user(self) -> UserData:
        """Codes: `not-available` (nobody stands behind the call), `not-allowed`."""
        ...

    def get_user_v2(self) -> UserDataV2:
        """The same with the user's client and further fields."""
        ...


class Scheduler(Protocol):
    """The install's schedules. Capability `cap:scheduler.manage`."""

    def list_schedules(self) -> list[ScheduleInfo]:
        """All schedules. Codes: `denied`, `internal`."""
        ...

    def get_schedule(self, schedule_id: str) -> ScheduleInfo | None:
        """One schedule, `None` when there is none of this id."""
        ...

    def create_schedule(self, schedule: CreateScheduleInput) -> CreateScheduleResult:
        """Make a schedule; a refusal is in the result."""
        ...

    def update_schedule(self, schedule_id: str, schedule: UpdateScheduleInput) -> UpdateScheduleResult:
        """Change a schedule; a refusal is in the result."""
        ...

    def delete_schedule(self, schedule_id: str) -> DeleteScheduleResult:
        """Remove a schedule; a refusal is in the result."""
        ...

    def get_endpoints(self) -> list[EndpointInfo]:
        """Endpoints that could be scheduled."""
        ...


class Metrics(Protocol):
    """The extension's own metrics; what is invalid or too much is dropped."""

    def counter(self, name: str, value: float = 1, labels: Mapping[str, str] | None = None) -> None:
        """Add to a counter."""
        ...

    def gauge(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Set a gauge."""
        ...

    def histogram(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Observe a value."""
        ...


class Config(Protocol):
    """The install's settings."""

    def get(self, key: str) -> str | None:
        """One setting."""
        ...

    def get_all(self) -> dict[str, str]:
        """All settings."""
        ...


class Events(Protocol):
    """Events for other extensions of the same tenant. Capability `cap:events.publish`."""

    def publish(self, topic: str, payload: bytes | str) -> None:
        """Publish an event; `topic` begins with the extension's name. Code: `refused`, with the reason as message."""
        ...


@dataclass(frozen=True, slots=True)
class Host:
    """Everything a handler may call."""

    context: Context
    logging: Logging
    secrets: Secrets
    http: Http
    storage: Storage
    ui_proxy: UiProxy
    user: User
    scheduler: Scheduler
    metrics: Metrics
    config: Config
    events: Events
    invoicing: Invoicing
    clients: Clients
    services: Services

"""A host for unit tests in plain CPython: what is kept is kept in memory, what goes out is refused until a test says
otherwise, and everything said is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from alga_extension.arguments import as_text
from alga_extension.errors import HostError
from alga_extension.host import Host
from alga_extension.host_application import ClientSummary, CreateManualInvoiceResult, ServiceSummary
from alga_extension.mock_host_application import AskedInvoice, MockClients, MockInvoicing, MockServices
from alga_extension.mock_storage import MockStorage
from alga_extension.records import (
    ContextData,
    CreateScheduleInput,
    CreateScheduleResult,
    DeleteScheduleResult,
    EndpointInfo,
    HttpResponse,
    ScheduleInfo,
    UpdateScheduleInput,
    UpdateScheduleResult,
    UserData,
    UserDataV2,
)
from alga_extension.response import Headers, request_headers

_TOPIC = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_EVENT_MAX_BYTES = 65_536

_CONTEXT = ContextData(
    request_id="request-mock",
    tenant_id="tenant-mock",
    extension_id="extension-mock",
    install_id="install-mock",
    version_id="version-mock",
)
_USER = UserDataV2("tenant-mock", "Mock client", "user-mock", "user@mock.example", "Mock user", "internal", None, [])
_NO_SCHEDULES = "the mock keeps no schedules: put a scheduler of your own in its place"


@dataclass(frozen=True, slots=True)
class SentRequest:
    """One request that a handler made."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a handler said."""

    logs: list[tuple[str, str]] = field(default_factory=list)
    metrics: list[tuple[str, str, float, dict[str, str]]] = field(default_factory=list)
    events: list[tuple[str, bytes]] = field(default_factory=list)
    requests: list[SentRequest] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class MockHost(Host):
    """A host in memory.

    Attributes:
        recorded: log lines (level, message), metrics (kind, name, value, labels), events (topic, payload), requests.
    """

    recorded: Recorded = field(default_factory=Recorded)


def mock_host(
    *,
    config: Mapping[str, str] | None = None,
    secrets: Mapping[str, str | HostError] | HostError | None = None,
    fetch: Callable[[SentRequest], HttpResponse] | None = None,
    routes: Mapping[str, bytes] | None = None,
    clients: Iterable[ClientSummary] | None = None,
    services: Iterable[ServiceSummary] | None = None,
    invoicing: Callable[[AskedInvoice], CreateManualInvoiceResult] | None = None,
    user: UserDataV2 | None = _USER,
    context: ContextData = _CONTEXT,
) -> MockHost:
    """A host that behaves as the platform's.

    Args:
        config: the install's settings.
        secrets: the install's secrets; a `HostError` in place of a value is raised instead (`expired`, `internal`), one in
            place of all of them by every `get` (`denied`).
        fetch: answers requests; without it every one is `not-allowed`.
        routes: routes of the host application and what they answer.
        clients: the tenant's clients; without any every call is `not-allowed`.
        services: what the tenant sells; likewise.
        invoicing: writes invoices; without it every one is refused as it is without the grant.
        user: who is calling; `None` for nobody, as in a schedule's call.
        context: whom and what the call is for.
    """
    recorded = Recorded()
    return MockHost(
        context=_Context(context),
        logging=_Logging(recorded),
        secrets=_Secrets({} if secrets is None else secrets),
        http=_Http(recorded, fetch),
        storage=MockStorage(),
        ui_proxy=_UiProxy(dict(routes or {})),
        user=_User(user),
        scheduler=_Scheduler(),
        metrics=_Metrics(recorded),
        config=_Config(dict(config or {})),
        events=_Events(recorded),
        invoicing=MockInvoicing(invoicing),
        clients=MockClients(clients),
        services=MockServices(services),
        recorded=recorded,
    )


def _bytes(value: bytes | str | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


class _Context:
    def __init__(self, context: ContextData) -> None:
        self._context = context

    def get_context(self) -> ContextData:
        return self._context


class _Logging:
    def __init__(self, recorded: Recorded) -> None:
        self._logs = recorded.logs

    def log_info(self, message: str) -> None:
        self._logs.append(("info", message))

    def log_warn(self, message: str) -> None:
        self._logs.append(("warn", message))

    def log_error(self, message: str) -> None:
        self._logs.append(("error", message))


class _Secrets:
    def __init__(self, values: Mapping[str, str | HostError] | HostError) -> None:
        self._values = values

    def get(self, key: str) -> str:
        name, values = as_text(key, "the name of a secret"), self._values
        found = values if isinstance(values, HostError) else values.get(name, HostError("secrets", "missing"))
        if isinstance(found, HostError):
            raise HostError(found.interface, found.code)
        return found

    def list_keys(self) -> list[str]:
        return [] if isinstance(self._values, HostError) else sorted(self._values)


class _Http:
    def __init__(self, recorded: Recorded, answer: Callable[[SentRequest], HttpResponse] | None) -> None:
        self._requests, self._answer = recorded.requests, answer

    def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Headers = (),
        body: bytes | str | None = None,
        follow_redirects: int = 0,
    ) -> HttpResponse:
        request = SentRequest(method.upper(), url, request_headers(headers, follow_redirects), _bytes(body))
        self._requests.append(request)
        if self._answer is None:
            raise HostError("http", "not-allowed")
        return self._answer(request)


class _UiProxy:
    def __init__(self, routes: dict[str, bytes]) -> None:
        self._routes = routes

    def call_route(self, route: str, payload: bytes | str | None = None) -> bytes:  # noqa: ARG002 - the protocol's
        if route not in self._routes:
            raise HostError("ui-proxy", "route-not-found")
        return self._routes[route]


class _User:
    def __init__(self, user: UserDataV2 | None) -> None:
        self._user = user

    def get_user(self) -> UserData:
        known = self._known("user")
        return UserData(
            known.tenant_id, known.client_name, known.user_id, known.user_email, known.user_name, known.user_type
        )

    def get_user_v2(self) -> UserDataV2:
        return self._known("user-v2")

    def _known(self, interface: str) -> UserDataV2:
        if self._user is None:
            raise HostError(interface, "not-available")
        return self._user


class _Scheduler:
    def list_schedules(self) -> list[ScheduleInfo]:
        return []

    def get_schedule(self, schedule_id: str) -> ScheduleInfo | None:  # noqa: ARG002 - the protocol's
        return None

    def create_schedule(self, schedule: CreateScheduleInput) -> CreateScheduleResult:  # noqa: ARG002 - likewise
        return CreateScheduleResult(success=False, error=_NO_SCHEDULES)

    def update_schedule(self, schedule_id: str, schedule: UpdateScheduleInput) -> UpdateScheduleResult:  # noqa: ARG002 - likewise
        return UpdateScheduleResult(success=False, error=_NO_SCHEDULES)

    def delete_schedule(self, schedule_id: str) -> DeleteScheduleResult:  # noqa: ARG002 - likewise
        return DeleteScheduleResult(success=False, error=_NO_SCHEDULES)

    def get_endpoints(self) -> list[EndpointInfo]:
        return []


class _Metrics:
    def __init__(self, recorded: Recorded) -> None:
        self._samples = recorded.metrics

    def counter(self, name: str, value: float = 1, labels: Mapping[str, str] | None = None) -> None:
        self._samples.append(("counter", name, value, dict(labels or {})))

    def gauge(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        self._samples.append(("gauge", name, value, dict(labels or {})))

    def histogram(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        self._samples.append(("histogram", name, value, dict(labels or {})))


class _Config:
    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def get(self, key: str) -> str | None:
        return self._values.get(key)

    def get_all(self) -> dict[str, str]:
        return dict(self._values)


class _Events:
    def __init__(self, recorded: Recorded) -> None:
        self._events = recorded.events

    def publish(self, topic: str, payload: bytes | str) -> None:
        said = _bytes(payload)
        if len(topic) > 200 or not _TOPIC.fullmatch(topic):
            raise HostError("events", "refused", "a topic must be 1-200 characters: words separated by dots")
        if len(said) > _EVENT_MAX_BYTES:
            raise HostError("events", "refused", f"an event's payload may have at most {_EVENT_MAX_BYTES} bytes")
        self._events.append((topic, said))

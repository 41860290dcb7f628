"""Every function a guest may call: with which arguments it is called here, and what is right, granted and denied.

What is right when denied is what the WIT files document. `Where` stands for values that cannot be known beforehand. The
functions of WASI are the same for every install, and not every toolchain reaches each of them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import psycopg

from shared.capabilities import INTERFACES
from shared.provider_files import shipped
from tests.system.capability_keepers import CONFIG, SECRET, SECRET_VALUE, Guest, Told

ALL: Final = ("quickjs", "starlingmonkey", "python")
SCHEDULE: Final = {"endpoint": "POST /report", "cron": "0 6 * * 1", "enabled": False, "name": "weekly"}


class Where:
    """Equals whatever its condition holds for."""

    def __init__(self, holds: Callable[[Any], object]) -> None:
        self._holds = holds

    def __eq__(self, other: object) -> bool:
        return bool(self._holds(other))

    def __hash__(self) -> int:
        raise TypeError("stands for many values")


TEXT: Final = Where(lambda value: isinstance(value, str) and value)
WHOLE: Final = Where(lambda value: value == int(value) and value >= 0)
TRAPPED: Final = Where(lambda value: value.get("code") == "guest_trapped")

Expected = Any | Callable[[Guest], Any]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One function.

    Attributes:
        function: `INTERFACE/FUNCTION`; of WASI, the interface in full.
        given: its arguments, or what they are after `before`.
        before: what has to be called first, with its arguments.
        granted, denied: the guest's answer.
        seen: what else is to be seen when it is granted.
        reached: engines whose guests can call it as our toolchains build them.
    """

    function: str
    given: dict[str, Any] | Callable[[Guest, Any], dict[str, Any]] = {}
    before: tuple[str, dict[str, Any]] | None = None
    granted: Expected
    denied: Expected
    seen: Callable[[Guest, Told], Awaitable[None]] | None = None
    reached: tuple[str, ...] = ALL

    @property
    def capability(self) -> str | None:
        """What opens it; nothing opens WASI."""
        interfaces = dict(INTERFACES) | {one.name: one.capability for one in shipped()}
        return interfaces.get(self.function.partition("/")[0])


# ---- what is to be seen elsewhere -------------------------------------------------------------------------------


def written(level: str) -> Callable[[Guest, Told], Awaitable[None]]:
    """A line of the debug stream."""

    async def seen(_guest: Guest, told: Told) -> None:
        lines = [(event["level"], event["message"]) for event in told.events if event["stream"] == "log"]
        assert lines == [(level, "a line")]

    return seen


def printed(stream: str) -> Callable[[Guest, Told], Awaitable[None]]:
    """What a guest printed."""

    async def seen(_guest: Guest, told: Told) -> None:
        assert told.said(stream) == ["a line"]

    return seen


def measured(kind: str) -> Callable[[Guest, Told], Awaitable[None]]:
    """A sample among the runner's metrics."""

    async def seen(guest: Guest, _told: Told) -> None:
        text = (await guest.visitor.get("/metrics", base=guest.scene.platform.runner.url)).body.decode()
        assert re.search(rf'^ext_guest_{kind}_matrix\w*{{.*kind="{guest.engine}".*}} ', text, re.MULTILINE), text

    return seen


async def fetched(guest: Guest, _told: Told) -> None:
    """The request, as the host out there got it."""
    received = guest.scene.upstream.requests[-1]
    assert (received.line, received.header("x-a"), received.body) == ("POST /x HTTP/1.1", "1", b"hi")


async def published(guest: Guest, _told: Told) -> None:
    """The event, committed when the guest was answered."""
    url = guest.scene.platform.stack.database_url
    query = "select count(*) from extension_event where tenant_id = 'acme' and topic = %s"
    async with await psycopg.AsyncConnection.connect(url) as database:
        (count,) = await (await database.execute(query, (f"{guest.topic}.made",))).fetchone() or (0,)
    assert count == 1


async def fresh(guest: Guest, told: Told) -> None:
    """Numbers nobody has seen before, also not the same guest."""
    assert (await guest.call("wasi:random/random", {})).value != told.value


async def told_why(_guest: Guest, told: Told) -> None:
    """A trap says in the debug stream what would be allowed."""
    assert told.answer.status == 502
    assert any("http.fetch" in event["message"] for event in told.events), told.events


# ---- arguments and answers that differ by guest -----------------------------------------------------------------


def of_schedule(**more: Any) -> Callable[[Guest, Any], dict[str, Any]]:
    """The schedule that was made before."""
    return lambda _guest, made: {"id": (made.get("value") or {}).get("scheduleId") or "none", **more}


def _context(guest: Guest) -> Any:
    extension = guest.extension
    return {
        "value": {
            "requestId": TEXT,
            "tenantId": "acme",
            "extensionId": extension.id,
            "installId": extension.install_id,
            "versionId": TEXT,
        }
    }


_USER: Final = {
    "tenantId": "acme",
    "clientName": Where(lambda value: isinstance(value, str)),
    "userId": TEXT,
    "userEmail": TEXT,
    "userName": TEXT,
    "userType": "internal",
}
_SCHEDULE: Final = {
    "id": TEXT,
    "endpointPath": "/report",
    "endpointMethod": "POST",
    "name": "weekly",
    "cron": "0 6 * * 1",
    "timezone": "UTC",
    "enabled": False,
    "payload": None,
    "lastRunAt": None,
    "lastRunStatus": None,
    "lastError": None,
    "createdAt": TEXT,
}
_ENDPOINTS: Final = [
    {
        "id": "POST /call/:interface/:function",
        "method": "POST",
        "path": "/call/:interface/:function",
        "handler": "call",
        "schedulable": False,
    },
    {"id": "POST /report", "method": "POST", "path": "/report", "handler": "report", "schedulable": True},
]


def _entry(key: str) -> dict[str, Any]:
    return {"namespace": "matrix", "key": key, "value": "kept", "revision": WHOLE}


def _put(key: str) -> dict[str, Any]:
    return {"namespace": "matrix", "key": key, "value": "kept"}


def _refused(capability: str, *others: str) -> dict[str, Any]:
    """A record that says what is missing; its other fields are none."""
    told = {"success": False, "error": f"{capability} is not granted to this install"}
    return {"value": told | dict.fromkeys(others)}


def _contains(**members: Any) -> dict[str, Any]:
    return {"value": Where(lambda value: isinstance(value, dict) and members.items() <= value.items())}


def _any_of(**members: Any) -> dict[str, Any]:
    return {"value": Where(lambda value: any(members.items() <= one.items() for one in value))}


NOTHING: Final = {"value": None}
EMPTY: Final[dict[str, Any]] = {"value": []}
DENIED: Final = {"error": "denied"}
NOT_ALLOWED: Final = {"error": "not-allowed"}
_LINE: Final = {"message": "a line"}


def _sample(guest: Guest, _before: Any) -> dict[str, Any]:
    return {"name": "matrix", "value": 2.5, "labels": {"kind": guest.engine}}


OURS: Final = (
    Row(function="context/get-context", granted=_context, denied=_context),
    Row(function="logging/log-info", given=_LINE, granted=NOTHING, denied=NOTHING, seen=written("info")),
    Row(function="logging/log-warn", given=_LINE, granted=NOTHING, denied=NOTHING, seen=written("warn")),
    Row(function="logging/log-error", given=_LINE, granted=NOTHING, denied=NOTHING, seen=written("error")),
    Row(function="user/get-user", granted={"value": _USER}, denied=NOT_ALLOWED),
    Row(
        function="user-v2/get-user",
        granted={"value": _USER | {"clientId": None, "additionalFields": Where(lambda value: value is not None)}},
        denied=NOT_ALLOWED,
    ),
    Row(function="config/get", given={"key": "region"}, granted={"value": "emea"}, denied=NOTHING),
    Row(function="config/get-all", granted={"value": [list(pair) for pair in CONFIG.items()]}, denied=EMPTY),
    Row(function="secrets/get", given={"key": SECRET}, granted={"value": SECRET_VALUE}, denied=DENIED),
    Row(function="secrets/list-keys", granted={"value": [SECRET]}, denied=EMPTY),
    Row(
        function="http/fetch",
        given=lambda guest, _: {
            "url": f"{guest.scene.outside.origin()}/x",
            "method": "POST",
            "headers": {"x-a": "1"},
            "body": "hi",
        },
        granted=_contains(status=200, body="hello"),
        denied=NOT_ALLOWED,
        seen=fetched,
    ),
    Row(
        function="storage/get",
        before=("storage/put", _put("got")),
        given={"namespace": "matrix", "key": "got"},
        granted={"value": _entry("got")},
        denied=DENIED,
    ),
    Row(function="storage/put", given=_put("put"), granted={"value": _entry("put")}, denied=DENIED),
    Row(
        function="storage/delete",
        before=("storage/put", _put("gone")),
        given={"namespace": "matrix", "key": "gone"},
        granted=NOTHING,
        denied=DENIED,
    ),
    Row(
        function="storage/list-entries",
        before=("storage/put", _put("listed")),
        given={"namespace": "matrix", "cursor": "list"},
        granted=_any_of(key="listed", value="kept"),
        denied=DENIED,
    ),
    Row(
        function="ui-proxy/call-route",
        given={"route": "status", "payload": "hi"},
        granted={"value": Where(lambda value: '"tenant": "acme"' in value)},
        denied=DENIED,
    ),
    Row(
        function="scheduler/list-schedules",
        before=("scheduler/create-schedule", SCHEDULE),
        granted={"value": Where(lambda value: _SCHEDULE in value)},
        denied=DENIED,
    ),
    Row(
        function="scheduler/get-schedule",
        before=("scheduler/create-schedule", SCHEDULE),
        given=of_schedule(),
        granted={"value": _SCHEDULE},
        denied=DENIED,
    ),
    Row(
        function="scheduler/create-schedule",
        given=SCHEDULE,
        granted={"value": {"success": True, "scheduleId": TEXT, "error": None, "fieldErrors": None}},
        denied=_refused("cap:scheduler.manage", "scheduleId", "fieldErrors"),
    ),
    Row(
        function="scheduler/update-schedule",
        before=("scheduler/create-schedule", SCHEDULE),
        given=of_schedule(changes={"cron": "0 7 * * 1"}),
        granted={"value": {"success": True, "error": None, "fieldErrors": None}},
        denied=_refused("cap:scheduler.manage", "fieldErrors"),
    ),
    Row(
        function="scheduler/delete-schedule",
        before=("scheduler/create-schedule", SCHEDULE),
        given=of_schedule(),
        granted={"value": {"success": True, "error": None}},
        denied=_refused("cap:scheduler.manage"),
    ),
    Row(function="scheduler/get-endpoints", granted={"value": _ENDPOINTS}, denied=DENIED),
    Row(function="metrics/counter", given=_sample, granted=NOTHING, denied=NOTHING, seen=measured("counter")),
    Row(function="metrics/gauge", given=_sample, granted=NOTHING, denied=NOTHING, seen=measured("gauge")),
    Row(function="metrics/histogram", given=_sample, granted=NOTHING, denied=NOTHING, seen=measured("histogram")),
    Row(
        function="events/publish",
        given=lambda guest, _: {"topic": f"{guest.topic}.made", "payload": "{}"},
        granted=NOTHING,
        denied={"error": "cap:events.publish is not granted to this install"},
        seen=published,
    ),
    Row(
        function="invoicing/create-manual-invoice",
        given={"client": "c-1", "service": "s-1", "quantity": 2, "description": "Support", "rate": 100.25},
        granted=_contains(success=True, invoiceId="i-1", subtotal=200.5, error=None),
        denied=_refused(
            "cap:invoice.manual.create",
            *("invoiceId", "invoiceNumber", "status", "subtotal", "tax", "total", "fieldErrors"),
        ),
    ),
    Row(
        function="clients/list-clients",
        given={"search": "hoo"},
        granted=_contains(totalCount=1, page=1),
        denied=NOT_ALLOWED,
    ),
    Row(
        function="clients/get-client",
        given={"id": "c-1"},
        granted=_contains(clientId="c-1", clientName="Initech"),
        denied=NOT_ALLOWED,
    ),
    Row(
        function="services/list-services",
        given={"kind": "product"},
        granted=_contains(totalCount=1, pageSize=25),
        denied=NOT_ALLOWED,
    ),
    Row(
        function="services/get-service",
        given={"id": "s-2"},
        granted=_contains(serviceId="s-2", billingMethod="fixed", sku="R-1"),
        denied=NOT_ALLOWED,
    ),
)


def _wasi(function: str, answer: Any, given: dict[str, Any] | None = None, **more: Any) -> Row:
    return Row(function=function, given=given or {}, granted=answer, denied=answer, **more)


_NOW: Final = Where(lambda value: value == int(value) and abs(value / 1000 - time.time()) < 60)
_PYTHON: Final = ("python",)
_NATIVE_CONSOLE: Final = ("starlingmonkey", "python")  # QuickJS has none: its console is `logging`

WASI: Final = (
    _wasi("wasi:clocks/wall-clock", {"value": _NOW}),
    _wasi("wasi:clocks/monotonic-clock", {"value": WHOLE}, reached=_NATIVE_CONSOLE),
    _wasi("wasi:random/random", {"value": Where(lambda value: len(bytes.fromhex(value)) == 16)}, seen=fresh),
    _wasi("wasi:cli/stdin", {"value": ""}, reached=_PYTHON),
    _wasi("wasi:cli/stdout", NOTHING, _LINE, reached=_NATIVE_CONSOLE, seen=printed("stdout")),
    _wasi("wasi:cli/stderr", NOTHING, _LINE, reached=_NATIVE_CONSOLE, seen=printed("stderr")),
    _wasi("wasi:cli/environment", {"value": [{}, []]}, reached=_PYTHON),
    _wasi("wasi:filesystem/preopens", {"value": "FileNotFoundError"}, {"path": "/"}, reached=_PYTHON),
    _wasi("wasi:filesystem/types", {"value": "FileNotFoundError"}, {"path": "/tmp/x"}, reached=_PYTHON),
    _wasi("wasi:sockets/tcp", TRAPPED, {"host": "127.0.0.1", "port": 80}, reached=_PYTHON, seen=told_why),
    _wasi("wasi:sockets/ip-name-lookup", TRAPPED, {"host": "example.com", "port": 80}, reached=_PYTHON, seen=told_why),
    _wasi("wasi:http/outgoing-handler", TRAPPED, reached=()),
)

ROWS: Final = (*OURS, *WASI)

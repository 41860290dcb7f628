"""Schedules as runners ask for them: the messages of `/internal/scheduler/*`, for running guests. WIT: scheduler.wit.

The messages are MessagePack maps. Evolution rule: as in `shared.wire`. A refusal of what was asked for (a cron line that
is none, one schedule too many) is an answer, `ScheduleChanged`, because a guest gets its words; that the caller may not
ask at all is an error like everywhere.
"""

from __future__ import annotations

from typing import Final

from shared.wire import Message

CAPABILITY: Final = "cap:scheduler.manage"

LIST_PATH: Final = "/internal/scheduler/list"
GET_PATH: Final = "/internal/scheduler/get"
CREATE_PATH: Final = "/internal/scheduler/create"
UPDATE_PATH: Final = "/internal/scheduler/update"
DELETE_PATH: Final = "/internal/scheduler/delete"
ENDPOINTS_PATH: Final = "/internal/scheduler/endpoints"


class ScheduleList(Message, frozen=True, kw_only=True):
    """Every schedule of the install → `ScheduleItems`.

    Attributes:
        timeout_ms: what is left of the guest's call; like this in each question.
    """

    timeout_ms: int


class ScheduleGet(Message, frozen=True, kw_only=True):
    """One schedule → `ScheduleFound`."""

    id: str
    timeout_ms: int


class ScheduleCreate(Message, frozen=True, kw_only=True):
    """Make a schedule → `ScheduleChanged`.

    Attributes:
        endpoint: `METHOD /path`, or the path when only one schedulable endpoint has it.
        cron: five fields.
        timezone: IANA name; UTC when absent.
        payload: JSON text, the body of each call.
    """

    endpoint: str
    cron: str
    timezone: str | None = None
    enabled: bool | None = None
    name: str | None = None
    payload: str | None = None
    timeout_ms: int


class ScheduleUpdate(Message, frozen=True, kw_only=True):
    """Change a schedule; what is absent keeps its value → `ScheduleChanged`."""

    id: str
    endpoint: str | None = None
    cron: str | None = None
    timezone: str | None = None
    enabled: bool | None = None
    name: str | None = None
    payload: str | None = None
    timeout_ms: int


class ScheduleDelete(Message, frozen=True, kw_only=True):
    """Remove a schedule → `ScheduleChanged`."""

    id: str
    timeout_ms: int


class EndpointList(Message, frozen=True, kw_only=True):
    """Every endpoint of the installed version → `EndpointItems`."""

    timeout_ms: int


class ScheduleItem(Message, frozen=True, kw_only=True):
    """One schedule. Times are RFC 3339 text in UTC."""

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


class ScheduleItems(Message, frozen=True, kw_only=True):
    """Every schedule, the oldest first."""

    items: tuple[ScheduleItem, ...]


class ScheduleFound(Message, frozen=True, kw_only=True):
    """The schedule, or that there is none."""

    item: ScheduleItem | None


class ScheduleChanged(Message, frozen=True, kw_only=True):
    """What became of a change.

    Attributes:
        schedule_id: of the schedule that was made or changed.
        error: why nothing was changed, beginning with a case of `scheduler-error`; none when it was.
        field_errors: field of the input → what would be valid.
    """

    schedule_id: str | None = None
    error: str | None = None
    field_errors: dict[str, str] = {}


class EndpointItem(Message, frozen=True, kw_only=True):
    """One endpoint of the manifest. `schedulable` ones may be scheduled."""

    id: str
    method: str
    path: str
    handler: str
    schedulable: bool


class EndpointItems(Message, frozen=True, kw_only=True):
    """Endpoints in the manifest's order."""

    items: tuple[EndpointItem, ...]

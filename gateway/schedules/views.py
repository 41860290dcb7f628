"""Schedules and their runs as the tenant's staff reads and writes them over REST."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from gateway.schedules.terms import Draft, endpoint_id
from gateway.store.schedules import Cause, Delivery, Missed, Run, RunState, Schedule


class ScheduleRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST …/schedules`.

    Attributes:
        endpoint: `METHOD /path` of a schedulable endpoint, or its path.
        payload: any JSON: the body of each call.
    """

    endpoint: str
    cron: str
    timezone: str = "UTC"
    enabled: bool = True
    name: str | None = None
    payload: msgspec.Raw | UnsetType = UNSET
    delivery: Delivery = "at_most_once"
    missed: Missed = "run_latest"


class ScheduleChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`PATCH …/schedules/{id}`: what is left out stays; null takes a name or a payload away."""

    endpoint: str | UnsetType = UNSET
    cron: str | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    name: str | UnsetType | None = UNSET
    payload: msgspec.Raw | UnsetType = UNSET
    delivery: Delivery | UnsetType = UNSET
    missed: Missed | UnsetType = UNSET


class ScheduleView(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule.

    Attributes:
        next_run_at: none while it or the extension is switched off.
        last_run_status: `ok`, `failed`, `retrying`, `lost` (its gateway ended) or `missed` (nobody was there).
    """

    schedule_id: str
    endpoint: str
    cron: str
    timezone: str
    enabled: bool
    name: str | None
    payload: msgspec.Raw | None
    delivery: Delivery
    missed: Missed
    next_run_at: datetime | None
    last_run_at: datetime | None
    last_run_status: str | None
    last_error: str | None
    created_by: str
    created_at: datetime
    updated_at: datetime


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one fire time.

    Attributes:
        cause: `time`, or `request` when somebody had it run.
        attempts: how many calls were made.
        next_attempt_at: of a run that waits.
        execution_id: of the last call, in the execution log.
    """

    fire_at: datetime
    cause: Cause
    state: RunState
    attempts: int
    next_attempt_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    http_status: int | None
    code: str | None
    error: str | None
    execution_id: str | None


def draft(request: ScheduleRequest) -> Draft:
    """What is wanted of a new schedule."""
    return Draft(
        endpoint=request.endpoint,
        cron=request.cron,
        timezone=request.timezone,
        enabled=request.enabled,
        name=request.name,
        payload=_text(request.payload),
        delivery=request.delivery,
        missed=request.missed,
    )


def changed(before: Draft, change: ScheduleChange) -> Draft:
    """What is wanted of a schedule from now on."""
    given = {name: getattr(change, name) for name in ScheduleChange.__struct_fields__}
    values = {name: value for name, value in given.items() if value is not UNSET}
    if change.payload is not UNSET:
        values["payload"] = _text(change.payload)
    return msgspec.structs.replace(before, **values)


def view(schedule: Schedule) -> ScheduleView:
    """The row as an answer."""
    return ScheduleView(
        schedule_id=schedule.id,
        endpoint=endpoint_id(schedule.endpoint_method, schedule.endpoint_path),
        cron=schedule.cron,
        timezone=schedule.timezone,
        enabled=schedule.enabled,
        name=schedule.name,
        payload=None if schedule.payload is None else msgspec.Raw(schedule.payload.encode()),
        delivery=schedule.delivery,
        missed=schedule.missed,
        next_run_at=schedule.next_fire_at,
        last_run_at=schedule.last_run_at,
        last_run_status=schedule.last_run_status,
        last_error=schedule.last_error,
        created_by=schedule.created_by,
        created_at=schedule.created_at,
        updated_at=schedule.updated_at,
    )


def run_view(run: Run) -> RunView:
    """The row as an answer."""
    return RunView(
        fire_at=run.fire_at,
        cause=run.cause,
        state=run.state,
        attempts=run.attempt,
        next_attempt_at=run.due_at if run.state == "waiting" else None,
        started_at=run.started_at,
        finished_at=run.finished_at,
        http_status=run.http_status,
        code=run.code,
        error=run.error,
        execution_id=run.execution_id,
    )


def _text(payload: msgspec.Raw | UnsetType) -> str | None:
    """A member's JSON text. Bytes that are no UTF-8 are kept for the judge of payloads to refuse."""
    if isinstance(payload, UnsetType):
        return None
    text = bytes(payload).decode("utf-8", "surrogateescape")
    return None if text == "null" else text

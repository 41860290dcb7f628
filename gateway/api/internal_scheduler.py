"""`POST /internal/scheduler/{list|get|create|update|delete|endpoints}`: a running guest's schedules, asked by its runner.

MessagePack both ways; the host token of the guest's call says whose schedules, and is the only credential.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.api import door
from gateway.context import GatewayContext
from gateway.identity.host_tokens import HostTokens
from gateway.schedules.manage import By, Schedules, guest
from gateway.schedules.terms import Draft
from gateway.store.schedules import Schedule
from shared.errors import AccessPolicyUnavailable, InvalidRequest, NotFound, QuotaExceeded
from shared.limits import TIMEOUT_MAX_MS
from shared.scheduler import (
    CAPABILITY,
    CREATE_PATH,
    DELETE_PATH,
    ENDPOINTS_PATH,
    GET_PATH,
    LIST_PATH,
    UPDATE_PATH,
    EndpointItems,
    EndpointList,
    ScheduleChanged,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleFound,
    ScheduleGet,
    ScheduleItem,
    ScheduleItems,
    ScheduleList,
    ScheduleUpdate,
)
from shared.tokens import Clock
from shared.wire import Message

Asked = TypeVar("Asked", ScheduleList, ScheduleGet, ScheduleCreate, ScheduleUpdate, ScheduleDelete, EndpointList)
Work = Callable[[Schedules, By, Asked], Awaitable[Message]]

_RETRY_AFTER_S: Final = 1


def routes(ctx: GatewayContext, clock: Clock = time.time) -> list[BaseRoute]:
    """The doors of this file."""
    tokens = HostTokens((key.public for key in ctx.settings.signing_keys), clock)
    return [
        _route(LIST_PATH, tokens, ctx.schedules, ScheduleList, listed),
        _route(GET_PATH, tokens, ctx.schedules, ScheduleGet, get),
        _route(CREATE_PATH, tokens, ctx.schedules, ScheduleCreate, create),
        _route(UPDATE_PATH, tokens, ctx.schedules, ScheduleUpdate, update),
        _route(DELETE_PATH, tokens, ctx.schedules, ScheduleDelete, delete),
        _route(ENDPOINTS_PATH, tokens, ctx.schedules, EndpointList, endpoints),
    ]


async def listed(schedules: Schedules, by: By, _: ScheduleList) -> ScheduleItems:
    """Every schedule."""
    return ScheduleItems(items=tuple(item(schedule) for schedule in await schedules.listed(by)))


async def get(schedules: Schedules, by: By, asked: ScheduleGet) -> ScheduleFound:
    """One schedule, or none."""
    try:
        return ScheduleFound(item=item(await schedules.get(by, asked.id)))
    except NotFound:
        return ScheduleFound(item=None)


async def create(schedules: Schedules, by: By, asked: ScheduleCreate) -> ScheduleChanged:
    """Make a schedule."""
    draft = Draft(
        endpoint=asked.endpoint,
        cron=asked.cron,
        timezone="UTC" if asked.timezone is None else asked.timezone,
        enabled=asked.enabled is not False,
        name=asked.name,
        payload=asked.payload,
    )

    async def work() -> str:
        return (await schedules.create(by, draft)).id

    return await _changed(work)


async def update(schedules: Schedules, by: By, asked: ScheduleUpdate) -> ScheduleChanged:
    """Change a schedule."""
    given = {name: getattr(asked, name) for name in ("endpoint", "cron", "timezone", "enabled", "name", "payload")}
    changes = {name: value for name, value in given.items() if value is not None}

    async def work() -> str:
        return (await schedules.update(by, asked.id, lambda draft: msgspec.structs.replace(draft, **changes))).id

    return await _changed(work)


async def delete(schedules: Schedules, by: By, asked: ScheduleDelete) -> ScheduleChanged:
    """Remove a schedule."""

    async def work() -> str:
        await schedules.delete(by, asked.id)
        return asked.id

    return await _changed(work)


async def endpoints(schedules: Schedules, by: By, _: EndpointList) -> EndpointItems:
    """The endpoints of the installed version."""
    return EndpointItems(items=tuple(await schedules.endpoints(by)))


def item(schedule: Schedule) -> ScheduleItem:
    """A schedule as a guest sees it."""
    return ScheduleItem(
        id=schedule.id,
        endpoint_path=schedule.endpoint_path,
        endpoint_method=schedule.endpoint_method,
        name=schedule.name,
        cron=schedule.cron,
        timezone=schedule.timezone,
        enabled=schedule.enabled,
        payload=schedule.payload,
        last_run_at=_text(schedule.last_run_at),
        last_run_status=schedule.last_run_status,
        last_error=schedule.last_error,
        created_at=_text(schedule.created_at),
    )


async def _changed(work: Callable[[], Awaitable[str]]) -> ScheduleChanged:
    """What became of a change; a refusal begins with its case of `scheduler-error`."""
    try:
        return ScheduleChanged(schedule_id=await work())
    except InvalidRequest as error:
        return ScheduleChanged(error=f"validation-failed: {error.detail}", field_errors=error.extra["field_errors"])
    except QuotaExceeded as error:
        return ScheduleChanged(error=f"quota-exceeded: {error.detail}")
    except NotFound as error:
        return ScheduleChanged(error=f"not-found: {error.detail}")


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _route(path: str, tokens: HostTokens, schedules: Schedules, kind: type[Asked], work: Work[Asked]) -> Route:
    async def dispatch(request: Request) -> Response:
        claims = tokens.verify(request.scope["headers"], CAPABILITY)
        asked = await door.message(request, kind)
        if not 1 <= asked.timeout_ms <= TIMEOUT_MAX_MS:
            raise InvalidRequest(f"timeout_ms must be a whole number from 1 to {TIMEOUT_MAX_MS}")
        try:
            async with asyncio.timeout(asked.timeout_ms / 1000):
                return door.packed(await work(schedules, guest(claims), asked))
        except TimeoutError as error:
            raise AccessPolicyUnavailable(
                "the schedules did not answer in the call's time", retry_after_s=_RETRY_AFTER_S
            ) from error

    return Route(path, dispatch, methods=["POST"])

"""`/api/usage` and an install's own usage and calls: what was used, by the hour and call by call, as JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute

from gateway.api import door
from gateway.context import GatewayContext
from gateway.identity.actor import Actor
from gateway.store import usage
from gateway.store.usage import Hour
from shared import ids
from shared.call_limits import USAGE_EXPORT_MAX_DAYS
from shared.errors import InvalidRequest, NotInstalled

READ: Final = "extension:read"
ADMIN: Final = "extension:admin"
STATES: Final = ("open", "ok", "guest_error", "guest_timeout", "denied", "upstream_error", "cancelled", "lost")
_DEFAULT_DAYS: Final = 31
_CSV_PAGE: Final = 1_000
_FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"
_LAST_ID: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
_ALWAYS: Final = datetime(9999, 1, 1, tzinfo=UTC)


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended: a time, and an id among those of the same time."""

    at: datetime
    id: str


class Period(msgspec.Struct, frozen=True):
    """[since, until) in UTC."""

    since: datetime
    until: datetime


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The doors of this file."""
    one = "/api/installs/{install_id}"
    return [
        door.route("/api/usage", GET=partial(tenant_usage, ctx)),
        door.route(f"{one}/usage", GET=partial(install_usage, ctx)),
        door.route(f"{one}/executions", GET=partial(executions, ctx)),
    ]


async def tenant_usage(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/usage?from=&to=&format=json|csv`: of all the tenant's extensions."""
    return await _usage(ctx, request, await door.caller(ctx, request, READ), None)


async def install_usage(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/installs/{install_id}/usage?from=&to=&format=json|csv`."""
    actor = await door.caller(ctx, request, READ)
    install = await ctx.installs.get(actor, _install_id(request))
    return await _usage(ctx, request, actor, install.registry_id)


async def executions(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/installs/{install_id}/executions?state=&request_id=`: newest first; who called, so for administrators."""
    actor = await door.caller(ctx, request, ADMIN)
    install = await ctx.installs.get(actor, _install_id(request))
    state, request_id = door.words(request, "state"), door.words(request, "request_id")
    if state is not None and state not in STATES:
        raise InvalidRequest(f"state must be one of {', '.join(STATES)}")
    limit, before = door.page_size(request), door.cursor(request, Place) or Place(_ALWAYS, _LAST_ID)
    async with ctx.store.tenant(actor.tenant_id) as tx:
        found = await usage.executions(
            tx,
            actor.tenant_id,
            install.id,
            before=(before.at, before.id),
            state=state,
            request_id=request_id,
            limit=limit + 1,
        )
    at = Place(found[limit - 1].started_at, found[limit - 1].execution_id) if len(found) > limit else None
    return door.answer(door.page(found, limit, at))


async def _usage(ctx: GatewayContext, request: Request, actor: Actor, extension_id: str | None) -> Response:
    period = _period(request)
    match request.query_params.get("format", "json"):
        case "json":
            limit, after = door.page_size(request), door.cursor(request, Place) or Place(period.since, _FIRST_ID)
            found = await _hours(ctx, actor, period, extension_id, after, limit + 1)
            at = _place(found[limit - 1]) if len(found) > limit else None
            return door.answer(door.page(found, limit, at))
        case "csv":
            first = await _hours(ctx, actor, period, extension_id, Place(period.since, _FIRST_ID), _CSV_PAGE)
            return StreamingResponse(
                _csv(ctx, actor, period, extension_id, first),
                media_type="text/csv; charset=utf-8",
                headers={"cache-control": "no-store", "content-disposition": 'attachment; filename="usage.csv"'},
            )
        case _:
            raise InvalidRequest("format must be json or csv")


async def _hours(
    ctx: GatewayContext, actor: Actor, period: Period, extension_id: str | None, after: Place, limit: int
) -> list[Hour]:
    async with ctx.store.tenant(actor.tenant_id) as tx:
        return await usage.hours(
            tx,
            actor.tenant_id,
            since=period.since,
            until=period.until,
            extension_id=extension_id,
            after=(after.at, after.id),
            limit=limit,
        )


async def _csv(
    ctx: GatewayContext, actor: Actor, period: Period, extension_id: str | None, first: list[Hour]
) -> AsyncIterator[str]:
    """Page by page, each in a transaction of its own: a slow reader holds nothing."""
    columns = Hour.__struct_fields__
    yield _line(columns)
    rows = first
    while rows:
        yield "".join(_line([_cell(getattr(row, name)) for name in columns]) for row in rows)
        if len(rows) < _CSV_PAGE:
            return
        rows = await _hours(ctx, actor, period, extension_id, _place(rows[-1]), _CSV_PAGE)


def _place(row: Hour) -> Place:
    return Place(row.window_start, row.extension_id)


def _cell(value: object) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else str(value)


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)  # RFC 4180: quoted where needed, ends with CRLF
    return text.getvalue()


def _period(request: Request) -> Period:
    until = _time(request, "to") or datetime.now(UTC)
    since = _time(request, "from") or until - timedelta(days=_DEFAULT_DAYS)
    if not since < until <= since + timedelta(days=USAGE_EXPORT_MAX_DAYS):
        raise InvalidRequest(f"from must be before to, and at most {USAGE_EXPORT_MAX_DAYS} days before it")
    return Period(since, until)


def _time(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name, "")
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequest(
            f"{name} must be a date or time of ISO 8601, like 2026-11-01 or 2026-11-01T00:00:00Z"
        ) from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _install_id(request: Request) -> str:
    found: str = request.path_params["install_id"]
    if not ids.is_uuid(found):
        raise NotInstalled("no such extension is installed for this tenant")  # as if it were somebody else's
    return found

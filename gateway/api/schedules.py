"""`/api/installs/{install_id}/schedules`: when the platform calls an install's endpoints, and what became of it."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.api import door
from gateway.context import GatewayContext
from gateway.schedules.manage import By, staff
from gateway.schedules.views import ScheduleChange, ScheduleRequest, changed, draft, run_view, view
from shared import ids
from shared.errors import Forbidden, NotInstalled, PayloadTooLarge
from shared.limits import SCHEDULE_BODY_MAX_BYTES, SCHEDULE_RUNS_KEPT

READ, ADMIN = "extension:read", "extension:admin"


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The doors of this file."""
    every = "/api/installs/{install_id}/schedules"
    one = f"{every}/{{schedule_id}}"
    return [
        door.route(every, GET=partial(listed, ctx), POST=partial(create, ctx)),
        door.route(one, GET=partial(get, ctx), PATCH=partial(change, ctx), DELETE=partial(remove, ctx)),
        door.route(f"{one}/run", POST=partial(run, ctx)),
        door.route(f"{one}/runs", GET=partial(runs, ctx)),
    ]


async def listed(ctx: GatewayContext, request: Request) -> Response:
    """`GET …/schedules`: all of them, the oldest first."""
    by = await _by(ctx, request, READ)
    found = [view(schedule) for schedule in await ctx.schedules.listed(by)]
    return door.answer(door.Page(items=found, next_cursor=None))


async def create(ctx: GatewayContext, request: Request) -> Response:
    """`POST …/schedules` → 201."""
    by = await _by(ctx, request, ADMIN)
    wanted = draft(await _body(request, ScheduleRequest))
    return door.answer(view(await ctx.schedules.create(by, wanted)), 201)


async def get(ctx: GatewayContext, request: Request) -> Response:
    """`GET …/schedules/{schedule_id}`."""
    by = await _by(ctx, request, READ)
    return door.answer(view(await ctx.schedules.get(by, _schedule_id(request))))


async def change(ctx: GatewayContext, request: Request) -> Response:
    """`PATCH …/schedules/{schedule_id}`."""
    by = await _by(ctx, request, ADMIN)
    wanted = await _body(request, ScheduleChange)
    found = await ctx.schedules.update(by, _schedule_id(request), lambda before: changed(before, wanted))
    return door.answer(view(found))


async def remove(ctx: GatewayContext, request: Request) -> Response:
    """`DELETE …/schedules/{schedule_id}` → 204: its history goes with it."""
    by = await _by(ctx, request, ADMIN)
    await ctx.schedules.delete(by, _schedule_id(request))
    return Response(status_code=204, headers={"cache-control": "no-store"})


async def run(ctx: GatewayContext, request: Request) -> Response:
    """`POST …/schedules/{schedule_id}/run` → 202: it runs at once, beside its times; `…/runs` has its end."""
    by = await _by(ctx, request, ADMIN)
    return door.answer(run_view(await ctx.schedules.run(by, _schedule_id(request))), 202)


async def runs(ctx: GatewayContext, request: Request) -> Response:
    """`GET …/schedules/{schedule_id}/runs?limit=&cursor=`: the newest first, the last hundred of them."""
    by = await _by(ctx, request, READ)
    limit, before = door.page_size(request, SCHEDULE_RUNS_KEPT), door.cursor(request, datetime)
    found = await ctx.schedules.runs(by, _schedule_id(request), before=before, limit=limit + 1)
    at = found[limit - 1].fire_at if len(found) > limit else None
    return door.answer(door.page([run_view(one) for one in found], limit, at))


async def _by(ctx: GatewayContext, request: Request, permission: str) -> By:
    actor = await door.caller(ctx, request, permission)
    if actor.principal.user_type != "internal":
        raise Forbidden("schedules are about all clients; only the tenant's own staff and tools may see them")
    found: str = request.path_params["install_id"]
    if not ids.is_uuid(found):
        raise NotInstalled("no such extension is installed for this tenant")  # as if it were somebody else's
    return staff(actor, found)


async def _body(request: Request, kind: type[door.T]) -> door.T:
    if len(await request.body()) > SCHEDULE_BODY_MAX_BYTES:
        raise PayloadTooLarge(f"a schedule has at most {SCHEDULE_BODY_MAX_BYTES} bytes")
    return await door.body(request, kind)


def _schedule_id(request: Request) -> str:
    found: str = request.path_params["schedule_id"]
    return found

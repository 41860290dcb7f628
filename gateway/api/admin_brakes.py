"""`/api/admin/brakes` and `/api/admin/garbage`: what the operator stopped, and what upkeep would remove."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.api import door
from gateway.api.admin import ADMIN
from gateway.context import GatewayContext
from gateway.registry import emergency, garbage
from gateway.registry.catalogue import Moment
from gateway.registry.emergency import BrakeRequest, view
from gateway.store.platform import brakes
from shared import ids
from shared.errors import NotFound


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The doors of this file."""
    return [
        door.route("/api/admin/brakes", GET=partial(listed, ctx), POST=partial(pull, ctx)),
        Route("/api/admin/brakes/{brake_id}", partial(release, ctx), methods=["DELETE"]),
        Route("/api/admin/garbage", partial(would_go, ctx), methods=["GET"]),
    ]


async def pull(ctx: GatewayContext, request: Request) -> Response:
    """`POST /api/admin/brakes {scope, name?, reason}` → 201; 200 when the same is pulled already."""
    actor = await door.caller(ctx, request, ADMIN)
    wanted = await door.body(request, BrakeRequest)
    row, fresh = await emergency.pull(ctx.store, actor, wanted, ctx.settings.providers.capabilities)
    await ctx.stops.again()
    return door.answer(view(row), 201 if fresh else 200)


async def listed(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/admin/brakes?active=&limit=&cursor=`, the newest first."""
    await door.caller(ctx, request, ADMIN)
    limit, after = door.page_size(request), door.cursor(request, Moment)
    place, active = None if after is None else (after.at, after.id), door.flag(request, "active")
    async with ctx.store.platform() as tx:
        found = await brakes.page(tx, active=active, after=place, limit=limit + 1)
    at = Moment(found[limit - 1].since, found[limit - 1].id) if len(found) > limit else None
    return door.answer(door.page([view(row) for row in found], limit, at))


async def release(ctx: GatewayContext, request: Request) -> Response:
    """`DELETE /api/admin/brakes/{brake_id}` → 200 with the brake as it is now."""
    actor = await door.caller(ctx, request, ADMIN)
    brake_id = request.path_params["brake_id"]
    if not ids.is_uuid(brake_id):
        raise NotFound("no such brake; its id is a UUID")
    row = await emergency.release(ctx.store, actor, brake_id)
    await ctx.stops.again()
    return door.answer(view(row))


async def would_go(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/admin/garbage?limit=&cursor=`: a dry run over the next `limit` objects; nothing is removed."""
    await door.caller(ctx, request, ADMIN)
    limit, after = door.page_size(request), door.cursor(request, str)
    found, position = await garbage.look(ctx.store, ctx.objects, after or "", limit)
    return door.answer(door.slice_of(found, position))

"""`/api/installs/{id}/upgrade|consent|rollback|diff`: which version an install has."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.api import door
from gateway.api.installs import ADMIN, READ, install_id
from gateway.context import GatewayContext
from gateway.installs.upgrade import ConsentRequest, RollbackRequest, UpgradeRequest
from gateway.installs.views import view
from shared.errors import InvalidRequest

T = TypeVar("T", UpgradeRequest, RollbackRequest)


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The doors of this file."""
    one = "/api/installs/{install_id}"
    return [
        door.route(f"{one}/upgrade", POST=partial(upgrade, ctx)),
        door.route(f"{one}/consent", POST=partial(consent, ctx), DELETE=partial(decline, ctx)),
        door.route(f"{one}/rollback", POST=partial(rollback, ctx)),
        door.route(f"{one}/diff", GET=partial(diff, ctx)),
    ]


async def upgrade(ctx: GatewayContext, request: Request) -> Response:
    """`POST /api/installs/{install_id}/upgrade` → 200, or 202 when it waits for consent."""
    actor = await door.caller(ctx, request, ADMIN)
    wanted = await _perhaps(request, UpgradeRequest)
    found = view(await ctx.installs.upgrades.upgrade(actor, install_id(request), wanted))
    return door.answer(found, 200 if found.upgrade is None else 202)


async def consent(ctx: GatewayContext, request: Request) -> Response:
    """`POST /api/installs/{install_id}/consent`: installs the version that waits."""
    actor = await door.caller(ctx, request, ADMIN)
    wanted = await door.body(request, ConsentRequest)
    return door.answer(view(await ctx.installs.upgrades.consent(actor, install_id(request), wanted)))


async def decline(ctx: GatewayContext, request: Request) -> Response:
    """`DELETE /api/installs/{install_id}/consent`: forgets the version that waits."""
    actor = await door.caller(ctx, request, ADMIN)
    return door.answer(view(await ctx.installs.upgrades.decline(actor, install_id(request))))


async def rollback(ctx: GatewayContext, request: Request) -> Response:
    """`POST /api/installs/{install_id}/rollback`: back to the version that ran before, or to the named one."""
    actor = await door.caller(ctx, request, ADMIN)
    wanted = await _perhaps(request, RollbackRequest)
    return door.answer(view(await ctx.installs.upgrades.rollback(actor, install_id(request), wanted)))


async def diff(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/installs/{install_id}/diff?version=`: what another version asks for, against the installed one."""
    actor = await door.caller(ctx, request, READ)
    return door.answer(
        await ctx.installs.upgrades.diff(actor, install_id(request), request.query_params.get("version"))
    )


async def _perhaps(request: Request, kind: type[T]) -> T:
    """The JSON body; without any, nothing is asked in particular. Raises `InvalidRequest`."""
    try:
        if not await request.body():
            return kind()
    except ClientDisconnect as error:
        raise InvalidRequest("the body ended early") from error
    return await door.body(request, kind)

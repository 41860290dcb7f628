"""`/api/installs/{install_id}/denied`: which hosts an install was denied, how often, and what would allow them."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.api import door
from gateway.context import GatewayContext
from shared import ids
from shared.errors import NotInstalled

ADMIN = "extension:admin"


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The doors of this file."""
    return [door.route("/api/installs/{install_id}/denied", GET=partial(listed, ctx), DELETE=partial(clear, ctx))]


async def listed(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/installs/{install_id}/denied`: the latest first."""
    actor = await door.caller(ctx, request, ADMIN)
    return door.answer(await ctx.denied.listed(actor, _install_id(request)))


async def clear(ctx: GatewayContext, request: Request) -> Response:
    """`DELETE /api/installs/{install_id}/denied`: forgets them; what is denied from now on is counted anew."""
    actor = await door.caller(ctx, request, ADMIN)
    return door.answer(await ctx.denied.clear(actor, _install_id(request)))


def _install_id(request: Request) -> str:
    found: str = request.path_params["install_id"]
    if not ids.is_uuid(found):
        raise NotInstalled("no such extension is installed for this tenant")  # as if it were somebody else's
    return found

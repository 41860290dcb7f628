"""`/api/installs/{install_id}/secrets`: what an install keeps sealed. Names go out, values only come in."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.api import door
from gateway.context import GatewayContext
from gateway.installs.secrets import SecretsRequest
from shared import ids
from shared.errors import NotInstalled, PayloadTooLarge
from shared.limits import SECRETS_BODY_MAX_BYTES

ADMIN = "extension:admin"


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The doors of this file."""
    every = "/api/installs/{install_id}/secrets"
    return [
        door.route(every, GET=partial(listed, ctx), PUT=partial(change, ctx)),
        door.route(f"{every}/{{name}}", DELETE=partial(remove, ctx)),
    ]


async def listed(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/installs/{install_id}/secrets`: names and terms of what is set or asked for."""
    actor = await door.caller(ctx, request, ADMIN)
    return door.answer(await ctx.secrets.listed(actor, _install_id(request)))


async def change(ctx: GatewayContext, request: Request) -> Response:
    """`PUT /api/installs/{install_id}/secrets {name: value | {value, expires_at, hosts} | null}`."""
    actor = await door.caller(ctx, request, ADMIN)
    install_id = _install_id(request)
    if len(await request.body()) > SECRETS_BODY_MAX_BYTES:
        raise PayloadTooLarge(f"the secrets of one request have at most {SECRETS_BODY_MAX_BYTES} bytes")
    wanted = await door.body(request, SecretsRequest)
    return door.answer(await ctx.secrets.change(actor, install_id, wanted))


async def remove(ctx: GatewayContext, request: Request) -> Response:
    """`DELETE /api/installs/{install_id}/secrets/{name}`."""
    actor = await door.caller(ctx, request, ADMIN)
    return door.answer(await ctx.secrets.remove(actor, _install_id(request), request.path_params["name"]))


def _install_id(request: Request) -> str:
    found: str = request.path_params["install_id"]
    if not ids.is_uuid(found):
        raise NotInstalled("no such extension is installed for this tenant")  # as if it were somebody else's
    return found

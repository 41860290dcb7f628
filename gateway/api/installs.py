"""`/api/installs`: what a tenant installs, enables, disables, configures and removes."""

from __future__ import annotations

from functools import partial

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.api import door
from gateway.context import GatewayContext
from gateway.installs.manage import ConfigRequest, InstallRequest
from gateway.installs.views import ConfigView, view
from gateway.store.installs import Config
from shared import ids
from shared.errors import NotInstalled

READ, ADMIN = "extension:read", "extension:admin"


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The doors of this file."""
    one = "/api/installs/{install_id}"
    return [
        door.route("/api/installs", POST=partial(install, ctx), GET=partial(installs, ctx)),
        door.route(one, GET=partial(get, ctx), DELETE=partial(uninstall, ctx)),
        door.route(f"{one}/enable", POST=partial(set_enabled, ctx, True)),
        door.route(f"{one}/disable", POST=partial(set_enabled, ctx, False)),
        door.route(f"{one}/config", GET=partial(get_config, ctx), PUT=partial(put_config, ctx)),
    ]


async def install(ctx: GatewayContext, request: Request) -> Response:
    """`POST /api/installs` → 201."""
    actor = await door.caller(ctx, request, ADMIN)
    found = await ctx.installs.install(actor, await door.body(request, InstallRequest))
    return door.answer(view(found), 201)


async def installs(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/installs?limit=&cursor=`."""
    actor = await door.caller(ctx, request, READ)
    limit, after = door.page_size(request), door.cursor(request, str)
    found = await ctx.installs.page(actor, None if after is None else ids.install_id(after), limit + 1)
    at = found[limit - 1].id if len(found) > limit else None
    return door.answer(door.page([view(row) for row in found], limit, at))


async def get(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/installs/{install_id}`."""
    actor = await door.caller(ctx, request, READ)
    return door.answer(view(await ctx.installs.get(actor, _install_id(request))))


async def uninstall(ctx: GatewayContext, request: Request) -> Response:
    """`DELETE /api/installs/{install_id}`: data are kept for a while; installing again brings them back."""
    actor = await door.caller(ctx, request, ADMIN)
    return door.answer(view(await ctx.installs.uninstall(actor, _install_id(request))))


async def set_enabled(ctx: GatewayContext, enabled: bool, request: Request) -> Response:
    """`POST /api/installs/{install_id}/enable` and `…/disable`."""
    actor = await door.caller(ctx, request, ADMIN)
    return door.answer(view(await ctx.installs.set_enabled(actor, _install_id(request), enabled=enabled)))


async def get_config(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/installs/{install_id}/config`."""
    actor = await door.caller(ctx, request, ADMIN)
    return door.answer(_config(await ctx.installs.config(actor, _install_id(request))))


async def put_config(ctx: GatewayContext, request: Request) -> Response:
    """`PUT /api/installs/{install_id}/config`: replaces all settings."""
    actor = await door.caller(ctx, request, ADMIN)
    install_id, wanted = _install_id(request), await door.body(request, ConfigRequest)
    return door.answer(_config(await ctx.installs.put_config(actor, install_id, wanted)))


def _config(config: Config) -> ConfigView:
    return ConfigView(config=msgspec.Raw(config.config), version=config.version)


def _install_id(request: Request) -> str:
    found: str = request.path_params["install_id"]
    if not ids.is_uuid(found):
        raise NotInstalled("no such extension is installed for this tenant")  # as if it were somebody else's
    return found

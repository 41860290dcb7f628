"""`/api/installs`: what a tenant installs, enables, disables, configures, grants, exports and removes."""

from __future__ import annotations

from functools import partial

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute

from gateway.api import door
from gateway.context import GatewayContext
from gateway.installs.grants import GrantRequest
from gateway.installs.manage import ConfigRequest, InstallRequest
from gateway.installs.views import ConfigView, granted_view, history_view, view
from gateway.store.installs import Config
from shared import ids
from shared.errors import InvalidRequest, NotInstalled

READ, ADMIN = "extension:read", "extension:admin"
NDJSON = "application/x-ndjson"


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The doors of this file."""
    one = "/api/installs/{install_id}"
    return [
        door.route("/api/installs", POST=partial(install, ctx), GET=partial(installs, ctx)),
        door.route(one, GET=partial(get, ctx), DELETE=partial(uninstall, ctx)),
        door.route(f"{one}/enable", POST=partial(set_enabled, ctx, True)),
        door.route(f"{one}/disable", POST=partial(set_enabled, ctx, False)),
        door.route(f"{one}/config", GET=partial(get_config, ctx), PUT=partial(put_config, ctx)),
        door.route(f"{one}/grants", GET=partial(get_grants, ctx), PUT=partial(put_grants, ctx)),
        door.route(f"{one}/history", GET=partial(history, ctx)),
        door.route(f"{one}/export", GET=partial(export, ctx)),
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
    return door.answer(view(await ctx.installs.get(actor, install_id(request))))


async def uninstall(ctx: GatewayContext, request: Request) -> Response:
    """`DELETE /api/installs/{install_id}?purge=`: data are kept for a while; installing again brings them back.

    With `purge=true` they are removed at once, also those of an install that was uninstalled before.
    """
    actor = await door.caller(ctx, request, ADMIN)
    remove = ctx.installs.purge if _purge(request) else ctx.installs.uninstall
    return door.answer(view(await remove(actor, install_id(request))))


async def set_enabled(ctx: GatewayContext, enabled: bool, request: Request) -> Response:
    """`POST /api/installs/{install_id}/enable` and `…/disable`."""
    actor = await door.caller(ctx, request, ADMIN)
    return door.answer(view(await ctx.installs.set_enabled(actor, install_id(request), enabled=enabled)))


async def get_config(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/installs/{install_id}/config`."""
    actor = await door.caller(ctx, request, ADMIN)
    return door.answer(_config(await ctx.installs.config(actor, install_id(request))))


async def put_config(ctx: GatewayContext, request: Request) -> Response:
    """`PUT /api/installs/{install_id}/config`: replaces all settings."""
    actor = await door.caller(ctx, request, ADMIN)
    one, wanted = install_id(request), await door.body(request, ConfigRequest)
    return door.answer(_config(await ctx.installs.put_config(actor, one, wanted)))


async def get_grants(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/installs/{install_id}/grants`: what is granted; everything else is denied."""
    actor = await door.caller(ctx, request, READ)
    return door.answer(granted_view(await ctx.installs.get(actor, install_id(request))))


async def put_grants(ctx: GatewayContext, request: Request) -> Response:
    """`PUT /api/installs/{install_id}/grants`: replaces them, within what the version asks for."""
    actor = await door.caller(ctx, request, ADMIN)
    wanted = await door.body(request, GrantRequest)
    return door.answer(granted_view(await ctx.installs.granting.put(actor, install_id(request), wanted)))


async def history(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/installs/{install_id}/history?limit=&cursor=`: what happened to it, newest first."""
    actor = await door.caller(ctx, request, READ)
    limit, before = door.page_size(request), door.cursor(request, int)
    found = await ctx.installs.granting.history(actor, install_id(request), before, limit + 1)
    at = found[limit - 1].id if len(found) > limit else None
    return door.answer(door.page([history_view(entry) for entry in found], limit, at))


async def export(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/installs/{install_id}/export`: everything it keeps, a JSON object a line; the last one is `end`."""
    actor = await door.caller(ctx, request, ADMIN)
    lines = await ctx.installs.exports.open(actor, install_id(request))
    name = f'attachment; filename="{install_id(request)}.ndjson"'
    headers = {"cache-control": "no-store", "content-disposition": name}
    return StreamingResponse(lines, 200, headers, NDJSON)


def _config(config: Config) -> ConfigView:
    return ConfigView(config=msgspec.Raw(config.config), version=config.version)


def _purge(request: Request) -> bool:
    """`?purge=`. Raises `InvalidRequest`: what removes data for good is never guessed."""
    text = request.query_params.get("purge", "false")
    if text not in ("true", "false"):
        raise InvalidRequest("purge must be true or false")
    return text == "true"


def install_id(request: Request) -> str:
    """The install that the path names. Raises `NotInstalled`."""
    found: str = request.path_params["install_id"]
    if not ids.is_uuid(found):
        raise NotInstalled("no such extension is installed for this tenant")  # as if it were somebody else's
    return found

"""`/internal`: what runners ask. Served on the internal listener only, to runners that say who they are.

Nothing here is about a tenant: the feed holds ids of what changed, the look-up says whether a bundle's UI is in use
by anyone. A runner's identity token opens this and nothing else.
"""

from __future__ import annotations

import time
from functools import partial

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.api import door
from gateway.context import GatewayContext
from gateway.store.platform import feed
from shared import ids
from shared.errors import InvalidRequest, NotFound, Unauthorized
from shared.limits import STATE_FEED_PAGE_MAX
from shared.tokens import Clock, IdentityClaims, Verifier
from shared.wire import StateFeed

AUDIENCE = "gateway"


class Live(msgspec.Struct, frozen=True):
    """Some tenant has this UI installed and enabled."""

    live: bool = True


def routes(ctx: GatewayContext, clock: Clock = time.time) -> list[BaseRoute]:
    """The doors of this file."""
    verifier = Verifier(ctx.settings.runner_keys, {AUDIENCE}, clock)
    return [
        Route("/internal/state", partial(state, ctx, verifier), methods=["GET"]),
        Route("/internal/ui/{extension_id}/{content_hash}", partial(ui, ctx, verifier), methods=["GET"]),
    ]


async def state(ctx: GatewayContext, verifier: Verifier, request: Request) -> Response:
    """`GET /internal/state?after=N`: what happened after N, in order, a page at a time."""
    _runner(verifier, request)
    after = request.query_params.get("after", "0")
    if not (after.isascii() and after.isdigit() and len(after) <= 18):
        raise InvalidRequest("after must be the `last` of an earlier answer, or 0")
    async with ctx.store.platform() as tx:
        entries = await feed.after(tx, int(after), STATE_FEED_PAGE_MAX)
    return door.answer(StateFeed(entries=tuple(entries), last=entries[-1].seq if entries else int(after)))


async def ui(ctx: GatewayContext, verifier: Verifier, request: Request) -> Response:
    """`GET /internal/ui/{extension_id}/{content_hash}` → 200 `{"live": true}`, or 404."""
    _runner(verifier, request)
    extension_id, content_hash = request.path_params["extension_id"], request.path_params["content_hash"]
    async with ctx.store.platform() as tx:
        live = await feed.is_live(tx, ids.extension_id(extension_id), ids.content_hash(content_hash))
    if not live:
        raise NotFound("no tenant has this UI enabled")
    return door.answer(Live())


def _runner(verifier: Verifier, request: Request) -> None:
    values = request.headers.getlist("authorization")
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise Unauthorized("send the runner's identity token: Authorization: Bearer <token>")
    verifier.verify(token.strip(), IdentityClaims)

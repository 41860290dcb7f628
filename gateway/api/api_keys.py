"""`/api/keys`: a tenant's API keys. Their secrets go out once, when a key is made."""

from __future__ import annotations

import re
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.api import door
from gateway.context import GatewayContext
from gateway.identity.key_ring import KeyRequest, KeyRing
from shared.errors import NotFound

ADMIN: Final = "extension:admin"
_ID: Final = re.compile(r"[a-z0-9]{16}")


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The doors of this file."""
    keys = KeyRing(ctx.store)
    return [
        door.route("/api/keys", GET=partial(listed, ctx, keys), POST=partial(make, ctx, keys)),
        door.route("/api/keys/{key_id}", DELETE=partial(revoke, ctx, keys)),
    ]


async def make(ctx: GatewayContext, keys: KeyRing, request: Request) -> Response:
    """`POST /api/keys` → 201 with the key's text, for the only time."""
    actor = await door.caller(ctx, request, ADMIN)
    return door.answer(await keys.make(actor, await door.body(request, KeyRequest)), 201)


async def listed(ctx: GatewayContext, keys: KeyRing, request: Request) -> Response:
    """`GET /api/keys?limit=&cursor=`."""
    actor = await door.caller(ctx, request, ADMIN)
    limit, after = door.page_size(request), door.cursor(request, str)
    found = await keys.page(actor, after, limit + 1)
    at = found[limit - 1].key_id if len(found) > limit else None
    return door.answer(door.page(found, limit, at))


async def revoke(ctx: GatewayContext, keys: KeyRing, request: Request) -> Response:
    """`DELETE /api/keys/{key_id}`."""
    actor = await door.caller(ctx, request, ADMIN)
    key_id = request.path_params["key_id"]
    if not _ID.fullmatch(key_id):
        raise NotFound("no such API key; `GET /api/keys` lists what there is")
    return door.answer(await keys.revoke(actor, key_id))

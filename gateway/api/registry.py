"""`/api/registry`: publishing bundles and looking at versions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.api import door
from gateway.context import GatewayContext
from gateway.registry import catalogue, uploads
from gateway.registry.publish import Finalize
from gateway.registry.versions import listed, view
from shared import ids
from shared.errors import InvalidRequest, NotFound
from shared.manifest import SCHEMA_PATH, manifest_schema

UPLOAD_PATH = "/api/registry/bundles"


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The doors of this file."""
    return [
        Route(UPLOAD_PATH, partial(upload, ctx), methods=["POST"]),
        Route("/api/registry/bundles/{upload_id}/finalize", partial(finalize, ctx), methods=["POST"]),
        Route("/api/registry/versions/{version_id}", partial(version, ctx), methods=["GET"]),
        Route("/api/registry/extensions", partial(extensions, ctx), methods=["GET"]),
        Route(SCHEMA_PATH, schema, methods=["GET"]),
    ]


async def upload(ctx: GatewayContext, request: Request) -> Response:
    """`POST /api/registry/bundles`: the body is the archive, streamed → 201."""
    actor = await door.caller(ctx, request, "extension:publish")
    receipt = await uploads.receive(ctx.store, ctx.objects, actor, _chunks(request))
    return door.answer(receipt, 201)


async def finalize(ctx: GatewayContext, request: Request) -> Response:
    """`POST /api/registry/bundles/{upload_id}/finalize` → 200, or 202 while the version is still being prepared."""
    actor = await door.caller(ctx, request, "extension:publish")
    upload_id = request.path_params["upload_id"]
    if not ids.is_uuid(upload_id):
        raise NotFound("no such upload; its id is a UUID")
    found = await ctx.publishing.finalize(actor, upload_id, await door.body(request, Finalize))
    return door.answer(view(found), 202 if found.state == "preparing" else 200)


async def version(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/registry/versions/{version_id}`."""
    actor = await door.caller(ctx, request, "extension:read")
    version_id = request.path_params["version_id"]
    if not ids.is_uuid(version_id):
        raise NotFound("no such version; its id is a UUID")
    return door.answer(view(await ctx.publishing.version(actor, version_id)))


async def extensions(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/registry/extensions?limit=&cursor=`: what this account can find."""
    actor = await door.caller(ctx, request, "extension:read")
    limit, after = door.page_size(request), door.cursor(request, catalogue.Place)
    found = await catalogue.page(ctx.store, actor, after or catalogue.START, limit + 1)
    at = catalogue.Place(found[limit - 1].publisher, found[limit - 1].name) if len(found) > limit else None
    return door.answer(door.page([listed(row) for row in found], limit, at))


async def schema(_: Request) -> Response:
    """`GET /api/registry/schemas/manifest-v2.json`: public, so that editors can use it."""
    return door.document(manifest_schema())


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as error:
        raise InvalidRequest("the body ended early") from error

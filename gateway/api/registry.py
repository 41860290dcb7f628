"""`/api/registry`: publishing bundles, publisher names, and finding extensions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.api import door
from gateway.context import GatewayContext
from gateway.registry import catalogue, publishers, uploads
from gateway.registry.catalogue import ExtensionChange
from gateway.registry.publish import Finalize
from gateway.registry.publishers import Registration
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
        door.route("/api/registry/publishers", GET=partial(publishers_of_account, ctx), POST=partial(register, ctx)),
        Route("/api/registry/extensions", partial(extensions, ctx), methods=["GET"]),
        door.route("/api/registry/extensions/{extension_id}", GET=partial(extension, ctx), PATCH=partial(change, ctx)),
        Route("/api/registry/extensions/{extension_id}/versions", partial(versions, ctx), methods=["GET"]),
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


async def register(ctx: GatewayContext, request: Request) -> Response:
    """`POST /api/registry/publishers {name}` → 201; 200 when this account has it already."""
    actor = await door.caller(ctx, request, "extension:publish")
    wanted = await door.body(request, Registration)
    found, fresh = await publishers.register(ctx.store, actor, wanted.name, limited=not ctx.settings.local)
    return door.answer(found, 201 if fresh else 200)


async def publishers_of_account(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/registry/publishers?limit=&cursor=`: this account's own, with what they use."""
    actor = await door.caller(ctx, request, "extension:publish")
    limit, after = door.page_size(request), door.cursor(request, str)
    found = await publishers.page(ctx.store, actor, after or "", limit + 1, limited=not ctx.settings.local)
    return door.answer(door.page(found, limit, found[limit - 1].name if len(found) > limit else None))


async def extensions(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/registry/extensions?q=&publisher=&limit=&cursor=`: what this account can find."""
    actor = await door.caller(ctx, request, "extension:read")
    limit, after = door.page_size(request), door.cursor(request, catalogue.Place)
    q, publisher = door.words(request, "q"), door.words(request, "publisher")
    found = await catalogue.page(ctx.store, actor, after or catalogue.START, limit + 1, q=q, publisher=publisher)
    at = catalogue.Place(found[limit - 1].publisher, found[limit - 1].name) if len(found) > limit else None
    return door.answer(door.page([listed(row) for row in found], limit, at))


async def extension(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/registry/extensions/{extension_id}`."""
    actor = await door.caller(ctx, request, "extension:read")
    return door.answer(listed(await catalogue.extension(ctx.store, actor, _extension_id(request))))


async def change(ctx: GatewayContext, request: Request) -> Response:
    """`PATCH /api/registry/extensions/{extension_id} {visibility?, allowed_tenants?, display_name?}`."""
    actor = await door.caller(ctx, request, "extension:publish")
    wanted = await door.body(request, ExtensionChange)
    return door.answer(listed(await catalogue.change(ctx.store, actor, _extension_id(request), wanted)))


async def versions(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/registry/extensions/{extension_id}/versions?limit=&cursor=`, newest first."""
    actor = await door.caller(ctx, request, "extension:read")
    limit, after = door.page_size(request), door.cursor(request, catalogue.Moment)
    found = await catalogue.versions(ctx.store, actor, _extension_id(request), after, limit + 1)
    at = catalogue.Moment(found[limit - 1].created_at, found[limit - 1].id) if len(found) > limit else None
    return door.answer(door.page([view(row) for row in found], limit, at))


async def schema(_: Request) -> Response:
    """`GET /api/registry/schemas/manifest-v2.json`: public, so that editors can use it."""
    return door.document(manifest_schema())


def _extension_id(request: Request) -> str:
    found: str = request.path_params["extension_id"]
    if not ids.is_uuid(found):
        raise NotFound("no such extension; its id is a UUID")
    return found


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as error:
        raise InvalidRequest("the body ended early") from error

"""`/api/registry/versions` and `/api/registry/sbom`: one version, its end, its signatures, what it contains."""

from __future__ import annotations

from functools import partial

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.api import door
from gateway.context import GatewayContext
from gateway.registry import catalogue, countersign, lifecycle
from gateway.registry.countersign import Countersignature
from gateway.registry.lifecycle import Because, Deprecation
from gateway.registry.versions import view
from gateway.store.sboms import Containing
from shared import ids
from shared.errors import InvalidRequest, NotFound
from shared.registry_limits import SBOM_NAME_MAX_CHARS, SBOM_VERSION_MAX_CHARS

_VERSION = "/api/registry/versions/{version_id}"


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """The package that was found in a version."""

    name: str
    version: str
    purl: str


class ContainingView(msgspec.Struct, frozen=True, kw_only=True):
    """One version that contains a package."""

    extension_id: str
    version_id: str
    publisher: str
    name: str
    version: str
    content_hash: str
    package: Package


class Revoked(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a revocation."""

    version_id: str
    revoked: bool = True


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The doors of this file."""
    return [
        Route(_VERSION, partial(version, ctx), methods=["GET"]),
        door.route(f"{_VERSION}/deprecate", POST=partial(deprecate, ctx), DELETE=partial(undeprecate, ctx)),
        Route(f"{_VERSION}/revoke", partial(revoke, ctx), methods=["POST"]),
        Route(f"{_VERSION}/signatures", partial(sign, ctx), methods=["POST"]),
        Route(f"{_VERSION}/sbom", partial(sbom, ctx), methods=["GET"]),
        Route("/api/registry/sbom", partial(search, ctx), methods=["GET"]),
    ]


async def version(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/registry/versions/{version_id}`."""
    actor = await door.caller(ctx, request, "extension:read")
    return door.answer(view(await ctx.publishing.version(actor, _version_id(request))))


async def deprecate(ctx: GatewayContext, request: Request) -> Response:
    """`POST /api/registry/versions/{version_id}/deprecate {message}`."""
    actor = await door.caller(ctx, request, "extension:publish")
    wanted = await door.body(request, Deprecation)
    return door.answer(view(await lifecycle.deprecate(ctx.store, actor, _version_id(request), wanted.message)))


async def undeprecate(ctx: GatewayContext, request: Request) -> Response:
    """`DELETE /api/registry/versions/{version_id}/deprecate`."""
    actor = await door.caller(ctx, request, "extension:publish")
    return door.answer(view(await lifecycle.deprecate(ctx.store, actor, _version_id(request), None)))


async def revoke(ctx: GatewayContext, request: Request) -> Response:
    """`POST /api/registry/versions/{version_id}/revoke {reason}`: its owner's, or the operator's; cannot be undone."""
    actor = await door.caller(ctx, request, "extension:publish", "platform:admin")
    version_id, because = _version_id(request), await door.body(request, Because)
    operator = "platform:admin" in actor.principal.permissions
    await lifecycle.revoke(ctx.store, actor, version_id, because.reason, operator=operator)
    return door.answer(Revoked(version_id=version_id))


async def sign(ctx: GatewayContext, request: Request) -> Response:
    """`POST /api/registry/versions/{version_id}/signatures {signature}`."""
    actor = await door.caller(ctx, request, "extension:publish")
    wanted = await door.body(request, Countersignature)
    found = await countersign.add(
        ctx.store, ctx.objects, ctx.signatures, actor, _version_id(request), bytes(wanted.signature)
    )
    return door.answer(view(found))


async def sbom(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/registry/versions/{version_id}/sbom`."""
    actor = await door.caller(ctx, request, "extension:read")
    return door.answer(await catalogue.sbom(ctx.store, actor, _version_id(request)))


async def search(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/registry/sbom?package=&version=&limit=&cursor=`: versions this account can find that contain it."""
    actor = await door.caller(ctx, request, "extension:read")
    package = door.words(request, "package", SBOM_NAME_MAX_CHARS)
    if package is None:
        raise InvalidRequest("package must name a package exactly, as its SBOM does")
    limit, after = door.page_size(request), door.cursor(request, catalogue.Line)
    wanted = door.words(request, "version", SBOM_VERSION_MAX_CHARS)
    found = await catalogue.containing(ctx.store, actor, package, wanted, after, limit + 1)
    at = catalogue.Line(found[limit - 1].version_id, found[limit - 1].ordinal) if len(found) > limit else None
    return door.answer(door.page([_containing(row) for row in found], limit, at))


def _containing(row: Containing) -> ContainingView:
    return ContainingView(
        extension_id=row.extension_id,
        version_id=row.version_id,
        publisher=row.publisher,
        name=row.name,
        version=row.version,
        content_hash=row.content_hash,
        package=Package(name=row.package, version=row.package_version, purl=row.purl),
    )


def _version_id(request: Request) -> str:
    found: str = request.path_params["version_id"]
    if not ids.is_uuid(found):
        raise NotFound("no such version; its id is a UUID")
    return found

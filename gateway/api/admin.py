"""`/api/admin`: publishers, signing keys, who ran what, alerts. For the platform's operator, and for nobody else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.api import door
from gateway.context import GatewayContext
from gateway.identity.actor import Actor
from gateway.registry import operator
from gateway.registry.catalogue import Moment
from gateway.registry.lifecycle import Because
from gateway.registry.operator import Act
from gateway.store.platform import abuse, callers, publishers
from shared import ids
from shared.errors import InvalidRequest
from shared.registry_limits import EXECUTIONS_SPAN_MAX_DAYS

ADMIN = "platform:admin"


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The doors of this file."""
    acts: tuple[Act, ...] = ("approve", "suspend", "restore")
    return [
        Route("/api/admin/publishers", partial(every_publisher, ctx), methods=["GET"]),
        *(
            Route(f"/api/admin/publishers/{{name}}/{act}", partial(act_on_publisher, ctx, act), methods=["POST"])
            for act in acts
        ),
        Route("/api/admin/keys", partial(keys, ctx), methods=["GET"]),
        Route("/api/admin/keys/{key_id}/revoke", partial(revoke_key, ctx), methods=["POST"]),
        Route("/api/admin/executions", partial(executions, ctx), methods=["GET"]),
        Route("/api/admin/alerts", partial(alerts, ctx), methods=["GET"]),
    ]


async def every_publisher(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/admin/publishers?approved=&q=&limit=&cursor=`."""
    await _operator(ctx, request)
    limit, after = door.page_size(request), door.cursor(request, str)
    approved, q = door.flag(request, "approved"), door.words(request, "q")
    async with ctx.store.platform() as tx:
        found = await publishers.page(tx, approved=approved, q=q, after=after or "", limit=limit + 1)
    return door.answer(door.page(found, limit, found[limit - 1].name if len(found) > limit else None))


async def act_on_publisher(ctx: GatewayContext, act: Act, request: Request) -> Response:
    """`POST /api/admin/publishers/{name}/approve|suspend|restore {reason}`."""
    actor = await _operator(ctx, request)
    because = await door.body(request, Because)
    row = await operator.act_on_publisher(
        ctx.store, actor, ids.publisher(request.path_params["name"]), act, because.reason
    )
    await ctx.stops.again()
    return door.answer(row)


async def keys(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/admin/keys?limit=&cursor=`: of the trust bundle in force, and those that were revoked."""
    await _operator(ctx, request)
    limit, after = door.page_size(request), door.cursor(request, str)
    every = await operator.keys(ctx.store, ctx.trust.current())
    found = [key for key in every if after is None or key.key_id > after][: limit + 1]
    return door.answer(door.page(found, limit, found[limit - 1].key_id if len(found) > limit else None))


async def revoke_key(ctx: GatewayContext, request: Request) -> Response:
    """`POST /api/admin/keys/{key_id}/revoke {reason}`: cannot be undone."""
    actor = await _operator(ctx, request)
    because = await door.body(request, Because)
    return door.answer(await operator.revoke_key(ctx.store, actor, request.path_params["key_id"], because.reason))


async def executions(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/admin/executions?scope=&name=&since=&until=&limit=&cursor=`: who ran it; a day unless asked otherwise."""
    await _operator(ctx, request)
    limit, after = door.page_size(request), door.cursor(request, tuple[str, str, str])
    if after is not None and not (ids.is_uuid(after[1]) and ids.is_uuid(after[2])):
        raise InvalidRequest("cursor must be the next_cursor of an earlier page")
    scope, name = _scope(request)
    until = door.moment(request, "until") or datetime.now(UTC)
    since = door.moment(request, "since") or until - timedelta(days=1)
    if not timedelta(0) < until - since <= timedelta(days=EXECUTIONS_SPAN_MAX_DAYS):
        raise InvalidRequest(f"since must be before until, by at most {EXECUTIONS_SPAN_MAX_DAYS} days")
    async with ctx.store.platform() as tx:
        found = await callers.page(tx, scope, name, since=since, until=until, after=after, limit=limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    return door.answer(door.page(list(found), limit, last and (last.tenant_id, last.install_id, last.version_id)))


async def alerts(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/admin/alerts?active=&limit=&cursor=`: what was noticed, the newest first."""
    await _operator(ctx, request)
    limit, after = door.page_size(request), door.cursor(request, Moment)
    place, active = None if after is None else (after.at, after.id), door.flag(request, "active")
    async with ctx.store.platform() as tx:
        found = await abuse.page(tx, active=active, after=place, limit=limit + 1)
    at = Moment(found[limit - 1].created_at, found[limit - 1].id) if len(found) > limit else None
    return door.answer(door.page(found, limit, at))


async def _operator(ctx: GatewayContext, request: Request) -> Actor:
    return await door.caller(ctx, request, ADMIN)


def _scope(request: Request) -> tuple[callers.Scope, str]:
    scope, name = request.query_params.get("scope", "all"), request.query_params.get("name", "")
    match scope:
        case "version":
            return "version", ids.version_id(name)
        case "publisher":
            return "publisher", ids.publisher(name)
        case "tenant":
            return "tenant", ids.tenant_id(name)
        case "all" if not name:
            return "all", ""
        case _:
            raise InvalidRequest("scope must be version, publisher or tenant with a name, or all without one")

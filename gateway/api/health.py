"""`/healthz`: the process is alive. `/readyz`: it should get traffic. `/metrics`: how it is doing (internal only).

Not ready means: draining, or the database cannot be asked, since nothing can be allowed then. The object store away
only stops publishing, so it is reported and does not take the gateway out of service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.context import GatewayContext
from gateway.store import schema
from shared.errors import PlatformError

_JSON = "application/json"
PROBE_MAX_S: Final = 0.8  # Kubernetes waits one second for a probe by default


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """`ready` decides; the rest explains."""

    ready: bool
    draining: bool
    database: str
    objects: str


def public_routes(ctx: GatewayContext) -> list[BaseRoute]:
    """Health for load balancers."""
    return [
        Route("/healthz", alive, methods=["GET"]),
        Route("/readyz", partial(ready, ctx), methods=["GET"]),
    ]


def internal_routes(ctx: GatewayContext) -> list[BaseRoute]:
    """Health and metrics for the cluster."""
    return [*public_routes(ctx), Route("/metrics", partial(metrics, ctx), methods=["GET"])]


async def alive(_: Request) -> Response:
    """`GET /healthz`."""
    return Response(b'{"alive":true}', media_type=_JSON, headers={"cache-control": "no-store"})


async def ready(ctx: GatewayContext, _: Request) -> Response:
    """`GET /readyz` → 200 or 503, with what each dependency says."""
    database, objects = await asyncio.gather(_within(_database(ctx)), _within(_objects(ctx)))
    state = Readiness(
        ready=database == "ok" and not ctx.drain.is_set(),
        draining=ctx.drain.is_set(),
        database=database,
        objects=objects,
    )
    body = msgspec.json.encode(state)
    return Response(body, 200 if state.ready else 503, {"cache-control": "no-store"}, _JSON)


async def _within(probe: Coroutine[None, None, str]) -> str:
    """What a dependency says, unless it takes longer than a readiness probe may."""
    try:
        async with asyncio.timeout(PROBE_MAX_S):
            return await probe
    except TimeoutError:
        return "degraded"


async def metrics(ctx: GatewayContext, _: Request) -> Response:
    """`GET /metrics`: Prometheus text."""
    return Response(generate_latest(ctx.metrics), media_type=CONTENT_TYPE_LATEST)


async def _database(ctx: GatewayContext) -> str:
    try:
        async with ctx.store.platform() as tx:
            seen = await schema.applied(tx)
    except PlatformError:
        return "unreachable"
    return "ok" if len(seen) >= ctx.schema_version else "older than this release: run the migrations"


async def _objects(ctx: GatewayContext) -> str:
    try:
        await ctx.objects.check()
    except PlatformError:
        return "degraded"
    return "ok"

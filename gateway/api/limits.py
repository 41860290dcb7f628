"""`GET /api/limits`: every limit with its unit and its reason, for people and for tools."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.api import door
from gateway.context import GatewayContext
from gateway.policy.limits_list import Limits, listed


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The door of this file; its answer never changes while the process lives."""
    return [door.route("/api/limits", GET=partial(limits, ctx, listed(ctx.limiter.plan, ctx.settings.quotas)))]


async def limits(ctx: GatewayContext, found: Limits, request: Request) -> Response:
    """`GET /api/limits`."""
    await door.caller(ctx, request, "extension:read")
    return door.answer(found)

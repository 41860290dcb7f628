"""`POST /internal/events/publish`: a running guest's event, brought by its runner.

MessagePack both ways; the host token of the guest's call says whose event it is and how many events led to it, and is
the only credential.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.api import door
from gateway.context import GatewayContext
from gateway.identity.host_tokens import HostTokens
from shared.errors import AccessPolicyUnavailable, InvalidRequest
from shared.events import CAPABILITY, PUBLISH_PATH, EventPublish, EventPublished
from shared.limits import TIMEOUT_MAX_MS
from shared.tokens import Clock

_RETRY_AFTER_S: Final = 1


def routes(ctx: GatewayContext, clock: Clock = time.time) -> list[BaseRoute]:
    """The doors of this file."""
    tokens = HostTokens((key.public for key in ctx.settings.signing_keys), clock)
    return [Route(PUBLISH_PATH, partial(publish, ctx, tokens), methods=["POST"])]


async def publish(ctx: GatewayContext, tokens: HostTokens, request: Request) -> Response:
    """Commit one event → its id."""
    claims = tokens.verify(request.scope["headers"], CAPABILITY)
    asked = await door.message(request, EventPublish)
    if not 1 <= asked.timeout_ms <= TIMEOUT_MAX_MS:
        raise InvalidRequest(f"timeout_ms must be a whole number from 1 to {TIMEOUT_MAX_MS}")
    try:
        async with asyncio.timeout(asked.timeout_ms / 1000):
            event_id = await ctx.events.publishing.from_guest(claims, asked.topic, asked.payload)
    except TimeoutError as error:
        raise AccessPolicyUnavailable(
            "the event was not committed in the call's time", retry_after_s=_RETRY_AFTER_S
        ) from error
    return door.packed(EventPublished(id=event_id))

"""`/api/events`: the host application publishes; `/api/installs/{install_id}/events/…`: what became of deliveries.

Events come in the structured mode of the CloudEvents HTTP binding: one object, or a batch, which is taken whole or not
at all.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, Final, cast, get_args

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.api import door
from gateway.context import GatewayContext
from gateway.events.cloudevents import Submitted
from gateway.events.publishing import AcceptedView
from gateway.events.reading import view
from gateway.store.deliveries import State
from shared import ids
from shared.errors import Forbidden, InvalidRequest, NotFound, NotInstalled, PayloadTooLarge
from shared.events import CLOUDEVENT, CLOUDEVENTS_BATCH
from shared.limits import EVENTS_BODY_MAX_BYTES

PUBLISH, READ, ADMIN = "events:publish", "extension:read", "extension:admin"

_one = msgspec.json.Decoder(Submitted)
_batch = msgspec.json.Decoder(list[Submitted])
_either = msgspec.json.Decoder(Submitted | list[Submitted])
_FORMS: Final[dict[str, msgspec.json.Decoder[Any]]] = {CLOUDEVENT: _one, CLOUDEVENTS_BATCH: _batch, door.JSON: _either}


class Published(msgspec.Struct, frozen=True):
    """The events of one request, in its order; all of them are committed."""

    items: list[AcceptedView]


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The doors of this file."""
    below = "/api/installs/{install_id}/events"
    return [
        door.route("/api/events", POST=partial(publish, ctx)),
        door.route(f"{below}/deliveries", GET=partial(deliveries, ctx)),
        door.route(f"{below}/dead", GET=partial(dead, ctx)),
        door.route(f"{below}/dead/redeliver", POST=partial(redeliver, ctx)),
        door.route(f"{below}/dead/{{event_id}}/redeliver", POST=partial(redeliver, ctx)),
    ]


async def publish(ctx: GatewayContext, request: Request) -> Response:
    """`POST /api/events` → 202: accepted, which means committed."""
    actor = await door.caller(ctx, request, PUBLISH)
    if actor.principal.user_type != "internal":
        raise Forbidden("events are about the whole tenant; only its own staff and tools may publish them")
    return door.answer(
        Published(await ctx.events.publishing.from_host(actor.tenant_id, await _submitted(request))), 202
    )


async def deliveries(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/installs/{install_id}/events/deliveries?state=&limit=&cursor=`: the newest first."""
    state = request.query_params.get("state")
    if state is not None and state not in get_args(State):
        raise InvalidRequest(f"state must be one of {', '.join(get_args(State))}")
    return await _page(ctx, request, cast("State | None", state))


async def dead(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/installs/{install_id}/events/dead?limit=&cursor=`: what was given up, the newest first."""
    return await _page(ctx, request, "dead")


async def redeliver(ctx: GatewayContext, request: Request) -> Response:
    """`POST …/events/dead/{event_id}/redeliver`, and `POST …/events/dead/redeliver` for all of them → 202."""
    actor = await door.caller(ctx, request, ADMIN)
    event_id: str | None = request.path_params.get("event_id")
    if event_id is not None and not ids.is_uuid(event_id):
        raise NotFound("there is no such event")
    return door.answer(await ctx.events.deliveries.redeliver(actor, _install_id(request), event_id), 202)


async def _page(ctx: GatewayContext, request: Request, state: State | None) -> Response:
    actor = await door.caller(ctx, request, READ)
    limit, before = door.page_size(request), door.cursor(request, tuple[datetime, str])
    if before is not None and (before[0].tzinfo is None or not ids.is_uuid(before[1])):
        raise InvalidRequest("cursor must be the next_cursor of an earlier page")
    found = await ctx.events.deliveries.page(actor, _install_id(request), state, before, limit + 1)
    at = (found[limit - 1].created_at, found[limit - 1].event_id) if len(found) > limit else None
    return door.answer(door.page([view(row) for row in found], limit, at))


async def _submitted(request: Request) -> list[Submitted]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    decoder = _FORMS.get(media_type)
    if decoder is None:
        raise InvalidRequest(
            f"content-type must be {CLOUDEVENT} for one event, {CLOUDEVENTS_BATCH} for several, or {door.JSON} for either"
        )
    try:
        body = await request.body()
        if len(body) > EVENTS_BODY_MAX_BYTES:
            raise PayloadTooLarge(f"the events of one request have at most {EVENTS_BODY_MAX_BYTES} bytes")
        found: Submitted | list[Submitted] = decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not valid: {error}") from error
    except ClientDisconnect as error:
        raise InvalidRequest("the body ended early") from error
    return [found] if isinstance(found, Submitted) else found


def _install_id(request: Request) -> str:
    found: str = request.path_params["install_id"]
    if not ids.is_uuid(found):
        raise NotInstalled("no such extension is installed for this tenant")  # as if it were somebody else's
    return found

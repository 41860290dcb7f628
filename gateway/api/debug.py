"""`GET /api/ext-debug/stream`: what an extension and the platform say about its calls, as it happens.

    ?extensionId= or ?installId=   whose, in any form `/api/ext` takes too
    &requestId=                    of one call only
    &level=                        trace, debug, info, warn or error: this and worse

The tenant comes from the credential, and the credential from a header: one in the query would stand in every log on
the way, so a name that is not one of these four is refused.

`GET|PUT /api/installs/{id}/debug` reads and turns the switch that makes an install's calls be recorded at all.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from gateway.api import door
from gateway.context import GatewayContext
from gateway.debug import switch
from gateway.debug.entries import StreamId, stream_id
from gateway.debug.feeds import StreamName
from gateway.debug.session import Session
from gateway.debug.viewer import Viewer, Wanted
from gateway.identity.actor import Actor
from gateway.identity.principal import require
from gateway.installs.resolved import ResolvedInstall
from gateway.proxy.body import ClientGoneError, read
from shared import ids
from shared.debug_event import LEVELS, Level
from shared.errors import Forbidden, InvalidRequest, NotInstalled

PATH: Final = "/api/ext-debug/stream"
SWITCH_PATH: Final = "/api/installs/{install_id}/debug"
PERMISSION: Final = "extension:debug"
_NAMES: Final = ("extensionId", "installId", "requestId", "level")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a viewer asked for.

    Attributes:
        references: how the extension is named; all must mean the same install.
        resume: the last event an earlier answer showed.
    """

    references: tuple[str, ...]
    request_id: str | None
    level: Level
    resume: StreamId | None


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The door of this file."""
    route = Route(PATH, DebugStream(ctx))
    route.methods = {"GET"}  # no HEAD: nobody can say how a stream would be answered without answering it
    return [
        route,
        Route(SWITCH_PATH, partial(get_switch, ctx), methods=["GET"]),
        Route(SWITCH_PATH, partial(put_switch, ctx), methods=["PUT"]),
    ]


async def get_switch(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/installs/{install_id}/debug`."""
    actor = await door.caller(ctx, request, PERMISSION)
    return door.answer(await switch.read(ctx.store, actor, _install_id(request)))


async def put_switch(ctx: GatewayContext, request: Request) -> Response:
    """`PUT /api/installs/{install_id}/debug`."""
    actor = await door.caller(ctx, request, "extension:admin")
    install_id, wanted = _install_id(request), await door.body(request, switch.Switch)
    return door.answer(await switch.turn(ctx.store, actor, install_id, wanted))


class DebugStream:
    """The door: plain ASGI, since the answer has no end of its own."""

    def __init__(self, ctx: GatewayContext) -> None:
        self._ctx = ctx

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One viewer. A client that went away is not answered."""
        try:
            await read(receive)
        except ClientGoneError:
            return
        actor = await self._caller(scope)
        asked = _asked(scope)
        feeds, install = self._ctx.debug.feeds, await self._install(actor, asked)
        name = StreamName(actor.tenant_id, install.extension_id)
        with self._ctx.debug.seat(actor.tenant_id):
            async with feeds.watch(name) as watch:
                if not self._ctx.drain.is_set():
                    await self._note(actor, install, asked)
                session = Session(
                    send,
                    receive,
                    drain=self._ctx.drain,
                    recheck=partial(self._recheck, scope, asked, install),
                    expires_at_s=actor.principal.expires_at_s,
                )
                wanted = Wanted(install_id=install.install_id, request_id=asked.request_id, level=asked.level)
                tail, resume = self._ctx.settings.debug_tail_count, asked.resume
                await session.serve(
                    lambda write: Viewer(feeds, watch, name, wanted=wanted, tail=tail, resume=resume, send=write).run()
                )

    async def _caller(self, scope: Scope) -> Actor:
        """Who asks, now; asked again while the answer runs."""
        principal = await self._ctx.identity.authenticate_viewer(scope["headers"])
        require(principal, PERMISSION)
        if principal.user_type != "internal":
            raise Forbidden("a debug stream shows the calls of all clients; only the tenant's own staff may watch it")
        return Actor(principal, scope["state"]["request_id"])

    async def _install(self, actor: Actor, asked: Asked) -> ResolvedInstall:
        """The one install that every reference means. Raises `NotInstalled`, `AmbiguousExtension`."""
        first, *others = [await self._ctx.resolver.resolve(actor.tenant_id, text) for text in asked.references]
        if any(other.install_id != first.install_id for other in others):
            raise NotInstalled("no such extension is installed for this tenant")
        return first

    async def _recheck(self, scope: Scope, asked: Asked, install: ResolvedInstall) -> float | None:
        actor = await self._caller(scope)
        now = await self._install(actor, asked)
        if (actor.tenant_id, now.install_id) != (install.tenant_id, install.install_id):
            raise NotInstalled("no such extension is installed for this tenant")
        return actor.principal.expires_at_s

    async def _note(self, actor: Actor, install: ResolvedInstall, asked: Asked) -> None:
        await self._ctx.debug.note(
            actor,
            install,
            extension_id=install.extension_id,
            watched_request_id=asked.request_id,
            level=asked.level,
            resumed=asked.resume is not None,
        )


def _asked(scope: Scope) -> Asked:
    """The query and `Last-Event-ID`. Raises `InvalidRequest`, which says what would be valid."""
    given = QueryParams(scope["query_string"]).multi_items()
    names = [name for name, _ in given]
    if not set(names) <= set(_NAMES) or len(set(names)) != len(names):
        raise InvalidRequest(f"the query may have each of {', '.join(_NAMES)} once; a credential stands in a header")
    values = dict(given)
    references = tuple(values[name] for name in ("extensionId", "installId") if name in values)
    if not references:
        raise InvalidRequest("extensionId or installId must say which extension to watch")
    request_id = values.get("requestId")
    if request_id is not None and ids.request_id(request_id) != request_id:
        raise InvalidRequest("requestId must be 1-128 characters of A-Z a-z 0-9 . _ : -")
    level = values.get("level", "trace")
    if level not in LEVELS:
        raise InvalidRequest(f"level must be one of {', '.join(LEVELS)}")
    return Asked(references=references, request_id=request_id, level=level, resume=_resume(scope))


def _resume(scope: Scope) -> StreamId | None:
    found = [value for name, value in scope["headers"] if name == b"last-event-id" and value]
    if len(found) > 1:
        raise InvalidRequest("Last-Event-ID may be given once")
    return stream_id(found[0].decode("latin-1")) if found else None


def _install_id(request: Request) -> str:
    found: str = request.path_params["install_id"]
    if not ids.is_uuid(found):
        raise NotInstalled("no such extension is installed for this tenant")  # as if it were somebody else's
    return found

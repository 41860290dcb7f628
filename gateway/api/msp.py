"""`/msp/…`: the console. Pages for a tenant's administrators, filled in on the server.

    /msp/signin, /msp/signout                              a credential for a cookie, and the end of it
    /msp/extensions                                        what is installed
    /msp/extensions/{extension}                            an extension's own page
    /msp/extensions/{extension}/debug                      its live log
    /msp/extensions/{extension}/upgrade                    a version that waits for consent; POST decides
    /msp/api/extensions/{extension}/bootstrap              what the page that frames it asks for
    /msp/static/{version}/{name}                           scripts and styles

The cookie is accepted here (and by the debug stream) and nowhere else; `/api/…` always wants a credential.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.api import door, ui
from gateway.api.signing_in import SigningIn, Visit, form_fields
from gateway.console import assets, csrf, waiting
from gateway.console.listing import listed
from gateway.console.pages import Pages, may
from gateway.console.theme import DARK
from gateway.context import GatewayContext
from gateway.identity.actor import Actor
from gateway.identity.principal import require
from gateway.installs import ui_source
from gateway.policy import access
from gateway.store.installs import Install
from shared import ids
from shared.errors import InvalidRequest, InvalidSession, NotFound, PlatformError, Unauthenticated

READ: Final = "extension:read"
DEBUG: Final = "extension:debug"
ADMIN: Final = "extension:admin"
HOME: Final = "/msp/extensions"

_VIEW: Final = re.compile(r"/(?!/)[^\\\x00-\x20\x7f]{0,2047}")

Show = Callable[["Visit", Request], Awaitable[Response]]


class ConsoleBootstrap(ui.Bootstrap, frozen=True, kw_only=True, rename="camel"):
    """What opens an extension inside the console, which comes in two themes."""

    extension_id: str
    dark_theme_tokens: dict[str, str]


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The doors of this file."""
    files = assets.load()
    pages = Pages(files, ui_source.origin(ctx.settings.runner_public_base))
    signing_in, console = SigningIn(ctx, pages, HOME), Console(ctx, pages)
    one = f"{HOME}/{{extension}}"

    def page(show: Show) -> Callable[[Request], Awaitable[Response]]:
        return partial(_page, signing_in, pages, show)

    return [
        Route("/msp", partial(_to, HOME), methods=["GET"]),
        Route("/msp/", partial(_to, HOME), methods=["GET"]),
        Route("/msp/signin", signing_in.ask, methods=["GET"]),
        Route("/msp/signin", signing_in.enter, methods=["POST"]),
        Route("/msp/signout", signing_in.leave, methods=["POST"]),
        Route(HOME, page(console.extensions), methods=["GET"]),
        Route(one, page(console.extension), methods=["GET"]),
        Route(f"{one}/debug", page(console.debug), methods=["GET"]),
        Route(f"{one}/upgrade", page(console.upgrade), methods=["GET"]),
        Route(f"{one}/upgrade", page(console.decide), methods=["POST"]),
        Route(
            "/msp/api/extensions/{extension}/bootstrap",
            partial(_answer, signing_in, console.bootstrap),
            methods=["GET"],
        ),
        Route(f"{assets.PREFIX}/{{version}}/{{name}}", partial(_static, files), methods=["GET"]),
    ]


class Console:
    """The pages of somebody who has signed in."""

    def __init__(self, ctx: GatewayContext, pages: Pages) -> None:
        self._ctx = ctx
        self._pages = pages

    async def extensions(self, visit: Visit, request: Request) -> Response:
        """`GET /msp/extensions?cursor=`: what is installed."""
        actor = self._actor(visit, request, READ)
        limit, after = door.page_size(request), door.cursor(request, str)
        found = await self._ctx.installs.page(actor, None if after is None else ids.install_id(after), limit + 1)
        at = found[limit - 1].id if len(found) > limit else None
        base = self._ctx.settings.runner_public_base
        shown = door.page([listed(install, base) for install in found], limit, at)
        values = {
            "installs": shown.items,
            "next_cursor": shown.next_cursor,
            "first": after is None,
            "may_debug": may(actor.principal, DEBUG),
            "may_admin": may(actor.principal, ADMIN),
        }
        return self._pages.show("extensions", values, signed=visit.signed, icons=True)

    async def extension(self, visit: Visit, request: Request) -> Response:
        """`GET /msp/extensions/{extension}?path=`: the extension's own page, framed."""
        actor = self._actor(visit, request, READ)
        path = _view(request)
        values = await self._one(actor, request)
        if not values["install"].page_url:
            raise NotFound("this extension has no page of its own, or is disabled")
        query = "" if path == "/" else f"?path={quote(path, safe='')}"
        bootstrap = f"/msp/api/extensions/{values['install'].install_id}/bootstrap{query}"
        values |= {
            "bootstrap_url": bootstrap,
            "may_debug": may(actor.principal, DEBUG),
            "may_admin": may(actor.principal, ADMIN),
        }
        return self._pages.show("extension", values, signed=visit.signed, frames=True)

    async def debug(self, visit: Visit, request: Request) -> Response:
        """`GET /msp/extensions/{extension}/debug`: the extension's live log."""
        actor = self._actor(visit, request, DEBUG)
        values = await self._one(actor, request)
        stream = f"/api/ext-debug/stream?installId={values['install'].install_id}"
        return self._pages.show("debug", {**values, "stream_url": stream}, signed=visit.signed)

    async def upgrade(self, visit: Visit, request: Request) -> Response:
        """`GET /msp/extensions/{extension}/upgrade`: what the version that waits asks for, and the decision."""
        actor = self._actor(visit, request, ADMIN)
        install = await self._install(actor, request)
        values = {
            "install": listed(install, self._ctx.settings.runner_public_base),
            "waiting": waiting.shown(install),
        }
        return self._pages.show("upgrade", values, signed=visit.signed)

    async def decide(self, visit: Visit, request: Request) -> Response:
        """`POST /msp/extensions/{extension}/upgrade`: `decision` is `allow` or `decline`, of the `version` shown."""
        fields = await form_fields(request)
        csrf.check(request.scope["headers"], visit.signed.secret, fields.get(csrf.FIELD, ""))
        actor = self._actor(visit, request, ADMIN)
        install = await self._install(actor, request)
        match fields.get("decision"):
            case "allow":
                consent = waiting.allowed(install, fields.get("version", ""))
                await self._ctx.installs.upgrades.consent(actor, install.id, consent)
            case "decline":
                await self._ctx.installs.upgrades.decline(actor, install.id)
            case _:
                raise InvalidRequest("decision must be allow or decline")
        return RedirectResponse(HOME, 303, {"cache-control": "no-store"})

    async def bootstrap(self, visit: Visit, request: Request) -> Response:
        """`GET /msp/api/extensions/{extension}/bootstrap?path=`."""
        principal = self._actor(visit, request, READ).principal
        reference: str = request.path_params["extension"]
        found = await ui.bootstrap_for(self._ctx, principal, reference, _view(request))
        install = await self._ctx.resolver.resolve(principal.tenant_id, reference)
        fields = msgspec.structs.asdict(found)
        return door.answer(ConsoleBootstrap(**fields, extension_id=install.extension_id, dark_theme_tokens=DARK))

    async def _one(self, actor: Actor, request: Request) -> dict[str, Any]:
        """The install that the path names, for a template. Raises as `_install`."""
        install = await self._install(actor, request)
        return {"install": listed(install, self._ctx.settings.runner_public_base)}

    async def _install(self, actor: Actor, request: Request) -> Install:
        """The install that the path names. Raises `NotInstalled`, `Forbidden`."""
        found = await self._ctx.resolver.resolve(actor.tenant_id, request.path_params["extension"])
        access.check_client(actor.principal, found)
        return await self._ctx.installs.get(actor, found.install_id)

    def _actor(self, visit: Visit, request: Request, permission: str) -> Actor:
        require(visit.signed.principal, permission)
        return Actor(visit.signed.principal, door.request_id(request))


async def _page(signing_in: SigningIn, pages: Pages, show: Show, request: Request) -> Response:
    """A page, for whoever has signed in; everybody else is led to the form, and refusals are pages as well."""
    signed = None
    try:
        visit = await signing_in.visit(request)
        signed = visit.signed
        response = await show(visit, request)
    except (Unauthenticated, InvalidSession):
        return signing_in.lead_in(request)
    except PlatformError as error:
        return pages.refuse(error, door.request_id(request), signed)
    signing_in.remember(response, visit)
    return response


async def _answer(signing_in: SigningIn, show: Show, request: Request) -> Response:
    """An answer of the console's API; refusals have the one shape of every API."""
    visit = await signing_in.visit(request)
    response = await show(visit, request)
    signing_in.remember(response, visit)
    return response


async def _to(place: str, _request: Request) -> Response:
    return RedirectResponse(place, 303, {"cache-control": "no-store"})


async def _static(files: assets.Assets, request: Request) -> Response:
    file = files.find(request.path_params["version"], request.path_params["name"])
    if file is None:
        raise NotFound("there is nothing at this path")
    headers = {
        "cache-control": "public, max-age=31536000, immutable",
        "cross-origin-resource-policy": "same-origin",
        "x-content-type-options": "nosniff",
        "content-type": file.content_type,
    }
    return Response(file.body, headers=headers)


def _view(request: Request) -> str:
    """`?path=`: the view inside the extension. Raises `InvalidRequest`."""
    path = request.query_params.get("path", ui.INITIAL_PATH)
    if not _VIEW.fullmatch(path):
        raise InvalidRequest("path must begin with one slash and name a view of the extension")
    return path

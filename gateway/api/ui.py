"""The gateway's side of extension UIs: the gate at `/ext-ui/…`, and what a host page needs to open an iframe.

UIs are served by the runner only. The gate exists because a relative `/ext-ui/…` of an older page arrives here: it
answers 404, or, where an operator asks for it, leads to the runner.
"""

from __future__ import annotations

from functools import partial

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router

from gateway.api import door
from gateway.console.theme import LIGHT
from gateway.context import GatewayContext
from gateway.identity.principal import Principal
from gateway.identity.sessions import IframeSession
from gateway.installs import ui_source
from gateway.middleware.cors import Cors
from gateway.middleware.problems import Problems
from gateway.policy import access
from shared import ids
from shared.errors import InvalidRequest, NotFound

INITIAL_PATH = "/"


class Bootstrap(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a host page hands to `bootstrapIframe`."""

    src: str
    content_hash: str
    allowed_origin: str
    session: IframeSession
    theme_tokens: dict[str, str]
    initial_path: str


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The doors of this file."""
    api = Router([Route("/bootstrap/{extension}", partial(bootstrap, ctx), methods=["GET"])], redirect_slashes=False)
    return [
        Route("/ext-ui/{extension}/{content_hash}/{path:path}", partial(gate, ctx), methods=["GET"]),
        Mount("/api/ext-ui", app=Cors(Problems(api), ctx.settings.allowed_origins)),
    ]


async def gate(ctx: GatewayContext, request: Request) -> Response:
    """`GET /ext-ui/{extension}/{content_hash}/{path}` → 404, or 308 to the runner when `REDIRECT_COMPAT` is on."""
    if not ctx.settings.redirect_compat:
        raise NotFound("extension UIs are served by the runner, at RUNNER_PUBLIC_BASE")
    try:
        extension_id = ids.extension_id(request.path_params["extension"])
        content_hash = ids.content_hash(request.path_params["content_hash"])
    except InvalidRequest as error:
        raise NotFound("an extension UI stands at /ext-ui/{extension id}/{content hash}/{path}") from error
    # The path's own bytes, after segments that were just checked: nothing of it can name another host.
    tail: bytes = request.scope["raw_path"].split(b"/", 4)[4]
    query: bytes = request.scope["query_string"]
    target = f"{ctx.settings.runner_public_base}/ext-ui/{extension_id}/{content_hash}/{tail.decode('ascii')}"
    target += f"?{query.decode('ascii')}" if query else ""
    return Response(status_code=308, headers={"location": target, "cache-control": "no-store"})


async def bootstrap(ctx: GatewayContext, request: Request) -> Response:
    """`GET /api/ext-ui/bootstrap/{extension}`: source, session and theme for the caller's iframe."""
    principal = await ctx.identity.authenticate(request.scope["headers"])
    return door.answer(await bootstrap_for(ctx, principal, request.path_params["extension"], INITIAL_PATH))


async def bootstrap_for(ctx: GatewayContext, principal: Principal, reference: str, path: str) -> Bootstrap:
    """What opens one extension for `principal`.

    Args:
        ctx: the gateway.
        principal: whose iframe it is.
        reference: any name of the extension that `/api/ext` takes.
        path: the view inside the extension.

    Raises:
        NotInstalled, AmbiguousExtension: the reference does not mean one install.
        NotFound: the extension has no pages.
        Forbidden, ExtensionDisabled, Revoked: the caller may not use it.
    """
    install = await ctx.resolver.resolve(principal.tenant_id, reference)
    access.authorise(principal, install, "GET")
    ctx.stops.check(install)
    if install.ui_entry is None:
        raise NotFound("this extension has no user interface")
    base = ctx.settings.runner_public_base
    return Bootstrap(
        src=ui_source.build(base, install.extension_id, install.content_hash, path),
        content_hash=install.content_hash,
        allowed_origin=ui_source.origin(base),
        session=ctx.identity.mint_iframe_session(principal, install.extension_id, install.install_id),
        theme_tokens=LIGHT,
        initial_path=path,
    )

"""Signing in to the console and out of it: the form, the cookie, and who a request of a browser comes from.

A form that signs somebody in is protected like every other: its token belongs to a cookie that the form's page set, so
that no foreign page can sign a visitor in as somebody else.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import Final
from urllib.parse import parse_qs, quote

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from gateway.api import door
from gateway.console import csrf, demo
from gateway.console.pages import Pages
from gateway.context import GatewayContext
from gateway.identity.actor import Actor
from gateway.identity.console import COOKIE, SignedIn, SignIn, cookie
from gateway.identity.principal import Principal
from gateway.store import audit_log
from shared.errors import InvalidRequest, InvalidSession, PayloadTooLarge, PlatformError, Unauthenticated
from shared.limits import CONSOLE_FORM_MAX_BYTES

FORM_COOKIE: Final = "__Host-alga_signin"
SIGN_IN: Final = "/msp/signin"

_FORM: Final = "application/x-www-form-urlencoded"
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")
# Where somebody may be led after signing in: a page of the console, never another host.
_NEXT: Final = re.compile(r"/msp/(?!/)[A-Za-z0-9._~!$&'()*+,;=:@%/?-]{0,1024}")


class Visit(msgspec.Struct, frozen=True):
    """A request of somebody who is signed in; `fresh` when that has only just happened."""

    signed: SignedIn
    fresh: SignIn | None = None


class SigningIn:
    """The doors `/msp/signin` and `/msp/signout`, and what the other pages ask of them.

    Args:
        ctx: the gateway.
        pages: renders the form.
        home: where somebody is led who wanted nothing in particular.
    """

    def __init__(self, ctx: GatewayContext, pages: Pages, home: str) -> None:
        self._ctx = ctx
        self._pages = pages
        self._home = home
        tenant = ctx.settings.local_tenant if ctx.settings.local else None
        self._demo: Principal | None = None if tenant is None else demo.administrator(tenant)

    async def visit(self, request: Request) -> Visit:
        """Who the request comes from.

        In local mode a request without a good cookie becomes the demo administrator's, when it only reads and names
        this machine.

        Raises:
            Unauthenticated, InvalidSession: nobody is signed in.
            AccessPolicyUnavailable: it could not be looked up.
        """
        headers = request.scope["headers"]
        try:
            return Visit(await self._ctx.identity.console.verify(headers))
        except (Unauthenticated, InvalidSession):
            welcome = request.method in ("GET", "HEAD") and demo.names_this_machine(headers)
            if self._demo is None or not welcome:
                raise
        return await self._begin(self._demo, request)

    def remember(self, response: Response, visit: Visit) -> None:
        """Give the browser its cookie, when there is a new one."""
        if visit.fresh is not None:
            left_s = int(visit.fresh.expires_at_s - time.time())
            response.set_cookie(COOKIE, visit.fresh.secret, max_age=left_s, secure=True, httponly=True, samesite="lax")

    def lead_in(self, request: Request) -> Response:
        """To the form, and from there back to where the request wanted to go."""
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return _redirect(f"{SIGN_IN}?next={quote(_next(wanted, self._home), safe='')}")

    async def ask(self, request: Request) -> Response:
        """`GET /msp/signin?next=`: the form."""
        return self._form(request, _next(request.query_params.get("next", ""), self._home))

    async def enter(self, request: Request) -> Response:
        """`POST /msp/signin`: a session token or an API key becomes a cookie."""
        try:
            fields = await form_fields(request)
        except PlatformError as error:
            return self._pages.refuse(error, door.request_id(request), None)
        wanted = _next(fields.get("next", ""), self._home)
        try:
            secret = _form_secret(request)
            csrf.check(request.scope["headers"], secret or "", fields.get(csrf.FIELD, ""))
            principal = await self._ctx.identity.authenticate_text(fields.get("credential", "").strip())
            visit = await self._begin(principal, request)
        except PlatformError as error:
            return self._form(request, wanted, error)
        earlier = await self._known(request)
        if earlier is not None:  # who signs in as somebody else leaves no sign-in behind
            await self._end(earlier, request)
        response = _redirect(wanted)
        self.remember(response, visit)
        _forget(response, FORM_COOKIE)
        return response

    async def leave(self, request: Request) -> Response:
        """`POST /msp/signout`: the cookie is worth nothing from now on, in any browser that has it."""
        signed = None
        try:
            signed = await self._known(request)
            if signed is not None:  # else signed out already: the same end
                fields = await form_fields(request)
                csrf.check(request.scope["headers"], signed.secret, fields.get(csrf.FIELD, ""))
                await self._end(signed, request)
        except PlatformError as error:
            return self._pages.refuse(error, door.request_id(request), signed)
        response = _redirect(f"{SIGN_IN}?left=1")
        _forget(response, COOKIE)
        return response

    async def _begin(self, principal: Principal, request: Request) -> Visit:
        fresh = await self._ctx.identity.console.begin(principal)
        await self._note("console.signed_in", principal, fresh.id, request)
        bounded = msgspec.structs.replace(principal, expires_at_s=fresh.expires_at_s)
        return Visit(SignedIn(fresh.id, fresh.secret, bounded), fresh)

    async def _end(self, signed: SignedIn, request: Request) -> None:
        await self._ctx.identity.console.end(signed.id)
        await self._note("console.signed_out", signed.principal, signed.id, request)

    async def _known(self, request: Request) -> SignedIn | None:
        try:
            return await self._ctx.identity.console.verify(request.scope["headers"])
        except (Unauthenticated, InvalidSession):
            return None

    async def _note(self, action: str, principal: Principal, session_id: str, request: Request) -> None:
        change = Actor(principal, door.request_id(request)).did(action, "console_session", session_id)
        async with self._ctx.store.tenant(principal.tenant_id) as tx:
            await audit_log.record(tx, change)

    def _form(self, request: Request, wanted: str, error: PlatformError | None = None) -> Response:
        secret = _form_secret(request) or secrets.token_urlsafe(32)
        values = {
            "form_token": csrf.token(secret),
            "next": wanted,
            "left": "left" in request.query_params,
            "demo_tenant": "" if self._demo is None else self._demo.tenant_id,
            "problem": "" if error is None else _said(error),
        }
        response = self._pages.show("signin", values, status=200 if error is None else error.status)
        response.set_cookie(FORM_COOKIE, secret, secure=True, httponly=True, samesite="strict")
        return response


def _said(error: PlatformError) -> str:
    if isinstance(error, InvalidSession):
        return "This is not a credential that is good here. Check that all of it was copied, and that it has not ended."
    return error.detail


def _form_secret(request: Request) -> str | None:
    """The form's own cookie, when it is one of ours."""
    found = cookie(request.scope["headers"], FORM_COOKIE)
    return found if found is not None and _SECRET.fullmatch(found) else None


async def form_fields(request: Request) -> dict[str, str]:
    """A form's fields. Raises `InvalidRequest`, `PayloadTooLarge`."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise InvalidRequest(f"content-type must be {_FORM}")
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > CONSOLE_FORM_MAX_BYTES:
                raise PayloadTooLarge(f"a form has at most {CONSOLE_FORM_MAX_BYTES} bytes")
        found = parse_qs(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=8)
    except (ValueError, ClientDisconnect) as error:
        raise InvalidRequest("the form is not valid") from error
    if any(len(values) > 1 for values in found.values()):
        raise InvalidRequest("a field stands in the form twice")
    return {name: values[0] for name, values in found.items()}


def _next(wanted: str, home: str) -> str:
    fits = _NEXT.fullmatch(wanted) and not wanted.startswith((SIGN_IN, "/msp/signout", "/msp/api/"))
    return wanted if fits and "//" not in wanted and ".." not in wanted else home


def _redirect(place: str) -> Response:
    return RedirectResponse(place, 303, {"cache-control": "no-store"})


def _forget(response: Response, name: str) -> None:
    response.delete_cookie(name, secure=True, httponly=True, samesite="lax")

"""What every door does: who is asking, what is asked, and the answer as JSON. Nothing else belongs into a door."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.context import GatewayContext
from gateway.identity.actor import Actor
from gateway.identity.principal import require
from gateway.middleware.request_id import note
from shared.errors import InvalidRequest
from shared.limits import PAGE_DEFAULT, PAGE_MAX
from shared.registry_limits import SEARCH_MAX_CHARS
from shared.wire import MSGPACK, Message

T = TypeVar("T")
M = TypeVar("M", bound=Message)

Door = Callable[[Request], Awaitable[Response]]

JSON: Final = "application/json"


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list; `next_cursor` is `None` on the last one."""

    items: list[Any]
    next_cursor: str | None


def route(path: str, **doors: Door) -> Route:
    """One path with a door for each method, so that `allow` names all of them. HEAD goes through GET's door."""

    async def dispatch(request: Request) -> Response:
        return await doors["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, dispatch, methods=list(doors))


def request_id(request: Request) -> str:
    """The id the middleware gave this request."""
    found: str = request.state.request_id
    return found


async def caller(ctx: GatewayContext, request: Request, permission: str, instead: str | None = None) -> Actor:
    """The verified caller, who holds `permission`, or `instead`.

    Raises:
        Unauthenticated, InvalidSession: nobody we know.
        Forbidden: neither permission; `permission` is named.
    """
    principal = await ctx.identity.authenticate(request.scope["headers"])
    note(request.scope, tenant_id=principal.tenant_id)
    if instead is None or instead not in principal.permissions:
        require(principal, permission)
    return Actor(principal, request_id(request))


async def body(request: Request, kind: type[T]) -> T:
    """The JSON body as `kind`. Raises `InvalidRequest`, which names the member and what would be valid."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != JSON:
        raise InvalidRequest(f"content-type must be {JSON}")
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not valid: {error}") from error
    except ClientDisconnect as error:
        raise InvalidRequest("the body ended early") from error


async def message(request: Request, kind: type[M]) -> M:
    """The MessagePack body as `kind`; unknown members are ignored. Raises `InvalidRequest`."""
    if request.headers.get("content-type") != MSGPACK:
        raise InvalidRequest(f"content-type must be {MSGPACK}")
    try:
        return msgspec.msgpack.decode(await request.body(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not valid: {error}") from error
    except ClientDisconnect as error:
        raise InvalidRequest("the body ended early") from error


def packed(value: Message) -> Response:
    """`value` as MessagePack."""
    return Response(msgspec.msgpack.encode(value), 200, {"cache-control": "no-store"}, MSGPACK)


def answer(value: msgspec.Struct, status: int = 200) -> Response:
    """`value` as JSON; never cached, since it is about one tenant."""
    return Response(msgspec.json.encode(value), status, {"cache-control": "no-store"}, JSON)


def document(value: object) -> Response:
    """A public document, the same for everyone until the next release."""
    return Response(msgspec.json.encode(value), 200, {"cache-control": "public, max-age=300"}, JSON)


def page_size(request: Request, at_most: int = PAGE_MAX) -> int:
    """`?limit=`: 1 to `at_most`. Raises `InvalidRequest`."""
    text = request.query_params.get("limit", str(PAGE_DEFAULT))
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= at_most):
        raise InvalidRequest(f"limit must be a whole number from 1 to {at_most}")
    return int(text)


def words(request: Request, name: str, at_most: int = SEARCH_MAX_CHARS) -> str | None:
    """A text of the query, or none when it is left out or empty. Raises `InvalidRequest`: too long, or unreadable."""
    text = request.query_params.get(name, "")
    if len(text) > at_most or not text.isprintable():
        raise InvalidRequest(f"{name} must have at most {at_most} printable characters")
    return text or None


def flag(request: Request, name: str) -> bool | None:
    """`?name=true` or `false`; none when it is left out. Raises `InvalidRequest`."""
    text = request.query_params.get(name)
    if text not in (None, "true", "false"):
        raise InvalidRequest(f"{name} must be true or false")
    return None if text is None else text == "true"


def moment(request: Request, name: str) -> datetime | None:
    """A time of the query with its zone (RFC 3339); none when it is left out. Raises `InvalidRequest`."""
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))  # a plus that nobody escaped
    except ValueError as error:
        raise InvalidRequest(f"{name} must be a time like 2026-01-02T03:04:05Z") from error
    if found.tzinfo is None:
        raise InvalidRequest(f"{name} must say its zone, as in 2026-01-02T03:04:05Z")
    return found


def cursor(request: Request, kind: type[T]) -> T | None:
    """`?cursor=` as an earlier page gave it; `None` for the first page. Raises `InvalidRequest`."""
    text = request.query_params.get("cursor")
    if text is None:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=kind)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("cursor must be the next_cursor of an earlier page") from error


def page(items: list[Any], limit: int, at: object) -> Page:
    """One page.

    Args:
        items: at most `limit + 1` of them; the extra one only says that there are more.
        limit: how many were asked for.
        at: where the next page begins after, for the last item that is shown.
    """
    if len(items) <= limit:
        return Page(items=items, next_cursor=None)
    return slice_of(items[:limit], at)


def slice_of(items: list[Any], at: object | None) -> Page:
    """One page whose end is not known by counting; `at` is none on the last one."""
    text = None if at is None else base64.urlsafe_b64encode(msgspec.json.encode(at)).rstrip(b"=").decode()
    return Page(items=items, next_cursor=text)

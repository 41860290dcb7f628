"""`/api/ext-storage/install/{install_id}/{namespace}/records[/{key}]`: an install's records over REST.

For the tenant's own staff and tools. A record's value is any JSON, kept as the text it came in; a guest's bytes that
are no JSON are told in base64. What a guest cannot say stands here: how long a record lives, its metadata, several
written together.

Members and codes are those of the host application's storage, which clients of it know; a list says where it goes on
as every list here does (`next_cursor`) and as that one did (`nextCursor`): who looks for one only would stop after a
page without noticing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.api import door
from gateway.context import GatewayContext
from gateway.identity.principal import Principal, require
from gateway.storage import views
from gateway.storage.views import BulkRequest, PutRequest
from gateway.store.storage import Asker
from shared import errors, ids
from shared.errors import PlatformError, StorageLimitExceeded, StorageNotFound, StorageRefused, StorageValidationFailed
from shared.limits import STORAGE_BODY_MAX_BYTES, STORAGE_PAGE_MAX_COUNT

READ, WRITE = "extension:read", "extension:write"

_ALL: Final = "/api/ext-storage/install/{install_id}/{namespace}/records"
_REVISION: Final = re.compile(r'"([0-9]{1,19})"')
_LIST_NAMES: Final = frozenset({"limit", "cursor", "keyPrefix", "includeValues", "includeMetadata"})

_TRANSLATED: Final[tuple[tuple[type[PlatformError], type[StorageRefused]], ...]] = (
    (errors.Unauthenticated, errors.StorageUnauthorized),
    (errors.InvalidSession, errors.StorageUnauthorized),
    (errors.TenantMismatch, errors.StorageNamespaceDenied),
    (errors.Forbidden, errors.StorageNamespaceDenied),
    (errors.InvalidRequest, StorageValidationFailed),
    (errors.PayloadTooLarge, StorageLimitExceeded),
    (errors.RateLimited, errors.StorageRateLimited),
    (errors.QuotaExceeded, errors.StorageQuotaExceeded),
)
"""What the gateway says elsewhere → how it is said here."""


def routes(ctx: GatewayContext) -> list[BaseRoute]:
    """The doors of this file."""
    one = {
        "GET": _spoken(partial(get, ctx)),
        "PUT": _spoken(partial(put, ctx)),
        "DELETE": _spoken(partial(delete, ctx)),
    }
    return [
        door.route(_ALL, GET=_spoken(partial(page, ctx)), POST=_spoken(partial(put_all, ctx))),
        door.route(_ALL + "/{key}", **one),
        door.route(_ALL + "/{key:path}", **one),  # no key has a `/`; that is for the door to say
    ]


async def get(ctx: GatewayContext, request: Request) -> Response:
    """`GET …/records/{key}`; with `If-None-Match`, 304 when the caller has this revision."""
    asker = await _asker(ctx, request, READ)
    record = await ctx.records.get(asker, _namespace(request), _key(request))
    etag = _etag(record.revision)
    if etag in request.headers.getlist("if-none-match"):
        return Response(None, 304, {"etag": etag, "cache-control": "no-store"})
    return _answer(views.record(_namespace(request), record), etag)


async def put(ctx: GatewayContext, request: Request) -> Response:
    """`PUT …/records/{key}`; over one revision only with `ifRevision` or `If-Match`, never over with 0 or
    `If-None-Match: *`.
    """
    asker = await _asker(ctx, request, WRITE)
    wanted = await _body(request, PutRequest)
    write = views.write(_key(request), wanted, _expected(request, wanted.if_revision))
    written = await ctx.records.put(asker, _namespace(request), write)
    return _answer(views.written(_namespace(request), written), _etag(written.revision))


async def put_all(ctx: GatewayContext, request: Request) -> Response:
    """`POST …/records`: all items are written, or none."""
    asker = await _asker(ctx, request, WRITE)
    wanted = await _body(request, BulkRequest)
    writes = [views.write(item.key, item, item.if_revision) for item in wanted.items]
    return _answer(views.bulk(_namespace(request), await ctx.records.put_all(asker, _namespace(request), writes)))


async def delete(ctx: GatewayContext, request: Request) -> Response:
    """`DELETE …/records/{key}?ifRevision=` → 204."""
    asker = await _asker(ctx, request, WRITE)
    revision = _expected(request, _number(request.query_params, "ifRevision"))
    await ctx.records.delete(asker, _namespace(request), _key(request), revision=revision)
    return Response(None, 204, {"cache-control": "no-store"})


async def page(ctx: GatewayContext, request: Request) -> Response:
    """`GET …/records?limit=&cursor=&keyPrefix=&includeValues=&includeMetadata=`."""
    asker = await _asker(ctx, request, READ)
    given = request.query_params
    if unknown := sorted(set(given) - _LIST_NAMES):
        raise StorageValidationFailed(f"{', '.join(unknown)}: the query may have {', '.join(sorted(_LIST_NAMES))}")
    limit, values = door.page_size(request, STORAGE_PAGE_MAX_COUNT), _flag(given, "includeValues")
    found = await ctx.records.page(
        asker,
        _namespace(request),
        after=door.cursor(request, str) or "",
        prefix=given.get("keyPrefix", ""),
        limit=limit + 1,
        values=values,
    )
    metadata = _flag(given, "includeMetadata")
    items = [views.listed(_namespace(request), record, values=values, metadata=metadata) for record in found]
    paged = door.page(items, limit, found[limit - 1].key if len(found) > limit else None)
    return _answer(views.Page(items=paged.items, next_cursor=paged.next_cursor, camel_cursor=paged.next_cursor))


def _spoken(inner: door.Door) -> door.Door:
    """The door, whose refusals have the codes of storage."""

    async def outer(request: Request) -> Response:
        try:
            return await inner(request)
        except PlatformError as error:
            for known, said in _TRANSLATED:
                if isinstance(error, known):
                    raise said(error.detail, retry_after_s=error.retry_after_s, **error.extra) from error
            raise

    return outer


async def _asker(ctx: GatewayContext, request: Request, permission: str) -> Asker:
    """The tenant's own install, for somebody who may use its records."""
    principal = await ctx.identity.authenticate(request.scope["headers"])
    require(principal, permission)
    _require_staff(principal)
    install_id: str = request.path_params["install_id"]
    if not ids.is_uuid(install_id):
        raise StorageNotFound("no such extension is installed for this tenant")  # as if it were somebody else's
    return Asker(tenant_id=principal.tenant_id, install_id=install_id)


def _require_staff(principal: Principal) -> None:
    if principal.user_type != "internal":
        raise errors.Forbidden("records are about all clients; only the tenant's own staff and tools may use them")


def _namespace(request: Request) -> str:
    found: str = request.path_params["namespace"]
    return found


def _key(request: Request) -> str:
    found: str = request.path_params["key"]
    return found


async def _body(request: Request, kind: type[door.T]) -> door.T:
    announced = request.headers.get("content-length", "")
    if (announced.isdigit() and int(announced) > STORAGE_BODY_MAX_BYTES) or (
        len(await request.body()) > STORAGE_BODY_MAX_BYTES
    ):
        raise StorageLimitExceeded(f"the body may have at most {STORAGE_BODY_MAX_BYTES} bytes")
    return await door.body(request, kind)


def _expected(request: Request, asked: int | None) -> int | None:
    """The revision that must be current: from the body or the query, or from a header (RFC 9110 §13.1)."""
    matches, absent = request.headers.getlist("if-match"), request.headers.getlist("if-none-match")
    if absent not in ([], ["*"]):
        raise StorageValidationFailed("If-None-Match may be * here: write only what is absent")
    found = {0} if absent else set[int]()
    for match in matches:
        revision = _REVISION.fullmatch(match)
        if revision is None:
            raise StorageValidationFailed('If-Match must be one revision as the ETag has it, such as "3"')
        found.add(int(revision[1]))
    if asked is not None:
        found.add(asked)
    if len(found) > 1:
        raise StorageValidationFailed("ifRevision, If-Match and If-None-Match ask for different revisions; keep one")
    return found.pop() if found else None


def _number(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise StorageValidationFailed(f"{name} must be a whole number")
    return int(text)


def _flag(given: Mapping[str, str], name: str) -> bool:
    text = given.get(name, "false")
    if text not in ("true", "false"):
        raise StorageValidationFailed(f"{name} must be true or false")
    return text == "true"


def _etag(revision: int) -> str:
    return f'"{revision}"'


def _answer(value: Any, etag: str | None = None) -> Response:
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    if etag is not None:
        headers["etag"] = etag
    return Response(msgspec.json.encode(value), 200, headers, door.JSON)

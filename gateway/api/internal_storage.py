"""`POST /internal/storage/{get|put|delete|list}`: a running guest's records, asked for by its runner.

MessagePack both ways; the host token of the guest's call says whose records, and is the only credential.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.api import door
from gateway.context import GatewayContext
from gateway.identity.host_tokens import HostTokens
from gateway.storage.records import Records
from gateway.store.storage import Asker, Record, Write
from shared.errors import AccessPolicyUnavailable, InvalidRequest
from shared.limits import STORAGE_PAGE_MAX_COUNT, TIMEOUT_MAX_MS
from shared.storage import (
    CAPABILITY,
    DELETE_PATH,
    GET_PATH,
    LIST_PATH,
    PUT_PATH,
    StorageDelete,
    StorageDeleted,
    StorageGet,
    StorageItem,
    StorageItems,
    StorageList,
    StoragePut,
    StorageWritten,
)
from shared.tokens import Clock
from shared.wire import Message

Asked = TypeVar("Asked", StorageGet, StoragePut, StorageDelete, StorageList)
Work = Callable[[Records, Asker, Asked], Awaitable[Message]]

_RETRY_AFTER_S: Final = 1


def routes(ctx: GatewayContext, clock: Clock = time.time) -> list[BaseRoute]:
    """The doors of this file."""
    tokens = HostTokens((key.public for key in ctx.settings.signing_keys), clock)
    return [
        _route(GET_PATH, tokens, ctx.records, StorageGet, get),
        _route(PUT_PATH, tokens, ctx.records, StoragePut, put),
        _route(DELETE_PATH, tokens, ctx.records, StorageDelete, delete),
        _route(LIST_PATH, tokens, ctx.records, StorageList, page),
    ]


async def get(records: Records, asker: Asker, asked: StorageGet) -> StorageItem:
    """One record."""
    return _item(await records.get(asker, asked.namespace, asked.key))


async def put(records: Records, asker: Asker, asked: StoragePut) -> StorageWritten:
    """Write one record."""
    write = Write(key=asked.key, value=asked.value, revision=asked.revision)
    return StorageWritten(revision=(await records.put(asker, asked.namespace, write)).revision)


async def delete(records: Records, asker: Asker, asked: StorageDelete) -> StorageDeleted:
    """Remove one record."""
    await records.delete(asker, asked.namespace, asked.key)
    return StorageDeleted()


async def page(records: Records, asker: Asker, asked: StorageList) -> StorageItems:
    """The next records in key order."""
    found = await records.page(asker, asked.namespace, after=asked.cursor or "", limit=STORAGE_PAGE_MAX_COUNT)
    return StorageItems(items=tuple(_item(record) for record in found))


def _route(path: str, tokens: HostTokens, records: Records, kind: type[Asked], work: Work[Asked]) -> Route:
    async def dispatch(request: Request) -> Response:
        claims = tokens.verify(request.scope["headers"], CAPABILITY)
        asked = await door.message(request, kind)
        if not 1 <= asked.timeout_ms <= TIMEOUT_MAX_MS:
            raise InvalidRequest(f"timeout_ms must be a whole number from 1 to {TIMEOUT_MAX_MS}")
        asker = Asker(tenant_id=claims.tenant, install_id=claims.install, generation=claims.generation)
        try:
            async with asyncio.timeout(asked.timeout_ms / 1000):
                return door.packed(await work(records, asker, asked))
        except TimeoutError as error:
            raise AccessPolicyUnavailable(
                "storage did not answer in the call's time", retry_after_s=_RETRY_AFTER_S
            ) from error

    return Route(path, dispatch, methods=["POST"])


def _item(record: Record) -> StorageItem:
    return StorageItem(key=record.key or "", value=record.value or b"", revision=record.revision)

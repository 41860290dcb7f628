"""LISTEN/NOTIFY: a change of an install or API key, and an event that can be delivered, reach every gateway at once.

A hint, not a contract: who misses one sees the change when its cache entry ends. The listener tells when it may have
missed some, so that a cache can be dropped whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final, LiteralString

import msgspec
import psycopg
import structlog

from gateway.store.pool import Tx

INSTALL_CHANGED: Final = "install_changed"
API_KEY_CHANGED: Final = "api_key_changed"
"""Said by a trigger, so that whoever changes a key is heard."""

EVENT_DUE: Final = "event_due"
"""Some delivery of an event can be made now; said by the statements that make one due."""

_HEARTBEAT_S: Final = 10  # a dead connection is found out after this much silence
_ANSWER_MAX_S: Final = 2
_RECONNECT_S: Final = 1

_log = structlog.get_logger(__name__)


class InstallChanged(msgspec.Struct, frozen=True, kw_only=True):
    """Some install of a tenant is not what it was."""

    tenant_id: str
    registry_id: str
    install_id: str


class KeyChanged(msgspec.Struct, frozen=True):
    """An API key is not what it was."""

    key_id: str


class MayHaveMissed(msgspec.Struct, frozen=True):
    """The listener was not connected for a while: forget everything that was cached."""


async def announce(tx: Tx, change: InstallChanged) -> None:
    """Tell every listening gateway, at commit."""
    await tx.execute("select pg_notify(%s, %s)", (INSTALL_CHANGED, msgspec.json.encode(change).decode()))


Change = InstallChanged | KeyChanged | MayHaveMissed


async def changes(direct_url: str) -> AsyncIterator[Change]:
    """Every announced change, for ever; `MayHaveMissed` after each (re)connection.

    Args:
        direct_url: a connection that no transaction pooler stands in (LISTEN belongs to a session).
    """
    async with aclosing(_heard(direct_url, INSTALL_CHANGED, API_KEY_CHANGED)) as every:
        async for heard in every:
            yield MayHaveMissed() if heard is None else _decode(heard)


async def events_due(direct_url: str) -> AsyncIterator[None]:
    """Each time some delivery of an event may be due, for ever; also after each (re)connection."""
    async with aclosing(_heard(direct_url, EVENT_DUE)) as every:
        async for _ in every:
            yield


async def _heard(direct_url: str, *channels: LiteralString) -> AsyncGenerator[psycopg.Notify | None, None]:
    """What is said on channels, for ever; none after each (re)connection, when something may have been missed."""
    while True:
        try:
            async with aclosing(_session(direct_url, channels)) as session:
                async for heard in session:
                    yield heard
        except (psycopg.Error, TimeoutError) as error:
            _log.warning("listener_lost", channels=channels, error=type(error).__name__)
        await asyncio.sleep(_RECONNECT_S)


async def _session(direct_url: str, channels: Sequence[LiteralString]) -> AsyncGenerator[psycopg.Notify | None, None]:
    async with await psycopg.AsyncConnection.connect(
        direct_url, autocommit=True, connect_timeout=2, application_name="gateway-listen"
    ) as connection:
        for channel in channels:
            await connection.execute(f"listen {channel}")
        yield None
        while True:
            async for notice in connection.notifies(timeout=_HEARTBEAT_S):
                yield notice
            async with asyncio.timeout(_ANSWER_MAX_S):
                await connection.execute("select 1")


def _decode(heard: psycopg.Notify) -> Change:
    if heard.channel == API_KEY_CHANGED:
        return KeyChanged(heard.payload)
    try:
        return msgspec.json.decode(heard.payload, type=InstallChanged)
    except msgspec.MsgspecError:
        return MayHaveMissed()  # a newer gateway speaks: what it meant is unknown, so nothing cached is safe

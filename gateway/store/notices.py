"""LISTEN/NOTIFY: a change of an install, and an event that can be delivered, reach every gateway at once.

A hint, not a contract: who misses one sees the change when its cache entry ends. The listener tells when it may have
missed some, so that a cache can be dropped whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, LiteralString

import msgspec
import psycopg
import structlog

from gateway.store.pool import Tx

INSTALL_CHANGED: Final = "install_changed"
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


class MayHaveMissed(msgspec.Struct, frozen=True):
    """The listener was not connected for a while: forget everything that was cached."""


async def announce(tx: Tx, change: InstallChanged) -> None:
    """Tell every listening gateway, at commit."""
    await tx.execute("select pg_notify(%s, %s)", (INSTALL_CHANGED, msgspec.json.encode(change).decode()))


async def changes(direct_url: str) -> AsyncIterator[InstallChanged | MayHaveMissed]:
    """Every announced change, for ever; `MayHaveMissed` after each (re)connection.

    Args:
        direct_url: a connection that no transaction pooler stands in (LISTEN belongs to a session).
    """
    async for payload in _heard(direct_url, INSTALL_CHANGED):
        yield MayHaveMissed() if payload is None else _decode(payload)


async def events_due(direct_url: str) -> AsyncIterator[None]:
    """Each time some delivery of an event may be due, for ever; also after each (re)connection."""
    async for _ in _heard(direct_url, EVENT_DUE):
        yield


async def _heard(direct_url: str, channel: LiteralString) -> AsyncIterator[str | None]:
    """What is said on a channel, for ever; none after each (re)connection, when something may have been missed."""
    while True:
        try:
            async for payload in _session(direct_url, channel):
                yield payload
        except (psycopg.Error, TimeoutError) as error:
            _log.warning("listener_lost", channel=channel, error=type(error).__name__)
        await asyncio.sleep(_RECONNECT_S)


async def _session(direct_url: str, channel: LiteralString) -> AsyncIterator[str | None]:
    async with await psycopg.AsyncConnection.connect(
        direct_url, autocommit=True, connect_timeout=2, application_name="gateway-listen"
    ) as connection:
        await connection.execute(f"listen {channel}")
        yield None
        while True:
            async for notice in connection.notifies(timeout=_HEARTBEAT_S):
                yield notice.payload
            async with asyncio.timeout(_ANSWER_MAX_S):
                await connection.execute("select 1")


def _decode(payload: str) -> InstallChanged | MayHaveMissed:
    try:
        return msgspec.json.decode(payload, type=InstallChanged)
    except msgspec.MsgspecError:
        return MayHaveMissed()  # a newer gateway speaks: what it meant is unknown, so nothing cached is safe

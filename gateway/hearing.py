"""What this gateway remembers of the database stays honest: other gateways announce what they change.

A hint, not a contract: what is remembered ends with its time in any case, within seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from gateway.identity.api_keys import ApiKeys
from gateway.installs.resolve import InstallResolver
from gateway.store.notices import Change, InstallChanged, KeyChanged, changes

_log = structlog.get_logger(__name__)


async def follow(heard: AsyncIterator[Change], resolver: InstallResolver, api_keys: ApiKeys) -> None:
    """Act on announcements, for ever."""
    async for change in heard:
        match change:
            case InstallChanged():
                resolver.forget(change.tenant_id)
            case KeyChanged():
                api_keys.forget(change.key_id)
            case _:
                resolver.doubt_all()
                api_keys.doubt_all()


@asynccontextmanager
async def open_hearing(direct_url: str, resolver: InstallResolver, api_keys: ApiKeys) -> AsyncIterator[None]:
    """Listen as long as the block lasts.

    Args:
        direct_url: PostgreSQL without a transaction pooler in between.
    """
    listener = asyncio.create_task(follow(changes(direct_url), resolver, api_keys), name="change listener")
    listener.add_done_callback(_ended)
    try:
        yield
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


def _ended(listener: asyncio.Task[None]) -> None:
    # Answers still end with their time; but changes then act within seconds instead of at once, which must be seen.
    if not listener.cancelled() and (error := listener.exception()) is not None:
        _log.error("change_listener_ended", error=repr(error))

"""Which calls an operator stopped with an emergency brake, known to this process: asked of the database every second.

The runners read the same brakes from the state feed and end what already runs. Here no new call is sent, so that a
brake acts even where a runner cannot hear of it. While the database does not answer, what was pulled stays pulled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from gateway.installs.resolved import ResolvedInstall
from gateway.store.platform import brakes
from gateway.store.pool import Database
from shared.brakes import Brake, CallFacts, parse
from shared.errors import InvalidRequest, PlatformError, Revoked
from shared.limits import STATE_POLL_S

_log = structlog.get_logger(__name__)

STOPPED: Final = "an operator of the platform stopped this call with an emergency brake"


class Stops:
    """The brakes that are pulled. Built by `open_stops`.

    Args:
        store: where they are.
    """

    def __init__(self, store: Database) -> None:
        self._store = store
        self._brakes: tuple[Brake, ...] = ()

    def check(self, install: ResolvedInstall) -> None:
        """Raise `Revoked` when a brake stops calls of this install."""
        if not self._brakes:
            return
        facts = CallFacts(
            tenant_id=install.tenant_id,
            install_id=install.install_id,
            version_id=install.version_id,
            content_hash=install.content_hash,
            publisher=install.publisher,
            capabilities=frozenset(install.capabilities),
        )
        if any(brake.stops(facts) for brake in self._brakes):
            raise Revoked(STOPPED)

    async def refresh(self) -> None:
        """Read them now. Raises `AccessPolicyUnavailable`."""
        found: list[Brake] = []
        for subject in await brakes.pulled(self._store):
            try:
                found.append(parse(subject))
            except InvalidRequest as error:  # of a later release, whose gateways refuse such calls
                _log.error("brake_not_understood", subject=subject, reason=error.detail)
        self._brakes = tuple(found)

    async def again(self) -> None:
        """Read them now, for who has just changed one; when that fails, the next turn does it."""
        try:
            await self.refresh()
        except PlatformError as error:
            _log.warning("brakes_not_read", code=error.code)

    async def follow(self) -> None:
        """Read them every `STATE_POLL_S`, for ever."""
        while True:
            await asyncio.sleep(STATE_POLL_S)
            await self.again()


@asynccontextmanager
async def open_stops(store: Database) -> AsyncIterator[Stops]:
    """The brakes, read once before the block and followed as long as it lasts. Raises `AccessPolicyUnavailable`."""
    found = Stops(store)
    await found.refresh()
    async with asyncio.TaskGroup() as group:
        following = group.create_task(found.follow(), name="follow emergency brakes")
        try:
            yield found
        finally:
            following.cancel()

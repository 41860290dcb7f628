"""Connections kept for the next fetch: of the same tenant, install and origin, and of nobody else.

An upstream sees which connection a request comes on, and can answer on it what nobody asked; so a connection never
passes from one install to another, let alone from one tenant to another. Few are kept, and not for long: ending them
sooner than servers do means that a request seldom meets a connection that is about to end.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from runner.egress.http1 import Connection
from shared.egress_url import Target
from shared.limits import (
    EGRESS_CONCURRENT_MAX_COUNT,
    EGRESS_CONNECTION_MAX_S,
    EGRESS_KEEPALIVE_S,
    EGRESS_KEPT_MAX_COUNT,
)


class Place(NamedTuple):
    """Whose a connection is, and where it leads."""

    tenant: str
    install: str
    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, tenant: str, install: str, target: Target) -> Place:
        """Where an install's connections to `target` are kept."""
        return cls(tenant, install, target.scheme, str(target.host), target.port)


class _Kept(NamedTuple):
    connection: Connection
    ending: asyncio.TimerHandle


class Pool:
    """The idle connections of one worker, the longest idle first."""

    def __init__(self) -> None:
        self._idle: OrderedDict[Place, list[_Kept]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def take(self, place: Place) -> Connection | None:
        """The connection that was used last, when there is one that still stands."""
        while place in self._idle:
            connection = self._remove(place, -1)
            if connection.reusable:
                return connection
            connection.close()
        return None

    def give(self, place: Place, connection: Connection) -> None:
        """Keep `connection`, or close it: what did not end in order, is too old or one too many is not kept."""
        loop = asyncio.get_running_loop()
        kept = self._idle.get(place, [])
        old = loop.time() - connection.opened_s >= EGRESS_CONNECTION_MAX_S
        if not connection.reusable or old or len(kept) >= EGRESS_CONCURRENT_MAX_COUNT:
            connection.close()
            return
        if self._count >= EGRESS_KEPT_MAX_COUNT:
            self._remove(next(iter(self._idle)), 0).close()
        ending = loop.call_later(EGRESS_KEEPALIVE_S, self._end, place, connection)
        self._idle.setdefault(place, []).append(_Kept(connection, ending))
        self._idle.move_to_end(place)
        self._count += 1

    async def aclose(self) -> None:
        """Close all of them."""
        while self._idle:
            self._remove(next(iter(self._idle)), 0).close()
        await asyncio.sleep(0)  # transports close in the next turn of the loop

    def _end(self, place: Place, connection: Connection) -> None:
        """A connection was idle for too long."""
        kept = self._idle.get(place, [])
        for at, known in enumerate(kept):
            if known.connection is connection:
                self._remove(place, at).close()
                return

    def _remove(self, place: Place, at: int) -> Connection:
        kept = self._idle[place]
        found = kept.pop(at)
        found.ending.cancel()
        self._count -= 1
        if not kept:
            del self._idle[place]
        return found.connection

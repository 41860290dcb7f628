"""Which runner takes a call: rendezvous hashing with bounded load, over the addresses `RUNNER_BASE_URL` means.

The same (bundle, tenant) prefers the same runner, where its sandbox is warm; a runner that has more than its
share (1.25 times the mean of calls under way) is passed over, so a popular key cannot drown one instance
(Mirrokni, Thorup, Zadimoghaddam 2016, on rendezvous instead of ring order). A runner that just refused a
connection is asked last.

`RUNNER_BASE_URL` is one URL, a comma list, or a URL whose name has one address for each runner (a headless
Service). In the last case the name is looked up again every few seconds and instances are addressed by IP, with
the name kept as `Host` and as the TLS name.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import math
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

import structlog

from shared.limits import RUNNER_DOWN_S, RUNNER_RESOLVE_S

LOAD_BOUND: Final = 1.25  # what the headroom costs in cache hits: 1.0 would spread every key, 2.0 lets one runner drown

Lookup = Callable[[str, int], Awaitable[tuple[str, ...]]]
"""Host name and port → its addresses."""


class Runner:
    """One instance.

    Attributes:
        base_url: where it is called.
        server_name: the name it was found under when `base_url` has an address instead, else none.
        in_flight: calls of this gateway under way there.
        down_until: monotonic seconds until which it is asked last.
    """

    __slots__ = ("base_url", "down_until", "in_flight", "server_name")

    def __init__(self, base_url: str, server_name: str | None = None) -> None:
        self.base_url = base_url
        self.server_name = server_name
        self.in_flight = 0
        self.down_until = 0.0

    def weight(self, key: bytes) -> bytes:
        """This runner's place for `key`: the highest is preferred."""
        return hashlib.blake2b(self.base_url.encode() + b"\0" + key, digest_size=8).digest()


class Fleet:
    """The runners there are.

    Args:
        urls: from the settings, at least one.
        clock: monotonic seconds.
        lookup: resolves a name to every address it has.
    """

    def __init__(self, urls: tuple[str, ...], clock: Callable[[], float], lookup: Lookup) -> None:
        self._urls = urls
        self._clock = clock
        self._lookup = lookup
        self._name = _name_to_resolve(urls)
        self._runners = {url: Runner(url) for url in urls}

    @property
    def runners(self) -> tuple[Runner, ...]:
        """Every instance known now."""
        return tuple(self._runners.values())

    def choose(self, key: str, exclude: Runner | None = None) -> Runner:
        """The runner for `key` (a bundle digest and a tenant).

        Args:
            key: calls with equal keys prefer the same runner.
            exclude: one that was just tried; taken again only when there is no other.
        """
        others = [runner for runner in self._runners.values() if runner is not exclude]
        candidates = others or list(self._runners.values())
        now = self._clock()
        up = [runner for runner in candidates if runner.down_until <= now] or candidates
        bound = math.ceil(LOAD_BOUND * (sum(runner.in_flight for runner in up) + 1) / len(up))
        token = key.encode()
        for runner in sorted(up, key=lambda runner: runner.weight(token), reverse=True):
            if runner.in_flight < bound:
                return runner
        return min(up, key=lambda runner: runner.in_flight)

    def refused(self, runner: Runner) -> None:
        """Note that no connection could be made."""
        runner.down_until = self._clock() + RUNNER_DOWN_S

    async def refresh(self) -> None:
        """Look the name up again; keeps what is known when that fails or finds nothing."""
        if self._name is None:
            return
        parts = urlsplit(self._name)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            async with asyncio.timeout(RUNNER_RESOLVE_S):
                addresses = await self._lookup(parts.hostname or "", port)
        except OSError as error:  # TimeoutError is one
            structlog.get_logger().warning("runner_lookup_failed", name=parts.hostname, error=str(error))
            return
        found = {f"{parts.scheme}://{_bracketed(address)}:{port}{parts.path}": address for address in addresses}
        if found:
            self._runners = {url: self._runners.get(url) or Runner(url, parts.netloc) for url in found}

    async def keep_fresh(self) -> None:
        """Look the name up for ever; returns at once when there is none to look up."""
        while self._name is not None:
            await asyncio.sleep(RUNNER_RESOLVE_S)
            await self.refresh()


async def system_lookup(host: str, port: int) -> tuple[str, ...]:
    """Every address of `host` of one family (a dual-stack pod is one runner). Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family = found[0][0]
    return tuple(sorted({str(address[0]) for kind, _, _, _, address in found if kind == family}))


def _name_to_resolve(urls: Iterable[str]) -> str | None:
    """The only URL when its host is a name with possibly several addresses; `localhost` is always one runner."""
    first, *more = urls
    host = urlsplit(first).hostname or ""
    if more or host == "localhost":
        return None
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return first
    return None


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address

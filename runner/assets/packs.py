"""UIs held ready by one worker process: unpacked on first use, shared by everyone who waits, bounded together.

A pack is served only under the trust it was verified under: when the trust bundle or the state feed changed anything,
the next request has its digest judged again, and a revoked one goes at once (threat T34).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

import msgspec
import structlog

from runner.assets.index import Pack, build
from runner.assets.policy import UiPolicy
from runner.bundles.archive import Archives
from runner.bundles.cache import DiskCache
from runner.bundles.negative import NegativeCache
from runner.bundles.single_flight import SingleFlight
from runner.bundles.statements import Statements
from shared.deadline import Deadline
from shared.errors import BundleUnavailable, CacheFull, PlatformError
from shared.ids import ContentHash
from shared.limits import MIB

PACKS_MAX_BYTES: Final = 512 * MIB  # bodies in one worker; large packs lie on the disk, where the kernel may drop pages
BUILD_MAX_MS: Final = 60_000  # fetch, unpack, compress; a usual UI takes 0.3 s
UNAVAILABLE_S: Final = 1.0

_log = structlog.get_logger()


class _Held(msgspec.Struct):
    generation: int
    pack: Pack


class Packs:
    """See the module. `aclose` it in the lifespan.

    Args:
        statements: who vouches for a digest.
        archives: verified archives.
        cache: where large packs lie, without a name.
        policy: what the operator decided about UI documents.
        max_bytes: of all packs together; the one just asked for is always held.
    """

    def __init__(
        self,
        statements: Statements,
        archives: Archives,
        cache: DiskCache,
        policy: UiPolicy,
        *,
        max_bytes: int = PACKS_MAX_BYTES,
    ) -> None:
        self._statements = statements
        self._archives = archives
        self._cache = cache
        self._policy = policy
        self._max_bytes = max_bytes
        self._bytes = 0
        self._held: OrderedDict[ContentHash, _Held] = OrderedDict()
        self._negative: NegativeCache[ContentHash] = NegativeCache()
        self._flights: SingleFlight[ContentHash, Pack] = SingleFlight("ui pack")

    async def get(self, content_hash: ContentHash, deadline: Deadline) -> Pack:
        """The UI of a bundle.

        Raises:
            NotFound: the extension has no UI.
            BundleNotFound, Revoked, BundleUntrusted, BundleUnavailable, CacheFull: as `Archives.opened`.
        """
        held = self._held.get(content_hash)
        if held is not None:
            if held.generation != self._statements.generation:
                await self._judge_again(content_hash, held, deadline)
            self._held.move_to_end(content_hash)
            return held.pack
        self._negative.check(content_hash)
        try:
            async with asyncio.timeout(deadline.remaining_s()):
                return await self._flights.run(content_hash, lambda: self._build(content_hash))
        except TimeoutError as error:
            raise BundleUnavailable("the UI is not unpacked yet", retry_after_s=2) from error

    async def aclose(self) -> None:
        """End what is under way and let go of every pack."""
        await self._flights.aclose()
        self._held.clear()
        self._bytes = 0

    async def _judge_again(self, content_hash: ContentHash, held: _Held, deadline: Deadline) -> None:
        generation = self._statements.generation
        try:
            await self._statements.verified(content_hash, deadline)
        except PlatformError:
            self._drop(content_hash)
            raise
        held.generation = generation

    async def _build(self, content_hash: ContentHash) -> Pack:
        deadline = Deadline.after_ms(BUILD_MAX_MS)
        generation = self._statements.generation
        try:
            statement = await self._statements.verified(content_hash, deadline)
            async with self._archives.opened(content_hash, deadline) as archive:
                with self._cache.scratch() as scratch:
                    pack = await asyncio.to_thread(build, archive, statement.manifest_sha256, self._policy, scratch)
        except PlatformError as error:
            passing = isinstance(error, BundleUnavailable | CacheFull)
            self._negative.remember(content_hash, error, UNAVAILABLE_S if passing else None)
            raise
        except OSError as error:
            _log.exception("ui_pack_failed", content_hash=content_hash)
            raise BundleUnavailable("this node has no room for the UI", retry_after_s=5) from error
        self._drop(content_hash)
        self._held[content_hash] = _Held(generation, pack)
        self._bytes += pack.size_bytes
        while self._bytes > self._max_bytes and len(self._held) > 1:
            self._drop(next(iter(self._held)))
        return pack

    def _drop(self, content_hash: ContentHash) -> None:
        held = self._held.pop(content_hash, None)
        if held is not None:
            self._bytes -= held.pack.size_bytes

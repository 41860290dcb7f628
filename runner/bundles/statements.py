"""What is signed about a digest: the statement in `SIGNATURE.json`, fetched once and verified against current trust.

Every load and every served file begins here, so the answer for a known digest is one dictionary look-up. A verdict
holds for one generation of the trust bundle: when a key is revoked or the bundle changes, the envelope is judged
again, and a fresh one is fetched if the old one no longer convinces, since signatures can be added to a bundle.

Signature, publisher and revocation are judged; expiry never is, because it was judged and recorded at publish.

The workers of a node fetch a statement once: a lock that ends with its holder is kept until the disk has it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from typing import Final

import msgspec
import structlog

from runner.bundles.background import Background
from runner.bundles.cache import DiskCache
from runner.bundles.negative import NegativeCache
from runner.bundles.objects import Objects
from runner.bundles.single_flight import SingleFlight
from shared.deadline import Deadline
from shared.errors import (
    BundleRefused,
    BundleUnavailable,
    BundleUntrusted,
    PlatformError,
    Revoked,
    SignatureKeyRevoked,
)
from shared.ids import ContentHash, digest_hex
from shared.limits import SIGNATURE_MAX_BYTES
from shared.signing import BundleStatement, decode_envelope, verify_envelope
from shared.trust import TrustStore

FETCH_MAX_MS: Final = 5_000  # 64 KiB; callers wait with their own deadlines
REMEMBERED_MAX: Final = 10_000  # digests, about 1 KiB each
UNAVAILABLE_S: Final = 1.0  # a dead store is asked once a second, not once a request

_log = structlog.get_logger()


class _Verdict(msgspec.Struct, frozen=True):
    """A statement that convinced, and when: `generation` of the trust bundle."""

    generation: int
    envelope: bytes
    statement: BundleStatement


class Statements:
    """See the module. One per worker process; `aclose` it in the lifespan.

    Args:
        objects: the store.
        cache: the node's disk; what comes from it is judged like everything else.
        trust: whose signatures count.
        background: where disk writes go on after the answer.
    """

    def __init__(self, objects: Objects, cache: DiskCache, trust: TrustStore, background: Background) -> None:
        self._objects = objects
        self._cache = cache
        self._trust = trust
        self._background = background
        self._verdicts: OrderedDict[ContentHash, _Verdict] = OrderedDict()
        self._negative: NegativeCache[ContentHash] = NegativeCache()
        self._flights: SingleFlight[ContentHash, BundleStatement] = SingleFlight("statement")

    @property
    def generation(self) -> int:
        """Of the trust bundle in force: what was verified under another one is verified again."""
        return self._trust.generation

    async def verified(self, content_hash: ContentHash, deadline: Deadline) -> BundleStatement:
        """The statement that trusted keys vouch for right now.

        Raises:
            BundleNotFound: the store has no such bundle.
            Revoked: it was signed by a revoked key.
            BundleUntrusted: no signature of a trusted key fits the digest.
            BundleUnavailable: the store does not answer, or not before `deadline`.
        """
        known = self._verdicts.get(content_hash)
        if known is not None and known.generation == self._trust.generation:
            self._verdicts.move_to_end(content_hash)
            return known.statement
        self._negative.check(content_hash)
        try:
            async with asyncio.timeout(deadline.remaining_s()):
                return await self._flights.run(content_hash, lambda: self._obtain(content_hash))
        except TimeoutError as error:
            raise BundleUnavailable("the signature is not here yet", retry_after_s=2) from error

    async def aclose(self) -> None:
        """End what is under way."""
        await self._flights.aclose()

    async def _obtain(self, content_hash: ContentHash) -> BundleStatement:
        try:
            return await self._judged(content_hash)
        except PlatformError as error:
            self._verdicts.pop(content_hash, None)
            self._negative.remember(
                content_hash, error, UNAVAILABLE_S if isinstance(error, BundleUnavailable) else None
            )
            raise

    async def _judged(self, content_hash: ContentHash) -> BundleStatement:
        """The first envelope that convinces: the one at hand, the disk's, the store's."""
        name = f"signatures/{digest_hex(content_hash)}.json"
        refusal: PlatformError | None = None
        known = self._verdicts.get(content_hash)
        at_hand = known.envelope if known is not None else await self._cache.read(name, SIGNATURE_MAX_BYTES)
        if at_hand is not None:
            try:
                return self._judge(content_hash, at_hand)
            except PlatformError as error:
                refusal = error
                await self._cache.drop(name)
        try:
            return await self._fetched(content_hash, name)
        except BundleUnavailable:
            if refusal is not None:
                raise refusal from None  # the last word about it stands while the store is away
            raise

    async def _fetched(self, content_hash: ContentHash, name: str) -> BundleStatement:
        """The store's envelope, or the one that another worker of this node has just fetched."""
        async with contextlib.AsyncExitStack() as held:
            waited = await held.enter_async_context(self._cache.exclusive(name, Deadline.after_ms(FETCH_MAX_MS)))
            if waited and (written := await self._cache.read(name, SIGNATURE_MAX_BYTES)) is not None:
                with contextlib.suppress(PlatformError):  # the store has the last word
                    return self._judge(content_hash, written)
            fetched = await self._objects.read(
                f"sha256/{digest_hex(content_hash)}/SIGNATURE.json",
                max_bytes=SIGNATURE_MAX_BYTES,
                deadline=Deadline.after_ms(FETCH_MAX_MS),
            )
            statement = self._judge(content_hash, fetched)
            lock = held.pop_all()
            if not self._background.start("keep signature", self._keep(name, fetched, lock)):
                await lock.aclose()
        return statement

    def _judge(self, content_hash: ContentHash, envelope: bytes) -> BundleStatement:
        generation = self._trust.generation
        try:
            statement = verify_envelope(
                decode_envelope(envelope), self._trust.current(), content_hash=content_hash, judge_expiry_at=None
            )
        except SignatureKeyRevoked as error:
            raise Revoked(error.detail) from error
        except BundleRefused as error:
            _log.error("bundle_untrusted", content_hash=content_hash, reason=error.code)
            raise BundleUntrusted(f"{error.code}: {error.detail}") from error
        self._verdicts[content_hash] = _Verdict(generation, envelope, statement)
        self._verdicts.move_to_end(content_hash)
        while len(self._verdicts) > REMEMBERED_MAX:
            self._verdicts.popitem(last=False)
        return statement

    async def _keep(self, name: str, envelope: bytes, lock: contextlib.AsyncExitStack) -> None:
        async with lock:
            await self._cache.write(name, envelope)

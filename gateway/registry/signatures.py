"""What vouches for a bundle: verified before anything is unpacked, and again whenever it is relied on."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gateway.objects import keys
from gateway.objects.client import ObjectStore
from gateway.store.platform import feed
from gateway.store.pool import Database
from shared.errors import BundleUnavailable, SignatureRefused
from shared.ids import ContentHash
from shared.limits import SIGNATURE_MAX_BYTES
from shared.signing import BundleStatement, Envelope, decode_envelope, encode_envelope, verify_envelope
from shared.trust import TrustStore


class Vouched(msgspec.Struct, frozen=True):
    """An envelope that was verified, and what it says."""

    envelope: Envelope
    statement: BundleStatement

    @property
    def stored(self) -> bytes:
        """The envelope as it is stored."""
        return encode_envelope(self.envelope)


class Signatures:
    """Verifies envelopes against the trust bundle in force and the keys the state feed revoked.

    Args:
        trust: re-read when it changes.
        store: where revocations are.
    """

    def __init__(self, trust: TrustStore, store: Database) -> None:
        self._trust = trust
        self._store = store

    async def verify(self, data: bytes, content_hash: ContentHash, *, published_at: datetime | None = None) -> Vouched:
        """The statement in a DSSE envelope that enough trusted keys signed over this digest.

        Args:
            data: the envelope as JSON.
            content_hash: of the bytes at hand.
            published_at: the registry's clock at publish, when key expiry is judged; `None` later.

        Raises:
            SignatureRefused: its code says why; also `ContentHashMismatch`.
            AccessPolicyUnavailable: revocations cannot be looked up.
        """
        envelope = decode_envelope(data)
        async with self._store.platform() as tx:
            revoked = await feed.revoked_keys(tx)
        statement = verify_envelope(
            envelope,
            self._trust.current(),
            content_hash=content_hash,
            judge_expiry_at=published_at,
            revoked=revoked,
        )
        return Vouched(envelope, statement)

    async def verify_one(self, envelope: Envelope, content_hash: ContentHash, published_at: datetime) -> None:
        """Check one more signature over a bundle that is published already: its key counts now, whatever the threshold.

        Raises:
            SignatureRefused: its code says why; also `ContentHashMismatch`.
            AccessPolicyUnavailable: revocations cannot be looked up.
        """
        async with self._store.platform() as tx:
            revoked = await feed.revoked_keys(tx)
        verify_envelope(
            envelope,
            msgspec.structs.replace(self._trust.current(), threshold=1, unsigned_allowed=False),
            content_hash=content_hash,
            judge_expiry_at=published_at,
            revoked=revoked,
        )

    async def keep(self, objects: ObjectStore, vouched: Vouched) -> None:
        """Store the envelope beside its archive, unless one that still vouches stands there.

        Raises:
            BundleUnavailable: the store failed, or somebody else writes the same file right now.
        """
        digest = ContentHash(vouched.statement.content_hash)
        key = keys.signature(digest)
        if await objects.put_once(key, vouched.stored, "application/json"):
            return
        present = await objects.get_small(key, SIGNATURE_MAX_BYTES)
        if present is not None and await self._vouches(present.data, digest):
            return
        etag = present.etag if present is not None else ""
        if not await objects.replace(key, vouched.stored, "application/json", etag):
            raise BundleUnavailable("the signature is being written by somebody else", retry_after_s=1)

    async def _vouches(self, data: bytes, digest: ContentHash) -> bool:
        try:
            await self.verify(data, digest)
        except SignatureRefused:
            return False
        return True

"""Three keys, one statement, one envelope; and how a test signs and verifies."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from shared.digest import content_hash_of
from shared.keys import PrivateKey
from shared.signing import (
    PAYLOAD_TYPE,
    BundleStatement,
    Envelope,
    add_signature,
    sign_statement,
    statement_bytes,
    verify_envelope,
)
from shared.trust import TrustBundle, TrustedKey

ALICE, BOB, EVE = (PrivateKey(bytes([seed]) * 32) for seed in (1, 2, 3))
NOON = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
HASH = content_hash_of(b"the archive")
STATEMENT = BundleStatement(
    content_hash=HASH,
    name="com.acme.tickets",
    publisher="acme",
    version="1.4.0",
    manifest_sha256="1" * 64,
    component_sha256="2" * 64,
    issued_at=NOON,
)
ENVELOPE = sign_statement(STATEMENT, ALICE)
PAYLOAD = statement_bytes(STATEMENT)


def trust(*keys: TrustedKey | PrivateKey, threshold: int = 1, revoked: frozenset[str] = frozenset()) -> TrustBundle:
    entries = [TrustedKey(key=key.public) if isinstance(key, PrivateKey) else key for key in keys]
    return TrustBundle({entry.key.key_id: entry for entry in entries}, threshold, revoked)


def verify(envelope=ENVELOPE, bundle=None, *, content_hash=HASH, at=None, revoked=frozenset()):
    bundle = bundle or trust(ALICE)
    return verify_envelope(envelope, bundle, content_hash=content_hash, judge_expiry_at=at, revoked=revoked)


def signed(payload: bytes, *keys: PrivateKey, kind: str = PAYLOAD_TYPE) -> Envelope:
    envelope = Envelope(kind, base64.b64encode(payload).decode(), ())
    for key in keys or (ALICE,):
        envelope = add_signature(envelope, key)
    return envelope

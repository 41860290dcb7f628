"""Another key holder signs a version that is published already: the envelope in the bucket and in the row gets longer.

    stored object + row + new signatures → one envelope → object replaced, if it is still what was read → row

The object comes first, since runners read it. A crash between the two leaves an object that vouches for more than the
row says, which repeating the call repairs; no step ever takes a signature away.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from gateway.identity.actor import Actor
from gateway.objects import keys
from gateway.objects.client import ObjectStore
from gateway.registry.signatures import Signatures
from gateway.store import audit_log, registry
from gateway.store.pool import Database
from gateway.store.registry import Version
from shared import ids
from shared.errors import Conflict, Forbidden, NotFound, Revoked, SignatureInvalid, SignatureMissing
from shared.limits import SIGNATURE_MAX_BYTES
from shared.registry_limits import COUNTERSIGN_ATTEMPTS_MAX_COUNT
from shared.signing import Envelope, decode_envelope, encode_envelope


class Countersignature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /api/registry/versions/{id}/signatures`: a DSSE envelope over the payload that was published."""

    signature: msgspec.Raw = msgspec.Raw()


async def add(
    store: Database, objects: ObjectStore, signatures: Signatures, actor: Actor, version_id: str, data: bytes
) -> Version:
    """Add the signatures of an envelope to a version; nothing changes when all of them are there.

    Raises:
        NotFound: no such version, as far as this account knows.
        Forbidden: it is another account's.
        Revoked: it was revoked, which no signature undoes.
        SignatureRefused: the envelope is not over the published payload, or a key of it does not count now.
        Conflict: others kept writing the same file, or there are too many signatures; repeat the call.
        BundleUnavailable: the store failed; repeat the call.
    """
    version = await _own(store, actor, version_id)
    fresh = await _acceptable(signatures, version, data)
    for _ in range(COUNTERSIGN_ATTEMPTS_MAX_COUNT):
        version = await _own(store, actor, version_id)
        merged = await _write_object(objects, version, fresh)
        if merged is not None and await _write_row(store, actor, version, merged):
            return await _own(store, actor, version_id)
    raise Conflict("others are signing this version right now; repeat the call")


async def _own(store: Database, actor: Actor, version_id: str) -> Version:
    async with store.tenant(actor.tenant_id) as tx:
        version = await registry.version_by_id(tx, version_id)
    if version is None:
        raise NotFound("no such version")
    if version.owner_account != actor.tenant_id:
        raise Forbidden("only the account that owns an extension may add signatures")
    if version.revoked_at is not None:
        raise Revoked("this version was revoked; publish another one")
    return version


async def _acceptable(signatures: Signatures, version: Version, data: bytes) -> Envelope:
    """The envelope, when every one of its signatures counts."""
    fresh, present = decode_envelope(data), decode_envelope(version.signature)
    if not fresh.signatures:
        raise SignatureMissing("the envelope has no signatures; sign the bundle")
    if (fresh.payloadType, fresh.payload) != (present.payloadType, present.payload):
        raise SignatureInvalid("the signature must be over the published payload; sign the envelope that is stored")
    digest = ids.ContentHash(version.content_hash)
    for one in fresh.signatures:
        await signatures.verify_one(msgspec.structs.replace(fresh, signatures=(one,)), digest, datetime.now(UTC))
    return fresh


async def _write_object(objects: ObjectStore, version: Version, fresh: Envelope) -> bytes | None:
    """The merged envelope as it stands in the bucket now; none when somebody else wrote in between."""
    key = keys.signature(ids.ContentHash(version.content_hash))
    stored = await objects.get_small(key, SIGNATURE_MAX_BYTES)
    before = [decode_envelope(version.signature), *([decode_envelope(stored.data)] if stored is not None else [])]
    merged = _merged([*before, fresh])
    if stored is None:
        return merged if await objects.put_once(key, merged, "application/json") else None
    if stored.data == merged:
        return merged
    return merged if await objects.replace(key, merged, "application/json", stored.etag) else None


async def _write_row(store: Database, actor: Actor, version: Version, merged: bytes) -> bool:
    envelope, before = decode_envelope(merged), decode_envelope(version.signature)
    known = {one.keyid for one in before.signatures}
    added = [one.keyid for one in envelope.signatures if one.keyid not in known]
    if envelope == before:
        return True
    async with store.tenant(actor.tenant_id) as tx:
        if not await registry.replace_signature(tx, version.id, version.signature, merged):
            return False
        change = actor.did("version.countersigned", "version", version.id, key_ids=added)
        await audit_log.record(tx, change)
    return True


def _merged(envelopes: list[Envelope]) -> bytes:
    """All signatures over the first envelope's payload, each once, in the order they came."""
    first = envelopes[0]
    found = dict.fromkeys(
        one
        for envelope in envelopes
        if (envelope.payloadType, envelope.payload) == (first.payloadType, first.payload)
        for one in envelope.signatures
    )
    data = encode_envelope(msgspec.structs.replace(first, signatures=tuple(found)))
    if len(data) > SIGNATURE_MAX_BYTES:
        raise Conflict(f"an envelope has at most {SIGNATURE_MAX_BYTES} bytes; it holds as many signatures as it can")
    return data

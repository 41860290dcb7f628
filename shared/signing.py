"""Signatures of bundles: DSSE envelopes (Dead Simple Signing Envelope, v1.0.2) over a small statement, Ed25519.

What is signed is not the archive but a statement *about* it: its digest, whose it is, and the digests of the two
members that decide what runs. So a signature covers bytes and publisher, never a URL or a host name, and execution
needs no archive: `component_sha256` comes from here.

Verification order: signatures over the bytes first, by keys that are known; only then is the payload parsed, and only
the payload whose bytes were verified. Nothing is ever serialised again to be compared. Several signatures may stand
in one envelope; a key counts once; a signature that does not count does no harm to those that do.

Forms that decode to the same bytes in two ways (base64 with stray bits, a name twice in JSON) are refused, so that
an envelope has exactly one writing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
import rfc8785
from msgspec import Meta

from shared import strict_base64
from shared.errors import (
    ContentHashMismatch,
    SignatureInvalid,
    SignatureKeyExpired,
    SignatureKeyRevoked,
    SignatureMissing,
    SignaturePublisherMismatch,
    SignatureRefused,
    SignatureThreshold,
    SignatureUntrustedKey,
)
from shared.ids import ContentHash
from shared.keys import PrivateKey
from shared.limits import SIGNATURE_MAX_BYTES
from shared.manifest_parts import Name, Publisher, SemVer
from shared.strict_base64 import StrictBase64Error
from shared.strict_json import StrictJsonError, loads
from shared.trust import TrustBundle, TrustedKey

PAYLOAD_TYPE: Final = "application/vnd.alga.bundle+json"

_MAX_DEPTH: Final = 4
_Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", max_length=64)]
_Digest = Annotated[ContentHash, Meta(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]


class BundleStatement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a signature says about a bundle. Evolution rule: another set of fields is another payload type.

    Attributes:
        content_hash: of the compressed archive.
        name: the manifest's.
        publisher: the manifest's.
        version: the manifest's.
        manifest_sha256: hex, over the bytes of `manifest.json`.
        component_sha256: hex, over the component's bytes; `None` for a UI-only bundle.
        issued_at: when it was signed, to the second, with zone.
    """

    content_hash: _Digest
    name: Name
    publisher: Publisher
    version: SemVer
    manifest_sha256: _Sha256
    component_sha256: _Sha256 | None
    issued_at: Annotated[datetime, Meta(tz=True)]


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One signature: `sig` is the base64 of 64 bytes."""

    keyid: str
    sig: str


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A DSSE envelope, with the names of its JSON form."""

    payloadType: str  # noqa: N815  # the name in the DSSE specification
    payload: str
    signatures: tuple[Signature, ...]


# ---- signing ------------------------------------------------------------------------------------------------


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """PAE of DSSE v1: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def statement_bytes(statement: BundleStatement) -> bytes:
    """The statement as RFC 8785 (canonical) JSON; `issued_at` in UTC, to the second, with `Z`."""
    issued_at = statement.issued_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return rfc8785.dumps({**msgspec.structs.asdict(statement), "issued_at": issued_at})


def sign_statement(statement: BundleStatement, key: PrivateKey) -> Envelope:
    """An envelope with one signature. Raises `SignatureInvalid` for a statement no verifier would accept."""
    return add_signature(unsigned_envelope(statement), key)


def unsigned_envelope(statement: BundleStatement) -> Envelope:
    """An envelope without signatures, which counts nowhere but under `EXT_ALLOW_UNSIGNED` (decision 0024).

    Raises:
        SignatureInvalid: a statement no verifier would accept.
    """
    payload = statement_bytes(statement)
    _statement(payload)
    return Envelope(PAYLOAD_TYPE, base64.b64encode(payload).decode(), ())


def add_signature(envelope: Envelope, key: PrivateKey) -> Envelope:
    """The envelope with one more signature over the same bytes; unchanged if this key signed already.

    Raises:
        SignatureInvalid: the payload is not base64.
    """
    message = pre_authentication_encoding(envelope.payloadType, _decode64(envelope.payload))
    signature = Signature(key.key_id, base64.b64encode(key.sign(message)).decode())
    if signature in envelope.signatures:
        return envelope
    return msgspec.structs.replace(envelope, signatures=(*envelope.signatures, signature))


def encode_envelope(envelope: Envelope) -> bytes:
    """The envelope as JSON, one line, as it is stored in `SIGNATURE.json`."""
    return msgspec.json.encode(envelope) + b"\n"


def decode_envelope(data: bytes) -> Envelope:
    """The envelope that `data` writes; nothing about it is verified yet.

    Raises:
        SignatureMissing: no bytes.
        SignatureInvalid: not a DSSE envelope, or larger than `SIGNATURE_MAX_BYTES`.
    """
    if not data.strip():
        raise SignatureMissing("sign the bundle and send the DSSE envelope with it")
    try:
        document = loads(data, max_bytes=SIGNATURE_MAX_BYTES, max_depth=_MAX_DEPTH)
        envelope = msgspec.convert(document, Envelope)
    except (StrictJsonError, msgspec.ValidationError) as error:
        raise SignatureInvalid(f"the signature is not a DSSE envelope: {error}") from error
    return envelope


# ---- verifying ----------------------------------------------------------------------------------------------


def verify_envelope(
    envelope: Envelope,
    trust: TrustBundle,
    *,
    content_hash: ContentHash,
    judge_expiry_at: datetime | None,
    revoked: frozenset[str] = frozenset(),
) -> BundleStatement:
    """The statement, if enough trusted keys vouch for it and it is about these bytes.

    Where unsigned bundles are allowed, an envelope without any signature counts too; one whose signatures do not
    count is refused there as everywhere, since somebody meant it to be verified.

    Args:
        envelope: as decoded.
        trust: the keys that count.
        content_hash: of the archive at hand, computed by the caller from its bytes.
        judge_expiry_at: the registry's clock at publish; `None` at load and serve, where expiry is not judged.
        revoked: further revoked key ids, for instance those of a state feed.

    Raises:
        SignatureMissing: there is none.
        SignatureInvalid: another payload type, or no known key's signature fits the bytes.
        SignatureUntrustedKey, SignatureKeyRevoked, SignatureKeyExpired, SignaturePublisherMismatch: why the
            signatures that fit do not count.
        SignatureThreshold: some count, but fewer than the trust bundle asks for.
        ContentHashMismatch: a good signature for another archive.
    """
    if not envelope.signatures and not trust.unsigned_allowed:
        raise SignatureMissing("the envelope has no signatures; sign the bundle")
    if envelope.payloadType != PAYLOAD_TYPE:
        raise SignatureInvalid(f"payloadType must be {PAYLOAD_TYPE}")
    payload = _decode64(envelope.payload)
    signers = _signers(envelope, payload, trust) if envelope.signatures else []
    statement = _statement(payload)
    if envelope.signatures:
        _check_signers(signers, statement, trust, judge_expiry_at, revoked)
    if statement.content_hash != content_hash:
        raise ContentHashMismatch("the signature is for another archive; sign the bytes that are sent")
    return statement


def _check_signers(
    signers: list[TrustedKey],
    statement: BundleStatement,
    trust: TrustBundle,
    judge_expiry_at: datetime | None,
    revoked: frozenset[str],
) -> None:
    """Return when enough of them count. Raises as `verify_envelope`."""
    refusals: list[SignatureRefused] = []
    for signer in signers:
        refusal = _refusal(signer, statement, trust, judge_expiry_at, revoked)
        if refusal is not None:
            refusals.append(refusal)
    counted = len(signers) - len(refusals)
    if counted == 0:
        raise refusals[0]
    if counted < trust.threshold:
        raise SignatureThreshold(f"{counted} of {trust.threshold} trusted signatures; have another key holder sign")


def _signers(envelope: Envelope, payload: bytes, trust: TrustBundle) -> list[TrustedKey]:
    """The known keys whose signature fits the bytes, each once."""
    message = pre_authentication_encoding(envelope.payloadType, payload)
    known = [(trust.keys[one.keyid], one) for one in envelope.signatures if one.keyid in trust.keys]
    if not known:
        named = ", ".join(_short(one.keyid) for one in envelope.signatures[:4])
        raise SignatureUntrustedKey(f"no signing key is trusted here ({named}); sign with one that is")
    fitting = {signer.key.key_id: signer for signer, one in known if _fits(signer, one, message)}
    if not fitting:
        raise SignatureInvalid("no signature of a trusted key fits the bytes; sign the bundle again")
    return list(fitting.values())


def _fits(signer: TrustedKey, signature: Signature, message: bytes) -> bool:
    try:
        return signer.key.verify(message, _decode64(signature.sig))
    except SignatureInvalid:
        return False


def _refusal(
    signer: TrustedKey,
    statement: BundleStatement,
    trust: TrustBundle,
    judge_expiry_at: datetime | None,
    revoked: Iterable[str],
) -> SignatureRefused | None:
    key_id = signer.key.key_id
    if trust.is_revoked(key_id) or key_id in revoked:
        return SignatureKeyRevoked(f"key {key_id} was revoked; sign with another one")
    if judge_expiry_at is not None and not signer.valid_at(judge_expiry_at):
        return SignatureKeyExpired(f"key {key_id} is outside its time of validity; sign with a current one")
    if not signer.may_sign_for(statement.publisher):
        return SignaturePublisherMismatch(f"key {key_id} may not sign for publisher {statement.publisher}")
    return None


def _statement(payload: bytes) -> BundleStatement:
    try:
        document = loads(payload, max_bytes=SIGNATURE_MAX_BYTES, max_depth=_MAX_DEPTH)
        statement = msgspec.convert(document, BundleStatement)
    except (StrictJsonError, msgspec.ValidationError) as error:
        raise SignatureInvalid(f"the signed payload is not a bundle statement: {error}") from error
    if "\n" in statement.name + statement.publisher + statement.version:  # `$` in a pattern lets one end a text
        raise SignatureInvalid("the signed payload is not a bundle statement: a name ends in a line break")
    return statement


def _decode64(text: str) -> bytes:
    try:
        return strict_base64.decode(text)
    except StrictBase64Error as error:
        raise SignatureInvalid(f"the texts of an envelope {error}") from error


def _short(key_id: str) -> str:
    return key_id[:16] if key_id[:16].isalnum() else "an unreadable key id"

"""DSSE signatures of bundles: pinned bytes, the seven refusals, one form."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime, timedelta, timezone

import msgspec
import pytest

from shared.digest import content_hash_of
from shared.errors import (
    ContentHashMismatch,
    SignatureInvalid,
    SignatureKeyExpired,
    SignatureKeyRevoked,
    SignatureMissing,
    SignaturePublisherMismatch,
    SignatureThreshold,
    SignatureUntrustedKey,
)
from shared.limits import SIGNATURE_MAX_BYTES
from shared.signing import (
    PAYLOAD_TYPE,
    Signature,
    add_signature,
    decode_envelope,
    encode_envelope,
    pre_authentication_encoding,
    sign_statement,
    statement_bytes,
    unsigned_envelope,
)
from shared.trust import TrustedKey
from tests.shared.signatures import ALICE, BOB, ENVELOPE, EVE, HASH, NOON, PAYLOAD, STATEMENT, signed, trust, verify

# ---- bytes --------------------------------------------------------------------------------------------------


def test_the_encoding_before_signing_is_that_of_the_dsse_specification():
    assert pre_authentication_encoding("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pre_authentication_encoding("", "é".encode()) == b"DSSEv1 0  2 \xc3\xa9"


def test_the_signed_payload_is_pinned():
    expected = (
        b'{"component_sha256":"'
        + b"2" * 64
        + b'","content_hash":"'
        + HASH.encode()
        + b'","issued_at":"2026-06-01T12:00:00Z",'
        b'"manifest_sha256":"' + b"1" * 64 + b'","name":"com.acme.tickets","publisher":"acme","version":"1.4.0"}'
    )
    assert expected == PAYLOAD


def test_a_ui_only_statement_says_null():
    statement = msgspec.structs.replace(STATEMENT, component_sha256=None)
    assert statement_bytes(statement).startswith(b'{"component_sha256":null,"content_hash":')
    assert verify(sign_statement(statement, ALICE)) == statement


def test_the_time_is_written_in_utc_to_the_second():
    moment = datetime(2026, 6, 1, 14, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert statement_bytes(msgspec.structs.replace(STATEMENT, issued_at=moment)) == PAYLOAD


def test_the_envelope_is_pinned():
    signature = base64.b64encode(ALICE.sign(b"DSSEv1 32 " + PAYLOAD_TYPE.encode() + b" %d " % len(PAYLOAD) + PAYLOAD))
    assert encode_envelope(ENVELOPE) == (
        b'{"payloadType":"application/vnd.alga.bundle+json","payload":"'
        + base64.b64encode(PAYLOAD)
        + b'","signatures":[{"keyid":"'
        + ALICE.key_id.encode()
        + b'","sig":"'
        + signature
        + b'"}]}\n'
    )
    assert (
        hashlib.sha256(encode_envelope(ENVELOPE)).hexdigest()
        == "b3a5be36619dc1a57f10230436e6c2e6cf2726dc5a905eb0d2c11ef2a3e490e2"
    )


def test_an_envelope_is_read_back_as_itself():
    envelope = add_signature(ENVELOPE, BOB)
    assert decode_envelope(encode_envelope(envelope)) == envelope


# ---- accepted -----------------------------------------------------------------------------------------------


def test_a_good_signature_gives_the_statement():
    assert verify() == STATEMENT


def test_the_payload_is_checked_as_bytes_and_never_written_again():
    spaced = json.dumps(json.loads(PAYLOAD), indent=2).encode()
    assert verify(signed(spaced)) == STATEMENT


def test_signatures_that_do_not_count_do_no_harm_to_one_that_does():
    broken = Signature(BOB.key_id, base64.b64encode(bytes(64)).decode())
    unreadable = Signature(BOB.key_id, "not base64")
    stranger = Signature("", "")
    envelope = add_signature(add_signature(ENVELOPE, EVE), BOB)
    envelope = msgspec.structs.replace(envelope, signatures=(broken, unreadable, stranger, *envelope.signatures))
    assert verify(envelope, trust(ALICE)) == STATEMENT
    assert verify(envelope, trust(ALICE, BOB, threshold=2)) == STATEMENT
    assert verify(envelope, trust(ALICE, BOB, revoked=frozenset({BOB.key_id}))) == STATEMENT


def test_a_statement_that_no_verifier_would_accept_is_not_signed():
    with pytest.raises(SignatureInvalid):
        sign_statement(msgspec.structs.replace(STATEMENT, publisher="Acme"), ALICE)


def test_signing_again_with_the_same_key_changes_nothing():
    assert add_signature(ENVELOPE, ALICE) == ENVELOPE


# ---- the seven refusals -------------------------------------------------------------------------------------


def test_an_envelope_without_signatures_is_missing_one():
    with pytest.raises(SignatureMissing):
        verify(msgspec.structs.replace(ENVELOPE, signatures=()))


@pytest.mark.parametrize("data", [b"", b" \n"])
def test_no_signature_at_all_is_missing(data):
    with pytest.raises(SignatureMissing):
        decode_envelope(data)


def test_an_unsigned_statement_counts_only_where_it_is_allowed():
    envelope, allowed = unsigned_envelope(STATEMENT), msgspec.structs.replace(trust(ALICE), unsigned_allowed=True)
    assert decode_envelope(encode_envelope(envelope)) == envelope
    with pytest.raises(SignatureMissing):
        verify(envelope)
    assert verify(envelope, allowed) == STATEMENT
    with pytest.raises(ContentHashMismatch):
        verify(envelope, allowed, content_hash=content_hash_of(b"another archive"))
    with pytest.raises(SignatureInvalid):
        verify(msgspec.structs.replace(envelope, payloadType="application/json"), allowed)
    with pytest.raises(SignatureInvalid):
        verify(msgspec.structs.replace(envelope, payload=base64.b64encode(b"{}").decode()), allowed)


def test_signatures_that_do_not_count_are_refused_where_unsigned_bundles_are_allowed():
    allowed = msgspec.structs.replace(trust(ALICE), unsigned_allowed=True)
    with pytest.raises(SignatureUntrustedKey):
        verify(signed(PAYLOAD, EVE), allowed)
    with pytest.raises(SignatureKeyRevoked):
        verify(ENVELOPE, allowed, revoked=frozenset({ALICE.key_id}))


def test_an_unknown_key_is_not_trusted():
    with pytest.raises(SignatureUntrustedKey) as caught:
        verify(bundle=trust(BOB))
    assert ALICE.key_id in caught.value.detail


def test_a_signature_under_anothers_key_id_is_invalid():
    forged = Signature(ALICE.key_id, sign_statement(STATEMENT, EVE).signatures[0].sig)
    with pytest.raises(SignatureInvalid):
        verify(msgspec.structs.replace(ENVELOPE, signatures=(forged,)))


def test_a_signature_for_another_payload_type_is_invalid():
    other = signed(PAYLOAD, kind="application/vnd.other+json")
    with pytest.raises(SignatureInvalid, match="payloadType"):
        verify(other)
    with pytest.raises(SignatureInvalid, match="fits"):
        verify(msgspec.structs.replace(other, payloadType=PAYLOAD_TYPE))


def test_expiry_is_judged_at_publish_and_not_at_load():
    key = TrustedKey(key=ALICE.public, not_before=NOON, not_after=NOON + timedelta(days=1))
    for at in (NOON, NOON + timedelta(days=1), None):
        assert verify(bundle=trust(key), at=at) == STATEMENT
    for at in (NOON - timedelta(seconds=1), NOON + timedelta(days=1, seconds=1)):
        with pytest.raises(SignatureKeyExpired):
            verify(bundle=trust(key), at=at)


def test_a_key_revoked_in_the_bundle_by_the_feed_or_by_the_caller_is_refused():
    in_file = trust(TrustedKey(key=ALICE.public, revoked_at=NOON + timedelta(days=999)))
    by_feed = trust(ALICE, revoked=frozenset({ALICE.key_id}))
    for bundle in (in_file, by_feed):
        with pytest.raises(SignatureKeyRevoked):
            verify(bundle=bundle)
    with pytest.raises(SignatureKeyRevoked):
        verify(revoked=frozenset({ALICE.key_id}))
    assert verify(revoked=frozenset({BOB.key_id})) == STATEMENT


def test_a_key_signs_for_its_publishers_only():
    assert verify(bundle=trust(TrustedKey(key=ALICE.public, publishers=frozenset({"acme", "globex"})))) == STATEMENT
    with pytest.raises(SignaturePublisherMismatch):
        verify(bundle=trust(TrustedKey(key=ALICE.public, publishers=frozenset({"globex"}))))


def test_fewer_trusted_signatures_than_the_threshold_are_refused():
    bundle = trust(ALICE, BOB, threshold=2)
    with pytest.raises(SignatureThreshold):
        verify(bundle=bundle)
    with pytest.raises(SignatureThreshold):
        verify(add_signature(ENVELOPE, EVE), bundle)
    assert verify(add_signature(ENVELOPE, BOB), bundle) == STATEMENT


def test_a_key_counts_once_however_often_it_signed():
    twice = msgspec.structs.replace(ENVELOPE, signatures=ENVELOPE.signatures * 2)
    with pytest.raises(SignatureThreshold):
        verify(twice, trust(ALICE, BOB, threshold=2))


def test_a_key_that_does_not_count_does_not_help_the_threshold():
    envelope = add_signature(ENVELOPE, BOB)
    foreign = TrustedKey(key=BOB.public, publishers=frozenset({"globex"}))
    with pytest.raises(SignatureThreshold):
        verify(envelope, trust(ALICE, foreign, threshold=2))
    with pytest.raises(SignatureThreshold):
        verify(envelope, trust(ALICE, BOB, threshold=2), revoked=frozenset({BOB.key_id}))


def test_a_good_signature_for_another_archive_is_refused():
    with pytest.raises(ContentHashMismatch):
        verify(content_hash=content_hash_of(b"another archive"))


# ---- forms --------------------------------------------------------------------------------------------------


STATEMENT_JSON = json.loads(PAYLOAD)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        PAYLOAD[:-1] + b',"version":"1.4.0"}',
        json.dumps(STATEMENT_JSON | {"extra": 1}).encode(),
        json.dumps({key: value for key, value in STATEMENT_JSON.items() if key != "component_sha256"}).encode(),
        json.dumps(STATEMENT_JSON | {"content_hash": HASH.removeprefix("sha256:")}).encode(),
        json.dumps(STATEMENT_JSON | {"content_hash": HASH + "\n"}).encode(),
        json.dumps(STATEMENT_JSON | {"manifest_sha256": "F" * 64}).encode(),
        json.dumps(STATEMENT_JSON | {"publisher": "Acme"}).encode(),
        json.dumps(STATEMENT_JSON | {"publisher": "acme\n"}).encode(),
        json.dumps(STATEMENT_JSON | {"name": "acme"}).encode(),
        json.dumps(STATEMENT_JSON | {"version": "1"}).encode(),
        json.dumps(STATEMENT_JSON | {"issued_at": "2026-06-01T12:00:00"}).encode(),
        json.dumps(STATEMENT_JSON | {"issued_at": 1780315200}).encode(),
    ],
)
def test_a_signed_payload_that_is_no_statement_is_invalid(payload):
    with pytest.raises(SignatureInvalid):
        verify(signed(payload))


ENVELOPE_JSON = json.loads(encode_envelope(ENVELOPE))


@pytest.mark.parametrize(
    "data",
    [
        b"null",
        b"{",
        b"\xff",
        json.dumps(ENVELOPE_JSON | {"extra": 1}).encode(),
        json.dumps({key: value for key, value in ENVELOPE_JSON.items() if key != "payload"}).encode(),
        encode_envelope(ENVELOPE)[:-2] + b',"payload":""}',
        json.dumps(ENVELOPE_JSON | {"signatures": {}}).encode(),
        json.dumps(ENVELOPE_JSON | {"signatures": [{"sig": ""}]}).encode(),
        json.dumps(ENVELOPE_JSON | {"signatures": [{"keyid": None, "sig": ""}]}).encode(),
        json.dumps(ENVELOPE_JSON | {"signatures": [[[["x"]]]]}).encode(),
    ],
)
def test_what_is_not_an_envelope_is_invalid(data):
    with pytest.raises(SignatureInvalid):
        decode_envelope(data)


def test_an_envelope_is_read_up_to_its_size_limit_and_no_larger():
    data = encode_envelope(ENVELOPE).ljust(SIGNATURE_MAX_BYTES)
    assert decode_envelope(data) == ENVELOPE
    with pytest.raises(SignatureInvalid, match=str(SIGNATURE_MAX_BYTES)):
        decode_envelope(data + b" ")


def test_base64_has_one_writing():
    url_safe = msgspec.structs.replace(ENVELOPE, payload=base64.urlsafe_b64encode(PAYLOAD + b"\xff\xfe").decode())
    broken = msgspec.structs.replace(ENVELOPE, payload=ENVELOPE.payload[:-4] + "\n" + ENVELOPE.payload[-4:])
    for envelope in (url_safe, broken, msgspec.structs.replace(ENVELOPE, payload="a")):
        with pytest.raises(SignatureInvalid, match="base64"):
            verify(envelope)
    sig = ENVELOPE.signatures[0].sig
    assert sig.endswith("==")
    stray = sig[:-3] + chr(ord(sig[-3]) + 1) + "=="  # other padding bits, the same 64 bytes
    assert base64.b64decode(stray) == base64.b64decode(sig)
    with pytest.raises(SignatureInvalid):
        verify(msgspec.structs.replace(ENVELOPE, signatures=(Signature(ALICE.key_id, stray),)))

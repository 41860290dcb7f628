"""Signatures under attack: the edges of Ed25519, and nothing altered or cut short is ever accepted."""

from __future__ import annotations

import base64
import hashlib
import io
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bundle_reader import read_bundle
from shared.bundle_writer import write_bundle
from shared.digest import content_hash_of
from shared.errors import (
    BundleRefused,
    SignatureInvalid,
    SignatureRefused,
)
from shared.keys import PublicKey
from shared.signing import (
    PAYLOAD_TYPE,
    BundleStatement,
    Envelope,
    Signature,
    decode_envelope,
    encode_envelope,
    pre_authentication_encoding,
    sign_statement,
)
from shared.trust import TrustedKey
from tests.shared.signatures import ALICE, ENVELOPE, PAYLOAD, STATEMENT, trust, verify

ORDER = 2**252 + 27742317777372353535851937790883648493  # of the Ed25519 group, RFC 8032 §5.1

# ---- the edges of Ed25519 -----------------------------------------------------------------------------------


MESSAGE = pre_authentication_encoding(PAYLOAD_TYPE, PAYLOAD)


def with_signature(key_id: str, raw: bytes) -> Envelope:
    signature = Signature(key_id, base64.b64encode(raw).decode())
    return msgspec.structs.replace(ENVELOPE, signatures=(signature,))


@pytest.mark.parametrize("times", [1, 2, 8])
def test_a_signature_with_the_group_order_added_is_invalid(times):
    raw = ALICE.sign(MESSAGE)
    s = int.from_bytes(raw[32:], "little") + times * ORDER
    with pytest.raises(SignatureInvalid):
        verify(with_signature(ALICE.key_id, raw[:32] + s.to_bytes(32, "little")))


# Encodings of the points of order 1, 2, 4 and 8, canonical and not (RFC 8032 §5.1.2; p = 2^255 - 19).
P = 2**255 - 19
SMALL_ORDER = [
    (1).to_bytes(32, "little"),
    (P - 1).to_bytes(32, "little"),
    (0).to_bytes(32, "little"),
    (1 << 255).to_bytes(32, "little"),
    (1 | 1 << 255).to_bytes(32, "little"),
    (P).to_bytes(32, "little"),
    (P + 1).to_bytes(32, "little"),
    (P | 1 << 255).to_bytes(32, "little"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
]


@pytest.mark.parametrize("point", SMALL_ORDER, ids=[point.hex()[:8] + point.hex()[-2:] for point in SMALL_ORDER])
def test_a_key_of_small_order_vouches_for_nothing(point):
    # With S = 0 and R = A (or the identity) such a key "signs" every message for a verifier that does not look.
    key = PublicKey(point)
    for r in (point, SMALL_ORDER[0]):
        with pytest.raises(SignatureInvalid):
            verify(with_signature(key.key_id, r + bytes(32)), trust(TrustedKey(key=key)))


@pytest.mark.parametrize("point", SMALL_ORDER[:2] + SMALL_ORDER[5:7], ids=lambda point: point.hex()[:8])
def test_a_signature_over_a_point_of_small_order_is_invalid(point):
    # S = k·a satisfies S·B = R + k·A for the identity R; made with the private scalar, so only the check refuses it.
    digest = hashlib.sha512(bytes([1]) * 32).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | 1 << 254
    k = int.from_bytes(hashlib.sha512(point + ALICE.public.raw + MESSAGE).digest(), "little") % ORDER
    s = k * scalar % ORDER
    with pytest.raises(SignatureInvalid):
        verify(with_signature(ALICE.key_id, point + s.to_bytes(32, "little")))


@pytest.mark.parametrize("raw", [b"", bytes(63), bytes(65), bytes(64), b"\xff" * 64])
def test_a_signature_of_another_length_or_value_is_invalid(raw):
    with pytest.raises(SignatureInvalid):
        verify(with_signature(ALICE.key_id, raw))


# ---- nothing altered is accepted ----------------------------------------------------------------------------


def accepted(archive: bytes, envelope: bytes) -> BundleStatement | None:
    try:
        statement = verify(decode_envelope(envelope), content_hash=content_hash_of(archive))
        list(read_bundle(io.BytesIO(archive)))
    except BundleRefused:
        return None
    return statement


@pytest.fixture(name="published", scope="module")
def a_published_bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "ui").mkdir()
    (folder / "ui" / "index.html").write_text("<!doctype html>")
    manifest = {"name": "com.acme.tickets", "publisher": "acme", "version": "1.4.0", "runtime": "wasm-js@1"}
    manifest["ui"] = {"type": "iframe", "entry": "ui/index.html"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    digest = write_bundle(folder, folder / "bundle.tar.zst")
    statement = msgspec.structs.replace(
        STATEMENT,
        content_hash=digest.content_hash,
        manifest_sha256=digest.manifest_sha256,
        component_sha256=digest.component_sha256,
    )
    return (folder / "bundle.tar.zst").read_bytes(), encode_envelope(sign_statement(statement, ALICE)), statement


def test_the_published_bundle_is_accepted(published):
    archive, envelope, statement = published
    assert accepted(archive, envelope) == statement


def test_no_flipped_bit_of_archive_or_envelope_is_accepted(published):
    archive, envelope, _ = published
    for at in range(len(archive)):
        assert accepted(archive[:at] + bytes([archive[at] ^ (1 << at % 8)]) + archive[at + 1 :], envelope) is None
    for at in range(len(envelope) - 1):  # the last byte is a line break, which no JSON reader sees
        for bit in range(8):
            changed = envelope[:at] + bytes([envelope[at] ^ (1 << bit)]) + envelope[at + 1 :]
            assert accepted(archive, changed) is None, (at, bit)


def test_nothing_cut_short_is_accepted(published):
    archive, envelope, _ = published
    for length in range(len(archive)):
        assert accepted(archive[:length], envelope) is None
    for length in range(len(envelope) - 1):
        assert accepted(archive, envelope[:length]) is None


@given(st.binary(max_size=120))
def test_any_bytes_are_refused_as_an_envelope(data):
    with pytest.raises(SignatureRefused):
        decode_envelope(data)


TEXT = st.text(max_size=30)


@given(payload=TEXT, signatures=st.lists(st.builds(Signature, TEXT | st.just(ALICE.key_id), TEXT), max_size=3))
def test_an_envelope_nobody_signed_is_never_accepted(payload, signatures):
    for body in (payload, ENVELOPE.payload):
        with pytest.raises(SignatureRefused):
            verify(Envelope(PAYLOAD_TYPE, body, tuple(signatures)))

"""Sealed secrets: the very bytes, keys as OpenSSL writes them, and boxes that open only for whom they were made."""

from __future__ import annotations

import base64
import hashlib
import json
import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import sealing
from shared.errors import SecretBindingMismatch, SecretUnavailable
from shared.keys import PrivateKey
from shared.pem import KeyFormatError
from shared.sealing import (
    SealingKey,
    SealingPublicKey,
    SecretPlaintext,
    bound_values,
    check_plaintext,
    encode_plaintext,
    sealing_keys,
    sealing_public_keys,
)
from shared.wire import SecretEnvelope

GOLDEN = Path(__file__).parent.parent / "contract" / "golden" / "sealing"
PRIVATE_PEM = (GOLDEN / "x25519-private.pem").read_text()  # openssl genpkey -algorithm x25519
PUBLIC_PEM = (GOLDEN / "x25519-public.pem").read_text()  # openssl pkey -pubout
KEY = SealingKey.from_pem(PRIVATE_PEM)
OTHER = SealingKey(b"\2" * 32)
INSTALL = "018f3f2e-7b1a-7c3d-9e4f-000000000002"
SECRET = SecretPlaintext(tenant="acme", install=INSTALL, name="api_key", value='canary "ä" \n/0')


def golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def opened(plaintext: bytes, **changes: str) -> dict[str, str]:
    return bound_values(plaintext, **{"tenant": "acme", "install": INSTALL, "name": "api_key", **changes})


# ---- pinned -------------------------------------------------------------------------------------------------


def test_the_bytes_inside_a_box_are_pinned():
    assert encode_plaintext(SECRET) == golden("plaintext.json")
    assert opened(golden("plaintext.json")) == {"api_key": SECRET.value}
    several = {"api_key": "canary-one", "webhook": "canary-two"}
    assert opened(golden("plaintext_several.json"), name="") == several


@pytest.mark.parametrize(
    ("name", "plaintext"), [("envelope.json", "plaintext.json"), ("envelope_several.json", "plaintext_several.json")]
)
def test_an_envelope_made_earlier_is_read_and_its_box_opened(name, plaintext):
    envelope = msgspec.json.decode(golden(name), type=SecretEnvelope)
    assert msgspec.json.encode(envelope) == golden(name)
    assert (envelope.algorithm, envelope.key_id) == ("nacl-sealed:v1", KEY.key_id)
    assert KEY.open(base64.b64decode(envelope.ciphertext_b64)) == golden(plaintext)


def test_fields_of_a_later_release_are_ignored():
    message = json.loads(golden("plaintext.json")) | {"later": [1]}
    assert opened(json.dumps(message).encode()) == {"api_key": SECRET.value}


# ---- keys ---------------------------------------------------------------------------------------------------


def test_what_openssl_wrote_is_read_and_written_back_byte_for_byte():
    assert KEY.pem() == PRIVATE_PEM
    assert KEY.public.pem() == PUBLIC_PEM
    assert SealingPublicKey.from_pem(PUBLIC_PEM).raw == KEY.public.raw


def test_the_key_id_is_the_digest_of_the_raw_public_key():
    assert KEY.key_id == KEY.public.key_id == hashlib.sha256(KEY.public.raw).hexdigest()[:16]


def test_lists_are_read_in_order_and_each_key_once():
    assert [key.key_id for key in sealing_keys(OTHER.pem() + PRIVATE_PEM + OTHER.pem())] == [OTHER.key_id, KEY.key_id]
    publics = sealing_public_keys(PUBLIC_PEM + "a remark\n" + OTHER.public.pem())
    assert [key.key_id for key in publics] == [KEY.key_id, OTHER.key_id]


@pytest.mark.parametrize("text", ["", PUBLIC_PEM, PrivateKey(b"\1" * 32).pem(), PRIVATE_PEM.replace("MC4C", "MC4")])
def test_what_is_no_sealing_key_is_refused_and_not_quoted(text):
    with pytest.raises(KeyFormatError) as error:
        sealing_keys(text)
    assert "MC" not in str(error.value)


@pytest.mark.parametrize("text", ["", PRIVATE_PEM, PrivateKey(b"\1" * 32).public.pem()])
def test_what_is_no_public_sealing_key_is_refused(text):
    with pytest.raises(KeyFormatError):
        sealing_public_keys(text)


@pytest.mark.parametrize("raw", [b"", b"\1" * 31, b"\1" * 33, bytes(32)])
def test_a_public_key_has_32_bytes_that_mean_something(raw):
    with pytest.raises(KeyFormatError):
        SealingPublicKey(raw)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_private_key_has_32_bytes(size):
    with pytest.raises(KeyFormatError):
        SealingKey(b"\1" * size)


def test_a_private_key_never_shows_itself_and_its_file_is_private(tmp_path):
    assert repr(KEY) == str(KEY) == f"SealingKey({KEY.key_id})"
    KEY.write(tmp_path / "key.pem")
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        OTHER.write(tmp_path / "key.pem")
    assert SealingKey.generate().key_id != SealingKey.generate().key_id


# ---- boxes --------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300))
def test_what_is_sealed_opens_with_its_key_and_with_no_other(plaintext):
    box = KEY.public.seal(plaintext)
    assert KEY.open(box) == plaintext
    assert len(box) == len(plaintext) + 48
    with pytest.raises(SecretUnavailable):
        OTHER.open(box)


def test_two_boxes_of_one_secret_have_nothing_in_common():
    first, second = KEY.public.seal(b"canary"), KEY.public.seal(b"canary")
    assert first[:32] != second[:32]
    assert first[32:] != second[32:]


@given(st.binary(max_size=200), st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_changed_box_does_not_open(noise, place, difference):
    box = bytearray(KEY.public.seal(encode_plaintext(SECRET)))
    box[place % len(box)] ^= difference
    for changed in (bytes(box), noise, bytes(box[:-1])):
        with pytest.raises(SecretUnavailable) as error:
            KEY.open(changed)
        assert "canary" not in str(error.value)


# ---- binding (T62) ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{"tenant": "globex"}, {"install": INSTALL[:-1] + "3"}, {"name": "webhook"}, {"tenant": ""}, {"tenant": "ACME"}],
)
def test_t62_a_box_of_somebody_else_is_a_binding_mismatch(changes):
    with pytest.raises(SecretBindingMismatch) as error:
        opened(golden("plaintext.json"), **changes)
    assert "canary" not in str(error.value)
    with pytest.raises(SecretBindingMismatch):
        opened(golden("plaintext_several.json"), **({"name": "absent"} if "name" in changes else changes))


def test_of_several_only_the_named_one_is_given():
    assert opened(golden("plaintext_several.json"), name="webhook") == {"webhook": "canary-two"}


names = st.text(alphabet="abcXYZ09_.-", min_size=1, max_size=20)


@given(names, names, names, st.text(max_size=50), st.tuples(names, names, names))
def test_t62_only_the_very_owner_reads_a_value(tenant, install, name, value, asked):
    plaintext = encode_plaintext(SecretPlaintext(tenant=tenant, install=install, name=name, value=value))
    check_plaintext(plaintext)
    owner = {"tenant": tenant, "install": install, "name": name}
    assert bound_values(plaintext, **owner) == {name: value}
    other = dict(zip(owner, asked, strict=True))
    if other != owner:
        with pytest.raises(SecretBindingMismatch):
            bound_values(plaintext, **other)


@given(
    st.binary(max_size=60) | st.recursive(st.none() | st.text(), st.lists).map(lambda found: json.dumps(found).encode())
)
def test_a_box_with_anything_else_in_it_is_unavailable_and_never_quoted(plaintext):
    for ask in (check_plaintext, opened):
        with pytest.raises(SecretUnavailable) as error:
            ask(plaintext)
        assert str(error.value) == "the box opens, but holds no secret"


def test_a_plaintext_never_shows_its_value():
    assert "canary" not in repr(SECRET)
    decoded = sealing._decoder.decode(golden("plaintext.json"))
    assert "canary" not in repr(decoded)


def test_a_value_that_is_no_text_cannot_be_sealed():
    with pytest.raises(UnicodeEncodeError):
        encode_plaintext(SecretPlaintext(tenant="a", install="b", name="c", value="\ud800"))

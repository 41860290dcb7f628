"""Ed25519 keys: the very bytes OpenSSL writes, in and out."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.keys import KeyFormatError, PrivateKey, PublicKey, private_keys, public_keys

GOLDEN = Path(__file__).parent.parent / "contract" / "golden"
PRIVATE_PEM = (GOLDEN / "ed25519-private.pem").read_text()  # openssl genpkey -algorithm ed25519
PUBLIC_PEM = (GOLDEN / "ed25519-public.pem").read_text()  # openssl pkey -pubout
SIGNATURE = bytes.fromhex(  # openssl pkeyutl -sign -rawin, over b"message"
    "7e1cd3fb7c5a5a823a7a90234401ee0fc8f1fbd1d99c7c3f2ab2dda0338dc1fc"
    "4675369a55c83542bf6ad21b36cbacb80aba26b1ef241485c6212c3f959c3405"
)
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")  # RFC 8032 §7.1, TEST 1
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
EMPTY_SIGNATURE = bytes.fromhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
    "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)
# The same kind of file with another algorithm inside: openssl genpkey -algorithm x25519 -pubout
X25519_PEM = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEAb/0jUoA66hWEXBsM5K9OP7DwPoicsW+QDFg/CwGoKA8=\n-----END PUBLIC KEY-----\n"


def test_what_openssl_wrote_is_read_and_written_back_byte_for_byte():
    key = PrivateKey.from_pem(PRIVATE_PEM)
    assert key.pem() == PRIVATE_PEM
    assert key.public.pem() == PUBLIC_PEM
    assert PublicKey.from_pem(PUBLIC_PEM).raw == key.public.raw


def test_a_signature_is_the_one_openssl_makes():
    key = PrivateKey.from_pem(PRIVATE_PEM)
    assert key.sign(b"message") == SIGNATURE
    assert key.public.verify(b"message", SIGNATURE)


def test_a_signature_is_the_one_of_the_standard():
    key = PrivateKey(SEED)
    assert key.public.raw == PUBLIC
    assert key.sign(b"") == EMPTY_SIGNATURE


def test_the_key_id_is_the_digest_of_the_raw_public_key():
    assert PublicKey(PUBLIC).key_id == PrivateKey(SEED).key_id == hashlib.sha256(PUBLIC).hexdigest()[:16]


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_no_other_bytes_verify_and_none_raise(message, signature):
    key = PrivateKey(SEED)
    assert not key.public.verify(message, signature)
    assert key.public.verify(message, key.sign(message))
    assert not key.public.verify(message + b"x", key.sign(message))


def test_a_signature_with_the_group_order_added_is_refused():  # RFC 8032 §5.1.7: S < L, so none can be varied
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(EMPTY_SIGNATURE[32:], "little") + order
    assert not PublicKey(PUBLIC).verify(b"", EMPTY_SIGNATURE[:32] + s.to_bytes(32, "little"))


def test_a_private_key_never_shows_itself():
    key = PrivateKey.from_pem(PRIVATE_PEM)
    assert repr(key) == str(key) == f"{key}" == f"PrivateKey({key.key_id})"


def test_a_key_file_is_private_and_never_overwritten(tmp_path):
    path = tmp_path / "key.pem"
    PrivateKey(SEED).write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        PrivateKey.generate().write(path)
    assert PrivateKey.from_pem(path.read_text()).public.raw == PUBLIC


def test_two_generated_keys_differ():
    assert PrivateKey.generate().key_id != PrivateKey.generate().key_id


def test_private_keys_are_read_in_order_and_none_is_none():
    first, second = PrivateKey(bytes(32)), PrivateKey(bytes([1]) * 32)
    found = private_keys(f"the new one\n{first.pem()}the old one\n{second.pem()}")
    assert [key.key_id for key in found] == [first.key_id, second.key_id]
    with pytest.raises(KeyFormatError, match="no PRIVATE KEY block"):
        private_keys(first.public.pem())


def test_a_bundle_of_public_keys_is_read_in_order():
    other = PrivateKey(SEED).public
    keys = public_keys(f"# ours\n{PUBLIC_PEM}\n# theirs\n{other.pem()}")
    assert [key.key_id for key in keys] == [PublicKey.from_pem(PUBLIC_PEM).key_id, other.key_id]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "found 0"),
        (PRIVATE_PEM, "found 0"),
        (PUBLIC_PEM + PUBLIC_PEM, "found 2"),
        (PUBLIC_PEM.replace("MCow", "MC*w"), "found 0"),
        (PUBLIC_PEM.replace("MCow", "MCo"), "base64"),
        (X25519_PEM, "not an Ed25519 key"),
        ("-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----", "not an Ed25519 key"),
        ("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----", "not an Ed25519 key"),
    ],
)
def test_what_is_not_one_ed25519_public_key_is_refused(text, says):
    with pytest.raises(KeyFormatError, match=says):
        PublicKey.from_pem(text)


@pytest.mark.parametrize("text", ["", PUBLIC_PEM, PRIVATE_PEM * 2, PRIVATE_PEM.replace("PRIVATE", "RSA PRIVATE")])
def test_what_is_not_one_ed25519_private_key_is_refused(text):
    with pytest.raises(KeyFormatError):
        PrivateKey.from_pem(text)


def test_a_text_without_keys_is_no_bundle():
    with pytest.raises(KeyFormatError, match="no PUBLIC KEY"):
        public_keys(PRIVATE_PEM)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_raw_key_has_32_bytes(size):
    with pytest.raises(KeyFormatError, match="32 bytes"):
        PublicKey(b"\0" * size)
    with pytest.raises(KeyFormatError, match="32 bytes"):
        PrivateKey(b"\0" * size)

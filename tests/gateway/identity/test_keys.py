"""Keys of the host application: the three kinds that are taken, and each that is not, by name."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from gateway.identity.keys import host_keys
from shared.keys import PrivateKey
from shared.limits import JWT_KEYS_MAX

ED25519 = OKPKey.generate_key("Ed25519", private=True)


def pem(key: Any) -> str:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    text: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, spki)
    return text.decode()


def jwks(*keys: dict[str, Any]) -> str:
    return msgspec.json.encode({"keys": keys}).decode()


def short_rsa_jwk() -> dict[str, Any]:
    numbers = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    n = base64.urlsafe_b64encode(numbers.n.to_bytes(128, "big")).rstrip(b"=").decode()
    return {"kty": "RSA", "n": n, "e": "AQAB"}


def test_each_kind_of_key_stands_for_one_algorithm() -> None:
    text = "\n".join(
        [
            pem(ed25519.Ed25519PrivateKey.generate()),
            pem(rsa.generate_private_key(65537, 2048)),
            pem(ec.generate_private_key(ec.SECP256R1())),
        ]
    )
    assert [key.alg for key in host_keys(text)] == ["EdDSA", "RS256", "ES256"]


@pytest.mark.parametrize("alg", [None, "EdDSA", "Ed25519"])
def test_a_single_jwk_and_a_set_are_taken(alg: str | None) -> None:
    key = ED25519.as_dict(private=False) | {"kid": "a"} | ({"alg": alg} if alg else {})
    for text in (msgspec.json.encode(key).decode(), jwks(key), msgspec.json.encode([key]).decode()):
        assert [(found.kid, found.alg) for found in host_keys(text)] == [("a", "EdDSA")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (jwks(OctKey.generate_key(256).as_dict()), "symmetric"),
        (jwks(ED25519.as_dict(private=True)), "private key"),
        (jwks(short_rsa_jwk()), "1024 bits"),
        (pem(rsa.generate_private_key(65537, 1024)), "1024 bits"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "P-384"),
        (pem(ed448.Ed448PrivateKey.generate()), "Ed448"),
        (jwks(ECKey.generate_key("P-521", private=False).as_dict(private=False)), "P-521"),
        (jwks(ED25519.as_dict(private=False) | {"alg": "HS256"}), "alg=HS256"),
        (jwks(RSAKey.generate_key(2048).as_dict(private=False) | {"alg": "PS256"}), "alg=PS256"),
        (jwks(ED25519.as_dict(private=False) | {"use": "enc"}), "not for signatures"),
        (jwks({"kty": "AKP", "kid": "post-quantum"}), "kty=AKP"),
        (jwks({"kty": "OKP", "crv": "Ed25519"}), "cannot be read"),
        (jwks(*[ED25519.as_dict(private=False) | {"kid": "a"}] * 2), "same kid"),
        (jwks(*[ED25519.as_dict(private=False)] * (JWT_KEYS_MAX + 1)), "1 to 16"),
        (jwks(), "found 0"),
        ("", "found 0"),
        ("{}", "not a JWK"),
        ('{"keys": 1}', "not a JWK"),
        (PrivateKey(bytes(32)).pem(), "PRIVATE KEY block"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "none of Ed25519, RSA, P-256"),
    ],
)
def test_a_key_that_may_not_verify_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        host_keys(text)


def test_as_many_keys_as_the_limit_are_taken() -> None:
    keys = [OKPKey.generate_key("Ed25519", private=True).as_dict(private=False) for _ in range(JWT_KEYS_MAX)]
    assert len(host_keys(jwks(*keys))) == JWT_KEYS_MAX


def test_a_key_knows_itself_by_its_material() -> None:
    one, other = PrivateKey(bytes([1]) * 32).public, PrivateKey(bytes([2]) * 32).public
    (found,) = host_keys(one.pem())
    assert found.is_same(one)
    assert not found.is_same(other)

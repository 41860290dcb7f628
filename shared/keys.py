"""Ed25519 keys (RFC 8032): PEM in and out, key ids, signing, verifying. The only room that signs.

Files are what `openssl genpkey -algorithm ed25519` writes: PKCS#8 for the private half (RFC 8410 §7), SPKI for
the public half (§4). Both DER forms have one fixed prefix, so no ASN.1 parser stands in the trusted path.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from pathlib import Path
from typing import Final, Self

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

_PRIVATE_PREFIX: Final = bytes.fromhex("302e020100300506032b657004220420")  # RFC 8410 §7, v1
_PUBLIC_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")  # RFC 8410 §4
_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z ]+)-----\s*([A-Za-z0-9+/=\s]*?)-----END \1-----")


class KeyFormatError(ValueError):
    """A PEM text that is not the Ed25519 key it should be."""


class PublicKey:
    """An Ed25519 public key. `key_id` = first 16 hex digits of SHA-256 of the raw 32 bytes."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) != 32:
            raise KeyFormatError("an Ed25519 public key has 32 bytes")
        self.raw = raw
        self.key_id = hashlib.sha256(raw).hexdigest()[:16]
        self._key = VerifyKey(raw)

    @classmethod
    def from_pem(cls, text: str) -> Self:
        """The single `PUBLIC KEY` block of `text`. Raises `KeyFormatError`."""
        return cls(_single(text, "PUBLIC KEY", _PUBLIC_PREFIX))

    def pem(self) -> str:
        """The key as a `PUBLIC KEY` block (SPKI)."""
        return _pem("PUBLIC KEY", _PUBLIC_PREFIX + self.raw)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` (64 bytes) is this key's over `message`. Never raises."""
        try:
            self._key.verify(message, signature)
        except (BadSignatureError, ValueError):
            return False
        return True


class PrivateKey:
    """An Ed25519 private key. Its `repr` shows the key id only."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise KeyFormatError("an Ed25519 private key has a seed of 32 bytes")
        self._key = SigningKey(seed)
        self._seed = seed
        self.public = PublicKey(bytes(self._key.verify_key))
        self.key_id = self.public.key_id

    def __repr__(self) -> str:
        return f"PrivateKey({self.key_id})"

    @classmethod
    def generate(cls) -> Self:
        """A fresh key from the operating system's randomness."""
        return cls(os.urandom(32))

    @classmethod
    def from_pem(cls, text: str) -> Self:
        """The single `PRIVATE KEY` block of `text`. Raises `KeyFormatError`."""
        return cls(_single(text, "PRIVATE KEY", _PRIVATE_PREFIX))

    def pem(self) -> str:
        """The key as a `PRIVATE KEY` block (PKCS#8)."""
        return _pem("PRIVATE KEY", _PRIVATE_PREFIX + self._seed)

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature over `message` (RFC 8032, pure Ed25519)."""
        return self._key.sign(message).signature

    def write(self, path: Path) -> None:
        """Write the PEM with mode 0600. Raises `FileExistsError` rather than overwrite a key."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.pem())


def public_keys(text: str) -> list[PublicKey]:
    """Every `PUBLIC KEY` block of a PEM text, in order. Raises `KeyFormatError` when there is none."""
    keys = [PublicKey(_body(body, _PUBLIC_PREFIX)) for label, body in _BLOCK.findall(text) if label == "PUBLIC KEY"]
    if not keys:
        raise KeyFormatError("the text has no PUBLIC KEY block")
    return keys


def _single(text: str, label: str, prefix: bytes) -> bytes:
    bodies = [body for found, body in _BLOCK.findall(text) if found == label]
    if len(bodies) != 1:
        raise KeyFormatError(f"expected exactly one {label} block, found {len(bodies)}")
    return _body(bodies[0], prefix)


def _body(body: str, prefix: bytes) -> bytes:
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error as error:
        raise KeyFormatError("the block is not base64") from error
    if not der.startswith(prefix) or len(der) != len(prefix) + 32:
        raise KeyFormatError("the block is not an Ed25519 key")
    return der[len(prefix) :]


def _pem(label: str, der: bytes) -> str:
    return f"-----BEGIN {label}-----\n{base64.b64encode(der).decode()}\n-----END {label}-----\n"

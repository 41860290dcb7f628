"""Ed25519 keys (RFC 8032): PEM in and out, key ids, signing, verifying. The only room that signs.

Files are what `openssl genpkey -algorithm ed25519` writes: PKCS#8 for the private half (RFC 8410 §7), SPKI for
the public half (§4).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final, Self

from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from shared.pem import KeyForm, KeyFormatError, write_private

__all__ = ["KeyFormatError", "PrivateKey", "PublicKey", "private_keys", "public_keys"]

_WHAT: Final = "an Ed25519 key"
_PRIVATE: Final = KeyForm("PRIVATE KEY", bytes.fromhex("302e020100300506032b657004220420"), _WHAT)  # RFC 8410 §7, v1
_PUBLIC: Final = KeyForm("PUBLIC KEY", bytes.fromhex("302a300506032b6570032100"), _WHAT)  # RFC 8410 §4


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
        return cls(_PUBLIC.single(text))

    def pem(self) -> str:
        """The key as a `PUBLIC KEY` block (SPKI)."""
        return _PUBLIC.write(self.raw)

    @property
    def is_sound(self) -> bool:
        """Whether the bytes are a canonical encoding of a point of the prime-order group, as every honest key is.

        A key of small order verifies signatures nobody made; one with a part of small order verifies here and not
        elsewhere ("Taming the many EdDSAs", Chalkias, Garillot, Nikolaenko, 2020, §3). Asked where trust begins.
        """
        return crypto_core_ed25519_is_valid_point(self.raw)

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
        return cls(_PRIVATE.single(text))

    def pem(self) -> str:
        """The key as a `PRIVATE KEY` block (PKCS#8)."""
        return _PRIVATE.write(self._seed)

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the signature over `message` (RFC 8032, pure Ed25519)."""
        return self._key.sign(message).signature

    def write(self, path: Path) -> None:
        """Write the PEM with mode 0600. Raises `FileExistsError` rather than overwrite a key."""
        write_private(path, self.pem())


def public_keys(text: str) -> list[PublicKey]:
    """Every `PUBLIC KEY` block of a PEM text, in order. Raises `KeyFormatError` when there is none."""
    return [PublicKey(raw) for raw in _PUBLIC.some(text)]


def private_keys(text: str) -> tuple[PrivateKey, ...]:
    """Every `PRIVATE KEY` block of a PEM text, in order. Raises `KeyFormatError` when there is none."""
    return tuple(PrivateKey(seed) for seed in _PRIVATE.some(text))

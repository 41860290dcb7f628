"""Sealed secrets: `nacl-sealed:v1`, libsodium's sealed box over a small JSON text that says whose secret it is.

Whoever holds a public key can seal, only the holder of its private half can open (X25519, XSalsa20-Poly1305; the box
carries an ephemeral public key). So the gateway, which seals, can never read a secret back, and a row copied from the
database opens nothing. A box says nothing about who made it; what is inside names tenant, install and name, so that a
box moved to another row opens to the wrong owner and is refused (threat T62).

The text inside, in this order, pinned by `tests/contract/golden/sealing`:

    {"tenant": …, "install": …, "name": …, "value": …}         one secret
    {"tenant": …, "install": …, "secrets": {name: value, …}}   several in one box, as older callers send them

Keys are lists, so that they can be rotated: every box names its key's id, the first key of a list seals.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final, Self

import msgspec
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey as _BoxPrivateKey
from nacl.public import PublicKey as _BoxPublicKey
from nacl.public import SealedBox

from shared.errors import SecretBindingMismatch, SecretUnavailable
from shared.pem import RAW_BYTES, KeyForm, KeyFormatError, write_private

ALGORITHM: Final = "nacl-sealed:v1"

_WHAT: Final = "an X25519 key; make one with `openssl genpkey -algorithm x25519`"
_PRIVATE: Final = KeyForm("PRIVATE KEY", bytes.fromhex("302e020100300506032b656e04220420"), _WHAT)  # RFC 8410 §7, v1
_PUBLIC: Final = KeyForm("PUBLIC KEY", bytes.fromhex("302a300506032b656e032100"), _WHAT)  # RFC 8410 §4
_ZERO: Final = bytes(RAW_BYTES)


class SealingPublicKey:
    """The half that seals. `key_id` = first 16 hex digits of SHA-256 of the raw 32 bytes, as for every key of ours."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) != RAW_BYTES or raw == _ZERO:
            raise KeyFormatError("an X25519 public key has 32 bytes that are not all zero")
        self.raw = raw
        self.key_id = hashlib.sha256(raw).hexdigest()[:16]
        self._box = SealedBox(_BoxPublicKey(raw))

    @classmethod
    def from_pem(cls, text: str) -> Self:
        """The single `PUBLIC KEY` block of `text`. Raises `KeyFormatError`."""
        return cls(_PUBLIC.single(text))

    def pem(self) -> str:
        """The key as a `PUBLIC KEY` block (SPKI)."""
        return _PUBLIC.write(self.raw)

    def seal(self, plaintext: bytes) -> bytes:
        """A box around `plaintext`: 48 bytes longer, and different each time."""
        return self._box.encrypt(plaintext)


class SealingKey:
    """The half that opens. Its `repr` shows the key id only."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) != RAW_BYTES:
            raise KeyFormatError("an X25519 private key has 32 bytes")
        key = _BoxPrivateKey(raw)
        self._raw = raw
        self._box = SealedBox(key)
        self.public = SealingPublicKey(bytes(key.public_key))
        self.key_id = self.public.key_id

    def __repr__(self) -> str:
        return f"SealingKey({self.key_id})"

    @classmethod
    def generate(cls) -> Self:
        """A fresh key from the operating system's randomness."""
        return cls(os.urandom(RAW_BYTES))

    @classmethod
    def from_pem(cls, text: str) -> Self:
        """The single `PRIVATE KEY` block of `text`. Raises `KeyFormatError`."""
        return cls(_PRIVATE.single(text))

    def pem(self) -> str:
        """The key as a `PRIVATE KEY` block (PKCS#8)."""
        return _PRIVATE.write(self._raw)

    def write(self, path: Path) -> None:
        """Write the PEM with mode 0600. Raises `FileExistsError` rather than overwrite a key."""
        write_private(path, self.pem())

    def open(self, ciphertext: bytes) -> bytes:
        """What a box made for this key holds. Raises `SecretUnavailable` for anything else."""
        try:
            return self._box.decrypt(ciphertext)
        except (CryptoError, ValueError, TypeError):
            # Not chained: the library's words may come with the bytes they are about.
            raise SecretUnavailable("the box was not made for this key, or was changed") from None


def sealing_public_keys(text: str) -> tuple[SealingPublicKey, ...]:
    """Every `PUBLIC KEY` block of a PEM text, in order, each once. Raises `KeyFormatError` when there is none."""
    return tuple(SealingPublicKey(raw) for raw in dict.fromkeys(_PUBLIC.some(text)))


def sealing_keys(text: str) -> tuple[SealingKey, ...]:
    """Every `PRIVATE KEY` block of a PEM text, in order, each once. Raises `KeyFormatError` when there is none."""
    return tuple(SealingKey(raw) for raw in dict.fromkeys(_PRIVATE.some(text)))


# ---- what is inside -----------------------------------------------------------------------------------------


class SecretPlaintext(msgspec.Struct, frozen=True, kw_only=True):
    """One secret and whose it is. Its `repr` shows neither value nor length."""

    tenant: str
    install: str
    name: str
    value: str

    def __repr__(self) -> str:
        return f"SecretPlaintext({self.tenant}, {self.install}, {self.name})"


class _Opened(msgspec.Struct, frozen=True, kw_only=True):
    """Either form, as it comes out of a box."""

    tenant: str
    install: str
    name: str | None = None
    value: str | None = None
    secrets: dict[str, str] | None = None

    def __repr__(self) -> str:
        return "_Opened(…)"


_NO_SECRET: Final = "the box opens, but holds no secret"

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(_Opened)


def encode_plaintext(secret: SecretPlaintext) -> bytes:
    """The bytes that go into a box. Raises `UnicodeEncodeError` for a value with a lone surrogate."""
    return _encoder.encode(secret)


def check_plaintext(plaintext: bytes) -> None:
    """Raise `SecretUnavailable` unless these bytes are what stands in a box."""
    _values(_decoded(plaintext))


def bound_values(plaintext: bytes, *, tenant: str, install: str, name: str) -> dict[str, str]:
    """The secrets in an opened box, by name.

    Args:
        plaintext: what the box held.
        tenant, install: whose call it is.
        name: under which name the box came; empty when it may hold several.

    Raises:
        SecretUnavailable: the box holds something else than secrets.
        SecretBindingMismatch: the box belongs to another tenant or install, or has another name.
    """
    opened = _decoded(plaintext)
    values = _values(opened)
    if (opened.tenant, opened.install) != (tenant, install):
        raise SecretBindingMismatch("the secret was sealed for another tenant or install")
    if name:
        if name not in values:
            raise SecretBindingMismatch("the secret was sealed under another name")
        return {name: values[name]}
    return values


def _decoded(plaintext: bytes) -> _Opened:
    try:
        return _decoder.decode(plaintext)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise SecretUnavailable(_NO_SECRET) from None  # the text would quote the plaintext


def _values(opened: _Opened) -> dict[str, str]:
    if opened.name is not None and opened.value is not None:
        return {opened.name: opened.value}
    if opened.secrets is None:
        raise SecretUnavailable(_NO_SECRET)
    return opened.secrets

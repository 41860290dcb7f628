"""How the gateway seals: with a runner's public key, or by asking Vault. It can open neither."""

from __future__ import annotations

from typing import Protocol

import msgspec

from shared import sealing
from shared.errors import SecretUnavailable
from shared.sealing import SealingPublicKey


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """One box."""

    algorithm: str
    key_id: str
    ciphertext: bytes


class Sealer(Protocol):
    """Makes boxes that somebody else opens."""

    @property
    def key_id(self) -> str:
        """The key that new boxes name; empty when none can be made."""
        ...

    async def seal(self, plaintext: bytes) -> Sealed:
        """A box around `plaintext`. Raises `SecretUnavailable` when none can be made: there is no weaker form."""
        ...


class KeySealer:
    """`nacl-sealed:v1` for the first of `GATEWAY_SEALING_PUBLIC_KEYS`; the others' boxes are still opened by runners."""

    def __init__(self, keys: tuple[SealingPublicKey, ...]) -> None:
        self._key = keys[0] if keys else None

    @property
    def key_id(self) -> str:
        return "" if self._key is None else self._key.key_id

    async def seal(self, plaintext: bytes) -> Sealed:
        if self._key is None:
            raise SecretUnavailable("secrets cannot be kept here: the platform has no sealing key")
        return Sealed(algorithm=sealing.ALGORITHM, key_id=self._key.key_id, ciphertext=self._key.seal(plaintext))

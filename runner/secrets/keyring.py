"""What this runner can open: its own sealing keys, and one key of a transit engine when Vault is configured.

A box names its algorithm and key, so whether it can be opened here is known without trying. A runner holds two sealing
keys while they are rotated; which of them is older does not matter.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Protocol

import msgspec

from runner.bundles.single_flight import SingleFlight
from shared import sealing
from shared.deadline import Deadline
from shared.digest import sha256_hex
from shared.errors import Overloaded, SecretUnavailable
from shared.limits import VAULT_CALL_MAX_S
from shared.sealing import SealingKey
from shared.vault_transit import VaultTransit
from shared.wire import SecretEnvelope


class Boxes(Protocol):
    """Opens and makes the boxes of one algorithm. Every call ends within `VAULT_CALL_MAX_S`."""

    @property
    def algorithm(self) -> str:
        """As envelopes name it."""
        ...

    @property
    def away(self) -> bool:
        """Whether what is needed to open did not answer when it was last asked."""
        ...

    def knows(self, key_id: str) -> bool:
        """Whether this key is here."""
        ...

    async def open(self, key_id: str, ciphertext: bytes) -> bytes:
        """The plaintext. Raises `SecretUnavailable`."""
        ...

    async def seal(self, key_id: str, plaintext: bytes) -> bytes:
        """A new box. Raises `SecretUnavailable`."""
        ...


class SealedBoxes:
    """`nacl-sealed:v1`, with the runner's own keys."""

    algorithm = sealing.ALGORITHM
    away = False

    def __init__(self, keys: Iterable[SealingKey]) -> None:
        self._keys = {key.key_id: key for key in keys}

    def knows(self, key_id: str) -> bool:
        return key_id in self._keys

    async def open(self, key_id: str, ciphertext: bytes) -> bytes:
        return self._keys[key_id].open(ciphertext)

    async def seal(self, key_id: str, plaintext: bytes) -> bytes:
        return self._keys[key_id].public.seal(plaintext)


class TransitBoxes:
    """`vault-transit:v1`. Whoever wants the same box opened at the same time shares one call; nothing is kept."""

    def __init__(self, transit: VaultTransit) -> None:
        self._transit = transit
        self._flights: SingleFlight[str, bytes] = SingleFlight("vault")

    @property
    def algorithm(self) -> str:
        return self._transit.algorithm

    @property
    def away(self) -> bool:
        return self._transit.away

    def knows(self, key_id: str) -> bool:
        return self._transit.knows(key_id)

    async def open(self, key_id: str, ciphertext: bytes) -> bytes:  # noqa: ARG002 - there is one key
        try:
            return await self._flights.run(sha256_hex(ciphertext), lambda: self._decrypt(ciphertext))
        except Overloaded as error:
            raise SecretUnavailable("too many secrets are being opened", retry_after_s=1) from error

    async def seal(self, key_id: str, plaintext: bytes) -> bytes:  # noqa: ARG002 - likewise
        return await self._transit.encrypt(plaintext, Deadline.after_ms(VAULT_CALL_MAX_S * 1000))

    async def aclose(self) -> None:
        """End the calls that are still under way."""
        await self._flights.aclose()

    async def _decrypt(self, ciphertext: bytes) -> bytes:
        return await self._transit.decrypt(ciphertext, Deadline.after_ms(VAULT_CALL_MAX_S * 1000))


class Keyring:
    """Every box this runner can open."""

    def __init__(self, *boxes: Boxes) -> None:
        self._boxes = {one.algorithm: one for one in boxes}

    @property
    def away(self) -> bool:
        """Whether some boxes cannot be opened right now that could be otherwise."""
        return any(boxes.away for boxes in self._boxes.values())

    def check(self, envelope: SecretEnvelope) -> None:
        """Raise `SecretUnavailable` when this envelope cannot be opened here, whatever is in it."""
        self._find(envelope)

    async def open(self, envelope: SecretEnvelope) -> bytes:
        """What an envelope holds, whoever it is for. Raises `SecretUnavailable`."""
        boxes = self._find(envelope)
        try:
            ciphertext = base64.b64decode(envelope.ciphertext_b64, validate=True)
        except ValueError:  # binascii.Error, or a plain one when the text is not ASCII
            raise SecretUnavailable("ciphertext_b64 is not base64") from None
        return await boxes.open(envelope.key_id, ciphertext)

    async def reseal(self, envelope: SecretEnvelope, to_key_id: str) -> SecretEnvelope:
        """The same secret in a box of another key. Raises `SecretUnavailable`."""
        made_by = self.holder_of(to_key_id)
        plaintext = await self.open(envelope)
        sealing.check_plaintext(plaintext)  # a runner moves secrets, it is not a machine that decrypts what it is sent
        ciphertext = await made_by.seal(to_key_id, plaintext)
        return msgspec.structs.replace(
            envelope,
            algorithm=made_by.algorithm,
            key_id=to_key_id,
            ciphertext_b64=base64.b64encode(ciphertext).decode(),
        )

    def holder_of(self, key_id: str) -> Boxes:
        """Who makes boxes for a key. Raises `SecretUnavailable` when nobody here does."""
        for boxes in self._boxes.values():
            if boxes.knows(key_id):
                return boxes
        raise SecretUnavailable(f"this runner does not hold the key {key_id}")

    def _find(self, envelope: SecretEnvelope) -> Boxes:
        boxes = self._boxes.get(envelope.algorithm)
        if boxes is None or not boxes.knows(envelope.key_id):
            raise SecretUnavailable(
                f"the secret {envelope.name or '(several)'} is sealed with {envelope.algorithm} for the key "
                f"{envelope.key_id}, which this runner does not hold"
            )
        return boxes

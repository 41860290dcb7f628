"""What a runner can open, and sealing anew: the same secret, another key, and nothing that is no secret."""

from __future__ import annotations

from base64 import b64decode

import msgspec
import pytest

from runner.secrets.keyring import Keyring, SealedBoxes
from shared.errors import SecretUnavailable
from shared.sealing import SealingKey
from tests.runner.secrets.sealed import CANARY, KEY, OLD_KEY, boxed, envelope, several

KEYRING = Keyring(SealedBoxes([KEY, OLD_KEY]))


async def test_a_box_moves_to_another_key_and_nothing_else_about_it_changes():
    first = envelope(key=OLD_KEY, version="3", expires_at="2030-01-01T00:00:00Z", hosts=("https://api.example.com",))
    moved = await KEYRING.reseal(first, KEY.key_id)
    assert (moved.algorithm, moved.key_id) == (first.algorithm, KEY.key_id)
    assert msgspec.structs.replace(moved, key_id=first.key_id, ciphertext_b64=first.ciphertext_b64) == first
    assert KEY.open(b64decode(moved.ciphertext_b64)) == OLD_KEY.open(b64decode(first.ciphertext_b64))
    assert await Keyring(SealedBoxes([KEY])).open(moved) == await KEYRING.open(first)


async def test_an_older_box_of_several_moves_whole():
    moved = await KEYRING.reseal(several({"a": CANARY, "b": "2"}), OLD_KEY.key_id)
    assert b'"b":"2"' in await KEYRING.open(moved)


async def test_a_key_that_is_not_here_is_named():
    other = SealingKey(b"\3" * 32)
    with pytest.raises(SecretUnavailable, match=other.key_id):
        await KEYRING.reseal(envelope(), other.key_id)
    with pytest.raises(SecretUnavailable, match=other.key_id):
        await KEYRING.reseal(envelope(key=other), KEY.key_id)
    with pytest.raises(SecretUnavailable):
        Keyring().check(envelope())


@pytest.mark.parametrize("plaintext", [b"", b"canary", b'{"tenant":"acme","install":"i"}'])
async def test_what_is_no_secret_is_not_sealed_anew(plaintext):
    with pytest.raises(SecretUnavailable) as error:
        await KEYRING.reseal(envelope(ciphertext_b64=boxed(plaintext, KEY)), OLD_KEY.key_id)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("text", ["!", "AAA", "äää=", "AA==\n"])
async def test_what_is_not_base64_is_refused(text):
    with pytest.raises(SecretUnavailable, match="base64"):
        await KEYRING.open(envelope(ciphertext_b64=text))

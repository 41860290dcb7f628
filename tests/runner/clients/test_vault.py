"""`vault-transit:v1` against a real OpenBao: who may do what, tokens that end, and Vault away. Never a weaker form."""

from __future__ import annotations

import asyncio
import os
import signal
from base64 import b64encode
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from runner.clients.vault import open_vault
from runner.secrets.keyring import Keyring, SealedBoxes, TransitBoxes
from shared.deadline import Deadline
from shared.errors import SecretUnavailable
from shared.limits import SECRET_VALUE_MAX_BYTES
from shared.sealing import SealingKey, SecretPlaintext, encode_plaintext
from shared.vault_settings import VaultSettings
from shared.vault_transit import VaultLogin, VaultTransit
from shared.wire import SecretEnvelope
from tests.openbao import KEY, ROOT_TOKEN, OpenBao, openbao

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

SOON = 5_000  # milliseconds


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bao(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenBao]:
    async with openbao(tmp_path_factory.mktemp("openbao")) as server:
        yield server


def login(**changes: str) -> VaultLogin:
    return VaultLogin(**{"key_id": KEY, **changes})


def at(bao: OpenBao, **changes: str) -> VaultSettings:
    return VaultSettings(address=bao.url, login=login(**changes))


async def sealed(bao: OpenBao, plaintext: bytes) -> bytes:
    async with open_vault(at(bao, token=ROOT_TOKEN)) as transit:
        return await transit.encrypt(plaintext, Deadline.after_ms(SOON))


async def decrypted(transit: VaultTransit, ciphertext: bytes) -> bytes:
    return await transit.decrypt(ciphertext, Deadline.after_ms(SOON))


async def test_what_may_encrypt_encrypts_and_what_may_decrypt_decrypts(bao: OpenBao) -> None:
    for plaintext in (b"canary-value", b"\x00\xff" * 40, b"x" * 2 * SECRET_VALUE_MAX_BYTES):
        async with open_vault(at(bao, token=await bao.token("encrypt"))) as writer:
            ciphertext = await writer.encrypt(plaintext, Deadline.after_ms(SOON))
            assert ciphertext.startswith(b"vault:v1:")
            assert b"canary" not in ciphertext
            with pytest.raises(SecretUnavailable, match="policy"):
                await decrypted(writer, ciphertext)
        async with open_vault(at(bao, token=await bao.token("decrypt"))) as reader:
            assert await decrypted(reader, ciphertext) == plaintext
            assert not reader.away
            with pytest.raises(SecretUnavailable, match="policy"):
                await reader.encrypt(plaintext, Deadline.after_ms(SOON))


async def test_a_role_fetches_a_token_once_for_all_who_wait(bao: OpenBao) -> None:
    role_id, secret_id = await bao.role("decrypt")
    boxes = [await sealed(bao, b"%d" % number) for number in range(8)]
    async with open_vault(at(bao, role_id=role_id, secret_id=secret_id)) as transit:
        found = await asyncio.gather(*(decrypted(transit, box) for box in boxes))
        assert found == [b"%d" % number for number in range(8)]
        token = transit._token
        await decrypted(transit, boxes[0])
        assert transit._token == token


async def test_a_role_whose_token_was_withdrawn_fetches_another(bao: OpenBao) -> None:
    role_id, secret_id = await bao.role("decrypt")
    box = await sealed(bao, b"canary")
    async with open_vault(at(bao, role_id=role_id, secret_id=secret_id)) as transit:
        await decrypted(transit, box)
        first = transit._token
        await bao.done("POST", "auth/token/revoke", {"token": first})
        assert await decrypted(transit, box) == b"canary"
        assert transit._token != first


async def test_a_token_is_replaced_before_it_ends(bao: OpenBao) -> None:
    role_id, secret_id = await bao.role("decrypt", ttl="100s")
    box = await sealed(bao, b"canary")
    now = [0.0]
    async with open_vault(at(bao, role_id=role_id, secret_id=secret_id)) as transit:
        transit._clock = lambda: now[0]
        tokens = []
        for now[0] in (0.0, 79.0, 81.0):
            await decrypted(transit, box)
            tokens.append(transit._token)
    assert tokens[0] == tokens[1] != tokens[2]


@pytest.mark.parametrize(
    "changes",
    [{"token": "s.nobody"}, {"role_id": "none", "secret_id": "none"}, {"token": ROOT_TOKEN, "key_id": "transit/none"}],
)
async def test_a_wrong_credential_or_key_is_a_typed_refusal(bao: OpenBao, changes: dict[str, str]) -> None:
    box = await sealed(bao, b"canary")
    async with open_vault(at(bao, **changes)) as transit:
        with pytest.raises(SecretUnavailable):
            await decrypted(transit, box)


@pytest.mark.parametrize("box", [b"", b"vault:v1:", b"vault:v1:AAAA", b"plain canary", b"vault:v1:a b", b"\xff"])
async def test_what_is_no_box_of_this_key_is_refused_and_not_quoted(bao: OpenBao, box: bytes) -> None:
    async with open_vault(at(bao, token=ROOT_TOKEN)) as transit:
        with pytest.raises(SecretUnavailable) as error:
            await decrypted(transit, box)
        assert "canary" not in str(error.value)


async def test_nobody_answers_and_there_is_no_secret(bao: OpenBao) -> None:
    settings = VaultSettings(address="http://127.0.0.1:9", login=login(token=ROOT_TOKEN))
    async with open_vault(settings) as transit:
        with pytest.raises(SecretUnavailable) as error:
            await decrypted(transit, await sealed(bao, b"canary"))
        assert error.value.retry_after_s == 1
        assert transit.away


async def test_a_vault_that_hangs_is_given_up_at_the_deadline_and_used_again_when_it_is_back(bao: OpenBao) -> None:
    box = await sealed(bao, b"canary")
    async with open_vault(at(bao, token=ROOT_TOKEN)) as transit:
        await decrypted(transit, box)
        os.kill(bao.pid, signal.SIGSTOP)
        try:
            deadline = Deadline.after_ms(300)
            with pytest.raises(SecretUnavailable):
                await transit.decrypt(box, deadline)
            assert deadline.passed()
            assert Deadline.after_ms(0).at_s - deadline.at_s < 1
        finally:
            os.kill(bao.pid, signal.SIGCONT)
        assert await decrypted(transit, box) == b"canary"
        assert not transit.away


async def test_a_sealed_vault_is_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with openbao(tmp_path_factory.mktemp("sealed")) as own:
        box = await sealed(own, b"canary")
        await own.done("PUT", "sys/seal")
        async with open_vault(at(own, token=ROOT_TOKEN)) as transit:
            with pytest.raises(SecretUnavailable, match="right now"):
                await decrypted(transit, box)
            assert transit.away
            assert Keyring(SealedBoxes([]), TransitBoxes(transit)).away
            assert not Keyring(SealedBoxes([])).away


async def test_a_certificate_is_checked(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with openbao(tmp_path_factory.mktemp("tls"), tls=True) as own:
        for ca, reached in ((own.ca, True), ("", False)):
            settings = VaultSettings(address=own.url, login=login(token=ROOT_TOKEN), ca=ca)
            async with open_vault(settings) as transit:
                with pytest.raises(SecretUnavailable):  # that server has no such key: reached or not, no secret
                    await decrypted(transit, b"vault:v1:AAAA")
                assert transit.away is not reached


# ---- as the runner uses it ----------------------------------------------------------------------------------


def plaintext(value: str) -> bytes:
    return encode_plaintext(SecretPlaintext(tenant="acme", install="i", name="api_key", value=value))


async def test_whoever_wants_the_same_box_at_the_same_time_shares_one_call(bao: OpenBao) -> None:
    box = await sealed(bao, b"canary")
    async with open_vault(at(bao, token=ROOT_TOKEN)) as transit:
        asked = 0
        whole = transit.decrypt

        async def counted(ciphertext: bytes, deadline: Deadline) -> bytes:
            nonlocal asked
            asked += 1
            return await whole(ciphertext, deadline)

        transit.decrypt = counted  # type: ignore[method-assign]
        boxes = TransitBoxes(transit)
        waiting = [asyncio.create_task(boxes.open(KEY, box)) for _ in range(20)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert found[1:] == [b"canary"] * 19
        assert asked == 1
        assert await boxes.open(KEY, box) == b"canary"
        assert asked == 2  # nothing was kept
        await boxes.aclose()


async def test_secrets_move_from_a_key_into_vault_and_back(bao: OpenBao) -> None:
    key = SealingKey.generate()
    async with open_vault(at(bao, token=await bao.token("decrypt", "encrypt"))) as transit:
        keyring = Keyring(SealedBoxes([key]), TransitBoxes(transit))
        first = SecretEnvelope(
            name="api_key",
            algorithm="nacl-sealed:v1",
            key_id=key.key_id,
            ciphertext_b64=b64encode(key.public.seal(plaintext("canary"))).decode(),
            hosts=("https://api.example.com",),
        )
        moved = await keyring.reseal(first, KEY)
        assert (moved.algorithm, moved.key_id, moved.hosts) == ("vault-transit:v1", KEY, first.hosts)
        assert await keyring.open(moved) == plaintext("canary")
        back = await keyring.reseal(moved, key.key_id)
        assert (back.algorithm, back.key_id) == ("nacl-sealed:v1", key.key_id)
        assert await keyring.open(back) == plaintext("canary")

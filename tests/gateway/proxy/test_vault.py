"""Secrets sealed by a real OpenBao: the gateway may encrypt and cannot read back what it has written."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.installs.sealing import KeySealer
from gateway.proxy.vault import open_sealer
from gateway.settings import GatewaySettings, load_settings
from shared.errors import SecretUnavailable
from tests.gateway.test_settings import ENOUGH
from tests.openbao import KEY, OpenBao, openbao

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bao(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenBao]:
    async with openbao(tmp_path_factory.mktemp("openbao")) as server:
        yield server


def settings(**env: str) -> GatewaySettings:
    return load_settings(
        ENOUGH | {"EXT_MODE": "local"} | {f"GATEWAY_VAULT_{name}": value for name, value in env.items()}
    )


async def test_what_it_seals_only_who_may_decrypt_reads(bao: OpenBao) -> None:
    token = await bao.token("encrypt")
    async with open_sealer(settings(ADDR=bao.url, TRANSIT_KEY=KEY, TOKEN=token)) as sealer:
        assert sealer.key_id == KEY
        box = await sealer.seal(b"canary")
    assert (box.algorithm, box.key_id) == ("vault-transit:v1", KEY)
    body = {"ciphertext": box.ciphertext.decode()}
    assert (await bao.ask("POST", "transit/decrypt/alga-secrets", body, token))[0] == 403
    reader = await bao.token("decrypt")
    status, found = await bao.ask("POST", "transit/decrypt/alga-secrets", body, reader)
    assert (status, found["data"]["plaintext"]) == (200, "Y2FuYXJ5")


async def test_a_role_is_enough(bao: OpenBao) -> None:
    role_id, secret_id = await bao.role("encrypt")
    async with open_sealer(settings(ADDR=bao.url, TRANSIT_KEY=KEY, ROLE_ID=role_id, SECRET_ID=secret_id)) as sealer:
        assert (await sealer.seal(b"canary")).ciphertext.startswith(b"vault:v1:")


@pytest.mark.parametrize(
    "changes", [{"TOKEN": "s.nobody"}, {"ADDR": "http://127.0.0.1:9", "TOKEN": "t"}, {"TRANSIT_KEY": "none/alga"}]
)
async def test_what_cannot_be_encrypted_is_not_sealed_at_all(bao: OpenBao, changes: dict[str, str]) -> None:
    token = await bao.token("encrypt")
    async with open_sealer(settings(**({"ADDR": bao.url, "TRANSIT_KEY": KEY, "TOKEN": token} | changes))) as sealer:
        with pytest.raises(SecretUnavailable) as error:
            await sealer.seal(b"canary")
        assert "canary" not in str(error.value)


async def test_without_vault_and_without_a_key_nothing_is_sealed() -> None:
    async with open_sealer(settings()) as sealer:
        assert isinstance(sealer, KeySealer)
        assert sealer.key_id == ""
        with pytest.raises(SecretUnavailable):
            await sealer.seal(b"canary")

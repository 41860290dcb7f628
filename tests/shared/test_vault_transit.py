"""How Vault is asked, what of its answers is believed, and what its variables must say together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from shared import settings
from shared.deadline import Deadline
from shared.errors import SecretUnavailable
from shared.settings import SettingError
from shared.vault_settings import VaultSettings, checked, variables
from shared.vault_transit import VaultAwayError, VaultLogin, VaultTransit, key_id

BOX = b"vault:v1:AAAA"
DECRYPTED = (200, b'{"data":{"plaintext":"Y2FuYXJ5"}}')
ENCRYPTED = (200, b'{"data":{"ciphertext":"vault:v2:BBBB"}}')


class Vault:
    """Answers with the given answers, the last one for ever; keeps what it was asked."""

    def __init__(self, *answers: tuple[int, bytes] | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, dict[str, str], Any]] = []

    async def __call__(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        self.asked.append((path, dict(headers), msgspec.json.decode(body)))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def transit(vault: Vault, **changes: str) -> VaultTransit:
    credential = {} if "role_id" in changes else {"token": "t"}
    return VaultTransit(VaultLogin(**{"key_id": "team/transit/alga", **credential, **changes}), vault)


def soon() -> Deadline:
    return Deadline.after_ms(2000)


async def test_what_is_asked_is_vaults_own_api() -> None:
    vault = Vault(DECRYPTED, ENCRYPTED)
    asking = transit(vault, namespace="acme/")
    assert await asking.decrypt(BOX, soon()) == b"canary"
    assert await asking.encrypt(b"canary", soon()) == b"vault:v2:BBBB"
    (path, headers, body), (other, _, sent) = vault.asked
    assert (path, body) == ("/v1/team/transit/decrypt/alga", {"ciphertext": "vault:v1:AAAA"})
    assert (other, sent) == ("/v1/team/transit/encrypt/alga", {"plaintext": "Y2FuYXJ5"})
    assert headers == {
        "content-type": "application/json",
        "x-vault-request": "true",
        "x-vault-token": "t",
        "x-vault-namespace": "acme/",
    }


async def test_a_role_logs_in_first_and_its_secret_goes_nowhere_else() -> None:
    vault = Vault((200, b'{"auth":{"client_token":"fetched","lease_duration":60}}'), DECRYPTED)
    await transit(vault, role_id="r", secret_id="s").decrypt(BOX, soon())
    (path, headers, body), (_, second, sent) = vault.asked
    assert (path, body) == ("/v1/auth/approle/login", {"role_id": "r", "secret_id": "s"})
    assert "x-vault-token" not in headers
    assert second["x-vault-token"] == "fetched"
    assert sent == {"ciphertext": "vault:v1:AAAA"}


async def test_a_static_token_that_is_refused_is_not_tried_again() -> None:
    vault = Vault((403, b'{"errors":["permission denied"]}'))
    with pytest.raises(SecretUnavailable, match="policy and credential"):
        await transit(vault).decrypt(BOX, soon())
    assert len(vault.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        (200, b""),
        (200, b"canary"),
        (200, b'{"data":null}'),
        (200, b'{"data":{"plaintext":"not base64 canary"}}'),
        (200, b'{"data":{"plaintext":5}}'),
        (200, b"\xff"),
        (204, b""),
        (301, b""),
        (400, b'{"errors":["canary"]}'),
        (404, b""),
        (429, b"{}"),
        (500, b"canary"),
        (503, b'{"errors":["Vault is sealed"]}'),
        VaultAwayError("ClientConnectorError"),
    ],
)
async def test_any_other_answer_is_a_typed_refusal_that_quotes_nothing(answer: tuple[int, bytes] | Exception) -> None:
    for ask in (
        lambda: transit(Vault(answer)).decrypt(BOX, soon()),
        lambda: transit(Vault(answer)).encrypt(b"x", soon()),
    ):
        with pytest.raises(SecretUnavailable) as error:
            await ask()
        assert "canary" not in str(error.value)


async def test_an_encryption_that_is_none_is_refused() -> None:
    for text in ("", "canary", "vault:v1:", "vault:vx:AAAA"):
        vault = Vault((200, msgspec.json.encode({"data": {"ciphertext": text}})))
        with pytest.raises(SecretUnavailable):
            await transit(vault).encrypt(b"canary", soon())


async def test_the_deadline_ends_the_wait_for_the_login_as_well() -> None:
    async def never(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        await asyncio.Event().wait()
        raise AssertionError

    asking = VaultTransit(VaultLogin(key_id="transit/alga", role_id="r", secret_id="s"), never)
    first, second = Deadline.after_ms(50), Deadline.after_ms(100)
    results = await asyncio.gather(asking.decrypt(BOX, first), asking.decrypt(BOX, second), return_exceptions=True)
    assert [type(one) for one in results] == [SecretUnavailable] * 2
    assert Deadline.after_ms(0).at_s - second.at_s < 1
    assert asking.away


def test_a_credential_is_not_shown() -> None:
    login = VaultLogin(key_id="transit/alga", token="canary", role_id="canary", secret_id="canary")
    assert "canary" not in repr(login) + repr(VaultSettings(address="https://vault.example", login=login))


@pytest.mark.parametrize("text", ["transit/alga", "team/transit/alga-secrets", "kv_2/a.b_c"])
def test_a_key_is_mount_and_name(text: str) -> None:
    assert key_id(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "alga", "/alga", "transit/", "transit//alga", "transit/../sys", "transit/a?b", "a/b c", "t/" + "x" * 256],
)
def test_a_key_is_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match="mount/key"):
        key_id(text)


# ---- variables ----------------------------------------------------------------------------------------------


def read(*, plaintext_allowed: bool = False, **env: str) -> VaultSettings | None:
    found = {
        var.field: settings._value(var, {f"RUNNER_VAULT_{name}": value for name, value in env.items()})
        for var in variables("RUNNER_", "", "asked to decrypt", ".")
    }
    values = {name.removeprefix("vault_"): value for name, value in found.items()}
    return checked("RUNNER_", plaintext_allowed=plaintext_allowed, **values)


WHOLE = {"ADDR": "https://vault.example/", "TRANSIT_KEY": "transit/alga", "TOKEN": "t"}
ROLE = {"ADDR": "https://vault.example", "TRANSIT_KEY": "transit/alga", "ROLE_ID": "r", "SECRET_ID": "s"}


def test_without_an_address_there_is_no_vault() -> None:
    assert read() is None
    assert read(ADDR="", TOKEN="") is None


def test_a_token_or_a_role_is_enough() -> None:
    found = read(**WHOLE, NAMESPACE="acme")
    assert found is not None
    assert (found.address, found.login.token, found.login.namespace) == ("https://vault.example", "t", "acme")
    found = read(**ROLE)
    assert found is not None
    assert (found.login.token, found.login.role_id, found.login.secret_id) == (None, "r", "s")


@pytest.mark.parametrize(
    ("env", "names"),
    [
        ({"TOKEN": "t"}, "RUNNER_VAULT_ADDR"),
        (WHOLE | {"TRANSIT_KEY": ""}, "RUNNER_VAULT_TRANSIT_KEY"),
        (WHOLE | {"TRANSIT_KEY": "alga"}, "RUNNER_VAULT_TRANSIT_KEY"),
        (WHOLE | {"TOKEN": ""}, "RUNNER_VAULT_TOKEN"),
        (WHOLE | {"ROLE_ID": "r", "SECRET_ID": "s"}, "RUNNER_VAULT_TOKEN"),
        (ROLE | {"SECRET_ID": ""}, "RUNNER_VAULT_SECRET_ID"),
        (WHOLE | {"ROLE_ID": "r"}, "RUNNER_VAULT_ROLE_ID"),
        (WHOLE | {"ADDR": "http://vault.example"}, "https"),
        (WHOLE | {"ADDR": "vault.example"}, "RUNNER_VAULT_ADDR"),
        (WHOLE | {"CA": "/nowhere"}, "RUNNER_VAULT_CA"),
    ],
)
def test_what_does_not_fit_together_is_named(env: dict[str, str], names: str) -> None:
    with pytest.raises(SettingError, match=names):
        read(**env)


def test_plain_http_is_for_this_machine() -> None:
    assert read(plaintext_allowed=True, **(WHOLE | {"ADDR": "http://127.0.0.1:8200"})) is not None

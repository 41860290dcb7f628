"""How secrets are sealed: by asking Vault or OpenBao to encrypt when one is configured, else with a runner's public key.

The gateway's credential there may encrypt and nothing else. When Vault is configured and does not answer, nothing is
sealed: there is no second choice.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from gateway.installs.sealing import KeySealer, Sealed, Sealer
from gateway.proxy.transport import TRANSPORT_ERRORS
from gateway.settings import GatewaySettings
from shared.deadline import Deadline
from shared.limits import VAULT_ANSWER_MAX_BYTES, VAULT_CALL_MAX_S, VAULT_CALLS_MAX
from shared.vault_settings import VaultSettings
from shared.vault_transit import VaultAwayError, VaultTransit

_CONNECT_MAX_S: Final = 1


class TransitSealer:
    """`vault-transit:v1`."""

    def __init__(self, transit: VaultTransit) -> None:
        self._transit = transit

    @property
    def key_id(self) -> str:
        return self._transit.key_id

    async def seal(self, plaintext: bytes) -> Sealed:
        ciphertext = await self._transit.encrypt(plaintext, Deadline.after_ms(VAULT_CALL_MAX_S * 1000))
        return Sealed(algorithm=self._transit.algorithm, key_id=self._transit.key_id, ciphertext=ciphertext)


@asynccontextmanager
async def open_sealer(settings: GatewaySettings) -> AsyncIterator[Sealer]:
    """What seals, for the length of the block. Raises `ssl.SSLError` when `GATEWAY_VAULT_CA` holds no certificate."""
    vault = settings.vault()
    if vault is None:
        yield KeySealer(settings.sealing_public_keys)
        return
    async with _transit(vault) as transit:
        yield TransitSealer(transit)


@asynccontextmanager
async def _transit(vault: VaultSettings) -> AsyncIterator[VaultTransit]:
    context = ssl.create_default_context(cadata=vault.ca or None)
    timeout = aiohttp.ClientTimeout(total=VAULT_CALL_MAX_S, connect=_CONNECT_MAX_S)
    # Proxy variables of the environment are ignored (trust_env is off): what is said here is nobody else's.
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=VAULT_CALLS_MAX),
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:

        async def once(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
            url = vault.address + path
            async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                data = bytearray()
                async for piece in answer.content.iter_any():
                    data += piece
                    if len(data) > VAULT_ANSWER_MAX_BYTES:
                        raise VaultAwayError("an answer that is too long")
                return answer.status, bytes(data)

        async def post(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
            try:
                try:
                    return await once(path, headers, body)
                except aiohttp.ServerDisconnectedError:  # it closed a kept connection; asking twice changes nothing
                    return await once(path, headers, body)
            except TRANSPORT_ERRORS as error:
                raise VaultAwayError(type(error).__name__) from error

        yield VaultTransit(vault.login, post)

"""How this runner reaches Vault: a session of its own, since what is read there is nobody else's, bounded in all ways."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Final

import aiohttp

from runner.clients.http import TRANSPORT_ERRORS, read_bounded
from shared.limits import VAULT_ANSWER_MAX_BYTES, VAULT_CALL_MAX_S, VAULT_CALLS_MAX
from shared.vault_settings import VaultSettings
from shared.vault_transit import VaultAwayError, VaultTransit

CONNECT_MAX_S: Final = 1.0  # it is one data centre away at most


@contextlib.asynccontextmanager
async def open_vault(settings: VaultSettings) -> AsyncIterator[VaultTransit]:
    """The transit engine's key, for the length of the block.

    Raises:
        ssl.SSLError: `RUNNER_VAULT_CA` holds no certificate.
    """
    context = ssl.create_default_context(cadata=settings.ca or None)
    timeout = aiohttp.ClientTimeout(total=VAULT_CALL_MAX_S, connect=CONNECT_MAX_S, sock_connect=CONNECT_MAX_S)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=VAULT_CALLS_MAX),
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        headers={"user-agent": "alga-runner"},
    ) as session:

        async def once(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
            url = settings.address + path
            async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                return response.status, await read_bounded(response, VAULT_ANSWER_MAX_BYTES)

        async def post(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
            try:
                try:
                    return await once(path, headers, body)
                except aiohttp.ServerDisconnectedError:  # it closed a kept connection; asking twice changes nothing
                    return await once(path, headers, body)
            except TRANSPORT_ERRORS as error:
                raise VaultAwayError(type(error).__name__) from error

        yield VaultTransit(settings.login, post)

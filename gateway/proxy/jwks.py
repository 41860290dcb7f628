"""Fetches the host application's published keys: one address, bounded in time and bytes, redirects not followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from shared.call_limits import JWKS_FETCH_MAX_S, JWKS_MAX_BYTES

_CHUNK_BYTES: Final = 1 << 14


@asynccontextmanager
async def open_jwks(url: str) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """What fetches the JWK set at `url`. It raises `OSError` when there is none to be had."""
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=JWKS_FETCH_MAX_S),
        headers={"accept": "application/jwk-set+json, application/json"},
        trust_env=False,
    ) as session:

        async def fetch() -> bytes:
            try:
                async with asyncio.timeout(JWKS_FETCH_MAX_S), session.get(url, allow_redirects=False) as answer:
                    if answer.status != 200:
                        raise OSError(f"{url} answered {answer.status}")
                    return await _bounded(answer)
            except aiohttp.ClientError as error:
                raise OSError(f"{url}: {error}") from error

        yield fetch


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
        found += chunk
        if len(found) > JWKS_MAX_BYTES:
            raise OSError(f"{answer.url} sent more than {JWKS_MAX_BYTES} bytes")
    return bytes(found)

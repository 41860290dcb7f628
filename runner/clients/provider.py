"""Asks the host application, on behalf of a running guest: one POST of JSON to a provider's address.

The credential is the entry of `provider_tokens` that the gateway minted for this call and this provider; a runner has
none of its own, and the host token never leaves for there. Connections are kept. Redirects are not followed, since the
address is the operator's word. Nothing is repeated: a connection that broke may have written an invoice already.
"""

from __future__ import annotations

import asyncio
import io

import aiohttp
from yarl import URL

from runner.clients.http import TRANSPORT_ERRORS, read_bounded
from shared.errors import Internal
from shared.limits import PROVIDER_ANSWER_MAX_BYTES
from shared.wire import JSON


class ProviderClient:
    """Asks providers.

    Args:
        session: one of their own, so that a slow host application delays nobody else's calls.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(self, url: str, body: bytes, *, token: str, request_id: str, timeout_s: float) -> tuple[int, bytes]:
        """Status and body of the answer to one POST.

        Args:
            url: of the provider.
            body: JSON text.
            token: for this provider and this call.
            request_id: of the running call, for the host application's log.
            timeout_s: seconds for all of it.

        Raises:
            Internal: there is none, or a longer one than may be; whether anything was done is not known. The detail says
                why and holds nothing the host application said.
        """
        headers = {
            "authorization": f"Bearer {token}",
            "content-type": JSON,
            "accept": JSON,
            "x-request-id": request_id,
        }
        return await post_once(
            self._session, url, body, headers, timeout_s=timeout_s, answer_max_bytes=PROVIDER_ANSWER_MAX_BYTES
        )


async def post_once(
    session: aiohttp.ClientSession,
    url: str | URL,
    body: bytes,
    headers: dict[str, str],
    *,
    timeout_s: float,
    answer_max_bytes: int,
) -> tuple[int, bytes]:
    """Status and body of what the host application answers to one POST; redirects are answers.

    Raises:
        Internal: there is none in time, or a longer one than may be. The detail says why and holds nothing the host
            application said.
    """
    try:
        async with (
            asyncio.timeout(timeout_s),
            session.post(url, data=io.BytesIO(body), headers=headers, allow_redirects=False) as response,
        ):
            return response.status, await read_bounded(response, answer_max_bytes)
    except aiohttp.ClientPayloadError as error:
        raise Internal(f"its answer ends early or has more than {answer_max_bytes} bytes") from error
    except TimeoutError as error:
        raise Internal("it did not answer in time") from error
    except TRANSPORT_ERRORS as error:
        raise Internal(f"it cannot be reached: {type(error).__name__}") from error

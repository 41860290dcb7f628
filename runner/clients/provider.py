"""Asks the host application, on behalf of a running guest: one POST of JSON to a provider's address.

The credential is the entry of `provider_tokens` that the gateway minted for this call and this provider; a runner has
none of its own, and the host token never leaves for there. Connections are kept. Redirects are not followed, since the
address is the operator's word. Nothing is repeated: a connection that broke may have written an invoice already.
"""

from __future__ import annotations

import asyncio
import io

import aiohttp

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
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._session.post(url, data=io.BytesIO(body), headers=headers, allow_redirects=False) as response,
            ):
                return response.status, await read_bounded(response, PROVIDER_ANSWER_MAX_BYTES)
        except aiohttp.ClientPayloadError as error:
            raise Internal(f"its answer ends early or has more than {PROVIDER_ANSWER_MAX_BYTES} bytes") from error
        except TimeoutError as error:
            raise Internal("it did not answer in time") from error
        except TRANSPORT_ERRORS as error:
            raise Internal(f"it cannot be reached: {type(error).__name__}") from error

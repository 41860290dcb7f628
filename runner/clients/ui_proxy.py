"""Asks the UI proxy of the host application, on behalf of a running guest: one POST of the guest's payload.

The credential is the token the gateway minted for this call; the headers that repeat whose call it is are for the host
application's routing and log, and so is `x-runner-auth`, which says which runner is calling and is never sufficient alone.
"""

from __future__ import annotations

from typing import Final

import aiohttp
from yarl import URL

from runner.clients.provider import post_once
from shared.limits import UI_PROXY_ANSWER_MAX_BYTES
from shared.wire import JSON, Context

AUTH: Final = "x-runner-auth"


class UiProxyClient:
    """Asks the UI proxy.

    Args:
        session: of the host application's own, so that a slow one delays nobody else's calls.
        auth_key: `UI_PROXY_AUTH_KEY`.
    """

    def __init__(self, session: aiohttp.ClientSession, auth_key: str | None = None) -> None:
        self._session = session
        self._own = {} if auth_key is None else {AUTH: auth_key}

    async def ask(
        self, url: str, payload: bytes, *, token: str, context: Context, timeout_s: float
    ) -> tuple[int, bytes]:
        """Status and body of the answer to one POST.

        Args:
            url: sent as it is; nothing in it is normalised any more.
            payload: of the guest; JSON by convention.
            token: for the UI proxy and this call.
            context: whose call it is.
            timeout_s: seconds for all of it.

        Raises:
            Internal: there is none, or a longer one than may be; whether anything was done is not known.
        """
        headers = {
            **self._own,
            "authorization": f"Bearer {token}",
            "content-type": JSON,
            "x-request-id": context.request_id,
            "x-alga-tenant": context.tenant_id,
            "x-alga-extension": context.extension_id,
        }
        return await post_once(
            self._session,
            URL(url, encoded=True),
            payload,
            headers,
            timeout_s=timeout_s,
            answer_max_bytes=UI_PROXY_ANSWER_MAX_BYTES,
        )

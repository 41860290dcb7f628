"""What a runner asks of the gateway without a guest's token: the state feed, and whether a UI digest is live."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
import msgspec

from runner.clients.http import TRANSPORT_ERRORS, read_bounded
from runner.clients.identity import GATEWAY, Identity
from shared.deadline import Deadline
from shared.ids import ContentHash, ExtensionId
from shared.wire import StateFeed

FEED_MAX_BYTES: Final = 8 << 20  # 8 MiB: about 80,000 entries; a gateway pages long before

_feed = msgspec.json.Decoder(StateFeed)


class GatewayError(Exception):
    """The gateway could not be asked, or its answer makes no sense. Never raised for a clear no."""


class GatewayClient:
    """Calls the gateway's internal listener.

    Args:
        session: from `runner.clients.http`.
        base_url: `RUNNER_GATEWAY_URL`.
        identity: who is asking.
    """

    def __init__(self, session: aiohttp.ClientSession, base_url: str, identity: Identity) -> None:
        self._session = session
        self._base_url = base_url
        self._identity = identity

    async def state(self, after: int, deadline: Deadline) -> StateFeed:
        """The entries of the state feed after sequence number `after`. Raises `GatewayError`."""
        status, body = await self._get(f"/internal/state?after={after}", deadline)
        if status != 200:
            raise GatewayError(f"the state feed answered {status}")
        try:
            return _feed.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise GatewayError(f"the state feed is not decodable: {error}") from error

    async def ui_is_live(self, extension: ExtensionId, content_hash: ContentHash, deadline: Deadline) -> bool:
        """Whether some tenant has this version installed (2xx yes, 404 no). Raises `GatewayError`."""
        status, _ = await self._get(f"/internal/ui/{extension}/{content_hash}", deadline)
        if status in {200, 204}:
            return True
        if status == 404:
            return False
        raise GatewayError(f"the UI look-up answered {status}")

    async def _get(self, path: str, deadline: Deadline) -> tuple[int, bytes]:
        try:
            async with (
                asyncio.timeout(deadline.remaining_s()),
                self._session.get(
                    self._base_url + path, headers=self._identity.headers(GATEWAY), allow_redirects=False
                ) as response,
            ):
                return response.status, await read_bounded(response, FEED_MAX_BYTES)
        except TRANSPORT_ERRORS as error:
            raise GatewayError(f"the gateway cannot be reached: {type(error).__name__}") from error

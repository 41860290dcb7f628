"""A guest's host call that the gateway answers: one POST on its internal listener, MessagePack both ways.

The only credential is the call's own host token, which the gateway minted for it: a runner holds no standing right to
any tenant's data. Connections are kept, so that a call costs one exchange. Nothing is repeated here: a connection that
broke may have written already, and only the guest knows whether writing twice does harm.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

import aiohttp
import msgspec

from runner import problem
from runner.clients.http import TRANSPORT_ERRORS, read_bounded
from shared.deadline import Deadline
from shared.errors import Internal, PlatformError
from shared.limits import FRAME_MAX_BYTES
from shared.wire import MSGPACK, Message

M = TypeVar("M", bound=Message)

ANSWER_MAX_BYTES: Final = FRAME_MAX_BYTES  # what a sandbox could take; a page of records has 6.4 MiB

_encoder = msgspec.msgpack.Encoder()


class HostCallClient:
    """Asks the gateway's internal listener on behalf of running calls.

    Args:
        session: from `runner.clients.http`.
        base_url: `RUNNER_GATEWAY_URL`.
    """

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._base_url = base_url

    async def ask(
        self, path: str, message: Message, kind: type[M], *, host_token: str, request_id: str, deadline: Deadline
    ) -> M:
        """What the gateway answers to `message`.

        Args:
            path: below `/internal/`.
            kind: of the answer.
            host_token: of the running call.
            request_id: of the running call, for the gateway's log.
            deadline: of the running call.

        Raises:
            PlatformError: the gateway's refusal, by its code.
            Internal: it gave no usable answer in time; whether it acted is not known.
        """
        headers = {
            "authorization": f"Bearer {host_token}",
            "content-type": MSGPACK,
            "accept": MSGPACK,
            "x-request-id": request_id,
        }
        try:
            async with (
                asyncio.timeout(deadline.remaining_s()),
                self._session.post(
                    self._base_url + path, data=_encoder.encode(message), headers=headers, allow_redirects=False
                ) as response,
            ):
                status, answer = response.status, await read_bounded(response, ANSWER_MAX_BYTES)
            if status == 200:
                return msgspec.msgpack.decode(answer, type=kind)
            refused = problem.decode(answer)
        except (*TRANSPORT_ERRORS, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Internal(f"the gateway gives no usable answer: {type(error).__name__}") from error
        raise _checked(refused, status)


def _checked(refused: PlatformError, status: int) -> PlatformError:
    """The refusal, unless its code and its status contradict each other."""
    if refused.status != status:
        return Internal(f"the gateway's answer with status {status} contradicts itself")
    return refused

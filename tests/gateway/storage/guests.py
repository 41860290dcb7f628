"""A running guest, as the gateway's internal listener sees it: host tokens, and questions in MessagePack."""

from __future__ import annotations

import time
from typing import Any, TypeVar

import msgspec

from gateway.proxy.tokens import TokenMint
from gateway.store.storage import Asker
from runner import problem
from shared.deadline import Deadline
from shared.keys import PrivateKey
from shared.storage import CAPABILITY
from shared.wire import MSGPACK, Context, Message
from tests.gateway.asgi import Answer, Client

M = TypeVar("M", bound=Message)


def host_token(key: PrivateKey, asker: Asker, *, caps: tuple[str, ...] = (CAPABILITY,), now: float = 0.0) -> str:
    """What the gateway mints for a call of this install, of the generation the asker has in mind."""
    context = Context(
        request_id="request",
        tenant_id=asker.tenant_id,
        extension_id="extension",
        install_id=asker.install_id,
        version_id="version",
        content_hash="sha256:",
    )
    mint = TokenMint(key, lambda: now or time.time())
    return mint.host(context, caps, timeout_ms=5000, generation=asker.generation or 0, hops=0)


async def send(internal: Client, path: str, message: Any, **headers: str) -> Answer:
    """One question, as bytes of MessagePack."""
    body = message if isinstance(message, bytes) else msgspec.msgpack.encode(message)
    return await internal.request("POST", path, headers={"content-type": MSGPACK, **headers}, body=body)


class InProcess:
    """Asks the internal application in this process, as the runner's client asks it over a connection."""

    def __init__(self, internal: Client) -> None:
        self._internal = internal

    async def ask(
        self, path: str, message: Message, kind: type[M], *, host_token: str, request_id: str, deadline: Deadline
    ) -> M:
        headers = {"authorization": f"Bearer {host_token}", "x-request-id": request_id}
        answer = await send(self._internal, path, message, **headers)
        if answer.status != 200:
            raise problem.decode(answer.body)
        return msgspec.msgpack.decode(answer.body, type=kind)

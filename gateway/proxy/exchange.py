"""One call from the client's request to the guest's answer: admission, a place, then dispatch.

While the runner works, the connection to the client is watched: when it closes, the runner's call is cancelled, and by
that the guest; only a call with an idempotency key goes on without its client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import TypeVar

from starlette.types import Receive

from gateway.policy import idempotency
from gateway.proxy.admission import Admission, Request
from gateway.proxy.answer import Answer
from gateway.proxy.body import ClientGoneError, gone
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.keyed import Keyed

T = TypeVar("T")


class Exchange:
    """Runs calls. One for each process; holds no state of its own.

    Args:
        admission: says which calls may run.
        dispatch: runs them.
        keyed: runs those with an idempotency key.
    """

    def __init__(self, admission: Admission, dispatch: Dispatch, keyed: Keyed) -> None:
        self._admission = admission
        self._dispatch = dispatch
        self._keyed = keyed

    async def call(self, request: Request) -> Answer:
        """The answer to one request.

        Raises:
            PlatformError: a step refused, or there is no guest answer.
            ClientGoneError: the client went away; the guest was cancelled and the row says so.
        """
        key = idempotency.key_of(request.headers, request.method)
        present = partial(_while_present, receive=request.receive)
        entered = await self._dispatch.enter(await self._admission.admit(request))
        if key is not None:
            return await self._keyed.call(entered, key, present)
        return await self._dispatch.run(await self._dispatch.open(entered), present)


async def _while_present(work: Awaitable[T], receive: Receive) -> T:
    """The result of `work`, unless the client goes away first: then `work` is cancelled and `ClientGoneError` raised."""
    call = asyncio.ensure_future(work)
    watch = asyncio.create_task(gone(receive))
    try:
        await asyncio.wait((call, watch), return_when=asyncio.FIRST_COMPLETED)
        if call.done():
            return call.result()
        watch.result()  # a server that fails to deliver is not a client that left
        raise ClientGoneError
    finally:
        for task in (call, watch):
            task.cancel()
        await asyncio.gather(call, watch, return_exceptions=True)

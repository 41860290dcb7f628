"""One call from the client's request to the guest's answer: admission, then dispatch.

While the runner works, the connection to the client is watched: when it closes, the runner's call is cancelled, and by
that the guest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial

from starlette.types import Receive

from gateway.audit.denials import Denials
from gateway.audit.log import ExecutionLog
from gateway.proxy.admission import Admission, Request
from gateway.proxy.answer import Answer
from gateway.proxy.body import ClientGoneError, gone
from gateway.proxy.client import Reply, RunnerClient
from gateway.proxy.dispatch import Dispatch


class Exchange:
    """Runs calls. One for each process; holds no state of its own.

    Args:
        admission: says which calls may run.
        audit: the execution log.
        denials: counts what guests were denied.
        runner: the way to the runners.
        timeout_ms: the most one call may take.
    """

    def __init__(
        self, admission: Admission, audit: ExecutionLog, denials: Denials, runner: RunnerClient, timeout_ms: int
    ) -> None:
        self._admission = admission
        self._dispatch = Dispatch(audit, denials, runner, timeout_ms)

    async def call(self, request: Request) -> Answer:
        """The answer to one request.

        Raises:
            PlatformError: a step refused, or there is no guest answer.
            ClientGoneError: the client went away; the guest was cancelled and the row says so.
        """
        call = await self._dispatch.open(await self._admission.admit(request))
        return await self._dispatch.run(call, partial(_while_present, receive=request.receive))


async def _while_present(work: Awaitable[Reply], receive: Receive) -> Reply:
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

"""One call from the client's request to the guest's answer.

In this order: admission → row opened → envelope → runner → answer → row closed.

Whatever happens after the row was opened closes it, exactly once: an answer, a refusal, a client that went away, a
server that stops. While the runner works, the connection to the client is watched: when it closes, the runner's
call is cancelled, and by that the guest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.types import Receive

from gateway.audit.log import Execution, ExecutionLog
from gateway.proxy import answer, envelope, record
from gateway.proxy.admission import Admission, Admitted, Request
from gateway.proxy.answer import Answer
from gateway.proxy.body import ClientGoneError, gone
from gateway.proxy.client import Reply, RunnerClient
from shared.deadline import Deadline
from shared.errors import Internal, PlatformError
from shared.wire import Usage


class Exchange:
    """Runs calls. One for each process; holds no state of its own.

    Args:
        admission: says which calls may run.
        audit: the execution log.
        runner: the way to the runners.
        timeout_ms: the most one call may take.
    """

    def __init__(self, admission: Admission, audit: ExecutionLog, runner: RunnerClient, timeout_ms: int) -> None:
        self._admission = admission
        self._audit = audit
        self._runner = runner
        self._timeout_ms = timeout_ms

    async def call(self, request: Request) -> Answer:
        """The answer to one request.

        Raises:
            PlatformError: a step refused, or there is no guest answer.
            ClientGoneError: the client went away; the guest was cancelled and the row says so.
        """
        admitted = await self._admission.admit(request)
        timeout_ms = envelope.effective_timeout_ms(self._timeout_ms, admitted.install, admitted.match)
        deadline = Deadline.after_ms(timeout_ms)
        execution = await self._audit.open(record.opening(admitted, timeout_ms))
        return await self._recorded(execution, admitted, deadline, request.receive)

    async def _recorded(self, execution: Execution, admitted: Admitted, deadline: Deadline, receive: Receive) -> Answer:
        """Run the call; its row is closed whatever happens."""
        usage = Usage()
        try:
            reply = await _while_present(self._dispatch(admitted, deadline), receive)
            usage = reply.answer.usage
            found = answer.from_reply(reply)
        except (ClientGoneError, asyncio.CancelledError):
            self._audit.close(execution, record.cancelled(execution.duration_ms))
            raise
        except PlatformError as error:
            self._audit.close(execution, record.refused(error, execution.duration_ms, usage))
            raise
        except Exception:
            self._audit.close(execution, record.refused(Internal(), execution.duration_ms, usage))
            raise
        incidents = reply.answer.incidents
        self._audit.close(execution, record.answered(found.status, execution.duration_ms, usage, incidents))
        return found

    async def _dispatch(self, admitted: Admitted, deadline: Deadline) -> Reply:
        request = envelope.build(
            admitted.incoming,
            admitted.principal,
            admitted.install,
            timeout_ms=deadline.remaining_ms(),
            tokens=self._runner.tokens,
        )
        return await self._runner.execute(
            request, envelope.routing_headers(admitted.incoming, admitted.install), deadline
        )


async def _while_present(work: Coroutine[Any, Any, Reply], receive: Receive) -> Reply:
    """The result of `work`, unless the client goes away first: then `work` is cancelled and `ClientGoneError` raised."""
    call = asyncio.create_task(work)
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

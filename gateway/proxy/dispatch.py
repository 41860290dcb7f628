"""A call that may run: row opened → envelope → runner → answer → row closed. Every call of a guest goes this way.

Whatever happens after the row was opened closes it, exactly once: an answer, a refusal, a client that went away, a
server that stops. `gateway.proxy.exchange` comes here with a client's request, `gateway.proxy.unattended` with what
became due without one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.audit.denials import Denials
from gateway.audit.log import Execution, ExecutionLog
from gateway.proxy import answer, envelope, record
from gateway.proxy.admission import Admitted
from gateway.proxy.answer import Answer
from gateway.proxy.body import ClientGoneError
from gateway.proxy.client import Reply, RunnerClient
from shared.deadline import Deadline
from shared.errors import Internal, PlatformError
from shared.wire import Usage

Waiting = Callable[[Awaitable[Reply]], Awaitable[Reply]]
"""How a caller waits for the runner: it may give up, by which the work is cancelled."""


@dataclass(frozen=True, slots=True)
class Dispatched:
    """A call whose row is open: from here on it must be run to its end by `Dispatch.run`."""

    admitted: Admitted
    execution: Execution
    deadline: Deadline

    @property
    def execution_id(self) -> str:
        """The id of its row in the execution log."""
        return self.execution.opening.id


class Dispatch:
    """Runs calls. One for each process; holds no state of its own.

    Args:
        audit: the execution log.
        denials: counts what guests were denied.
        runner: the way to the runners.
        timeout_ms: the most one call may take.
    """

    def __init__(self, audit: ExecutionLog, denials: Denials, runner: RunnerClient, timeout_ms: int) -> None:
        self._audit, self._denials = audit, denials
        self._runner = runner
        self._timeout_ms = timeout_ms

    async def open(self, admitted: Admitted) -> Dispatched:
        """Commit the call's row; its time begins before. Raises `AccessPolicyUnavailable` when that cannot be."""
        timeout_ms = envelope.effective_timeout_ms(self._timeout_ms, admitted.install, admitted.match)
        deadline = Deadline.after_ms(timeout_ms)
        return Dispatched(admitted, await self._audit.open(record.opening(admitted, timeout_ms)), deadline)

    async def run(self, call: Dispatched, waiting: Waiting) -> Answer:
        """The guest's answer; the row is closed whatever happens.

        Raises:
            PlatformError: there is no guest answer.
            ClientGoneError: `waiting` gave up; the guest was cancelled and the row says so.
        """
        usage, execution = Usage(), call.execution
        try:
            reply = await waiting(self._ask(call))
            usage = reply.answer.usage
            self._denials.note(execution.opening.tenant_id, execution.opening.install_id, reply.answer.denied_targets)
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

    async def _ask(self, call: Dispatched) -> Reply:
        admitted = call.admitted
        request = envelope.build(
            admitted.incoming,
            admitted.principal,
            admitted.install,
            timeout_ms=call.deadline.remaining_ms(),
            tokens=self._runner.tokens,
        )
        routing = envelope.routing_headers(admitted.incoming, admitted.install)
        return await self._runner.execute(request, routing, call.deadline)

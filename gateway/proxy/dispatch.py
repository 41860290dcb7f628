"""A call that may run: place taken → row opened → envelope → runner → answer → row closed. Every call of a guest goes this way.

Whatever happens after the row was opened closes it and gives the place back, exactly once: an answer, a refusal, a client that went away, a
server that stops. `gateway.proxy.exchange` comes here with a client's request, `gateway.proxy.unattended` with what
became due without one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.audit.denials import Denials
from gateway.audit.log import Execution, ExecutionLog
from gateway.policy.limiter import Limiter, Place
from gateway.policy.quotas import Quotas
from gateway.policy.stops import Stops
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
class Entered:
    """A call that has a place: `Dispatch.open` takes it on, or `Dispatch.leave` gives the place back."""

    admitted: Admitted
    timeout_ms: int
    deadline: Deadline
    place: Place


@dataclass(frozen=True, slots=True)
class Dispatched:
    """A call whose row is open: from here on it must be run to its end by `Dispatch.run`."""

    admitted: Admitted
    execution: Execution
    deadline: Deadline
    place: Place

    @property
    def execution_id(self) -> str:
        """The id of its row in the execution log."""
        return self.execution.opening.id


class Dispatch:
    """Runs calls. One for each process; holds no state of its own.

    Args:
        limiter: how often, and how many at once.
        quotas: how much in an hour.
        audit: the execution log.
        denials: counts what guests were denied.
        runner: the way to the runners.
        timeout_ms: the most one call may take.
        stops: which calls an operator stopped.
    """

    def __init__(
        self,
        limiter: Limiter,
        quotas: Quotas,
        audit: ExecutionLog,
        denials: Denials,
        runner: RunnerClient,
        timeout_ms: int,
        stops: Stops,
    ) -> None:
        self._quotas = quotas
        self._limiter, self._audit, self._denials = limiter, audit, denials
        self._runner = runner
        self._timeout_ms = timeout_ms
        self._stops = stops

    async def enter(self, admitted: Admitted) -> Entered:
        """Take a place; the call's time begins.

        Raises:
            Revoked: an emergency brake stops it.
            QuotaExceeded: its install has used what it may in this hour.
            RateLimited, TenantOverConcurrency: its tenant or install may not make one more now.
        """
        install = admitted.install
        self._stops.check(install)
        self._quotas.check(install.used)
        timeout_ms = envelope.effective_timeout_ms(self._timeout_ms, install, admitted.match)
        deadline = Deadline.after_ms(timeout_ms)
        place = await self._limiter.enter(admitted.principal.tenant_id, install.install_id, timeout_ms)
        return Entered(admitted, timeout_ms, deadline, place)

    def leave(self, entered: Entered) -> None:
        """The call is not made after all."""
        self._limiter.leave(entered.place)

    async def open(self, entered: Entered) -> Dispatched:
        """Commit the call's row. Raises `AccessPolicyUnavailable` when that cannot be; the place is given back then."""
        try:
            execution = await self._audit.open(record.opening(entered.admitted, entered.timeout_ms))
        except BaseException:
            self.leave(entered)
            raise
        return Dispatched(entered.admitted, execution, entered.deadline, entered.place)

    async def run(self, call: Dispatched, waiting: Waiting) -> Answer:
        """The guest's answer; the row is closed and the place given back whatever happens.

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
        finally:
            self._limiter.leave(call.place)
        incidents = reply.answer.incidents
        self._audit.close(execution, record.answered(found.status, execution.duration_ms, usage, incidents))
        return found.with_fields(call.place.fields)

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

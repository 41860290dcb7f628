"""One execution, from a decoded request to an answer: limits → trust → code → slot → sandbox → answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import msgspec
import structlog

from runner.api.answers import check_answer, failure, join_headers
from runner.api.running import RunningCall, RunningCalls, Trusted
from runner.api.tally import Tally
from runner.capabilities.capability import Call, Capability
from runner.capabilities.config import config_pairs
from runner.capabilities.context import context_data
from runner.capabilities.host_calls import HostCalls
from runner.capabilities.table import BY_INTERFACE, check_digests, granted_capabilities
from runner.capabilities.user import user_data
from runner.debug.marks import record_end, record_start
from runner.debug.recorder import Recorder, Sink
from runner.metrics import RunnerMetrics
from runner.sandbox import frames
from runner.sandbox.breaker import Breaker, cause_of_death
from runner.sandbox.fair_queue import FairQueue
from runner.sandbox.pool import SandboxPool
from runner.sandbox.process import Died, Outcome
from runner.secrets.execution import ExecutionSecrets
from runner.secrets.keyring import Keyring
from shared.brakes import CallFacts
from shared.deadline import Deadline
from shared.errors import ComponentInvalid, GuestTimeout, InvalidRequest, PlatformError
from shared.ids import ContentHash
from shared.limits import MEMORY_DEFAULT_MB, MEMORY_MAX_MB, MIB
from shared.redaction import redact_from_here
from shared.wire import Context, ExecuteRequest, ExecuteResponse, Http
from shared.wit_types import World

_NO_KEYS: Final = Keyring()
LATE_S: Final = 1  # beyond a call's deadline: what ends it there is the sandbox's timer, then the pool's

_log = structlog.get_logger("execute")


class NativeCode(Protocol):
    """Gives authenticated native code for a digest."""

    async def load(self, content_hash: ContentHash, deadline: Deadline) -> Any:
        """An artefact with a `memfd` the caller closes."""
        ...


class ExecutionLimits(msgspec.Struct, frozen=True):
    """The runner's ceilings, in milliseconds and MiB."""

    default_timeout_ms: int
    max_timeout_ms: int
    fuel: bool = False


class Executor:
    """Runs executions. One for each worker process."""

    def __init__(
        self,
        *,
        limits: ExecutionLimits,
        trusted: Trusted,
        code: NativeCode,
        running: RunningCalls,
        breaker: Breaker,
        pool: SandboxPool,
        queue: FairQueue,
        world: World,
        sink: Sink,
        metrics: RunnerMetrics,
        table: Mapping[str, Capability] = BY_INTERFACE,
        keyring: Keyring = _NO_KEYS,
    ) -> None:
        self._limits, self._trusted, self._code = limits, trusted, code
        self._running, self._breaker, self._table, self._keyring = running, breaker, table, keyring
        self._pool, self._queue, self._world, self._sink, self._metrics = pool, queue, world, sink, metrics
        self._seq = 0

    def deadline(self, request: ExecuteRequest) -> Deadline:
        """When this request must be answered. Raises `InvalidRequest` for limits that make no sense."""
        limits = request.limits
        if limits.fuel is not None and not self._limits.fuel:
            raise InvalidRequest("limits.fuel must be null: this runner does not meter fuel")
        wanted = limits.timeout_ms if limits.timeout_ms is not None else self._limits.default_timeout_ms
        if wanted <= 0 or (limits.memory_mb is not None and limits.memory_mb <= 0):
            raise InvalidRequest("limits.timeout_ms and limits.memory_mb must be positive")
        return Deadline.after_ms(min(wanted, self._limits.max_timeout_ms))

    async def execute(self, request: ExecuteRequest, deadline: Deadline) -> ExecuteResponse:
        """The guest's answer. Raises `PlatformError` when there is none. Its debug events have a beginning and an end."""
        recorder = Recorder(request.context, self._sink if request.debug else None)
        tally = Tally(self._metrics)
        redact_from_here(recorder.redactor)
        record_start(recorder, request.http, deadline)
        try:
            answer = await self._bounded(request, deadline, recorder, tally)
        except PlatformError as error:
            error.detail = recorder.redactor.clean(error.detail)  # it may name what the guest said
            usage = error.extra["usage"] = tally.usage()
            error.extra["denied_targets"] = recorder.denied_targets
            record_end(recorder, error.code, error.status, usage)
            raise
        except BaseException as error:
            # The caller is gone, its time is over, or we are at fault: it ended all the same.
            code = "cancelled" if isinstance(error, asyncio.CancelledError) else "internal"
            record_end(recorder, code, 0, tally.usage())
            raise
        finally:
            tally.close()
            for code in recorder.incidents:
                self._metrics.incidents.labels(code).inc()
        record_end(recorder, "ok", answer.status, answer.usage)
        if not recorder.incidents:
            return answer
        return msgspec.structs.replace(answer, incidents=recorder.incidents, denied_targets=recorder.denied_targets)

    async def _bounded(
        self, request: ExecuteRequest, deadline: Deadline, recorder: Recorder, tally: Tally
    ) -> ExecuteResponse:
        """The pool ends a guest at its deadline; this bound catches everything around it."""
        try:
            async with asyncio.timeout(deadline.remaining_s() + LATE_S):
                return await self._execute(request, deadline, recorder, tally)
        except TimeoutError as error:
            raise GuestTimeout("the call did not end before its deadline", started=tally.began) from error

    async def _execute(
        self, request: ExecuteRequest, deadline: Deadline, recorder: Recorder, tally: Tally
    ) -> ExecuteResponse:
        context = request.context
        granted = granted_capabilities(request.providers, self._table)
        check_digests(request.provider_digests, self._table)
        self._breaker.check(context.tenant_id, context.install_id)
        secrets = ExecutionSecrets.of(request, self._keyring, recorder)
        secrets.check(granted)
        calls = HostCalls(self._world, granted, Call(request, deadline, recorder, tally.meter, secrets), self._table)
        facts = _facts(context, granted)
        await self._running.hear_again(facts, deadline)
        with self._running.enter(facts) as running:
            component, tally.cold = await self._prepare(request, running, deadline)
            memory_bytes = min(request.limits.memory_mb or MEMORY_DEFAULT_MB, MEMORY_MAX_MB) * MIB
            tally.queue()
            await self._queue.acquire(context.tenant_id, deadline)
            try:
                self._breaker.check(context.tenant_id, context.install_id)  # others of it may have died meanwhile
                tally.begin()
                running.started = True
                frame = self._frame(request, component, memory_bytes, granted, deadline)
                lend = partial(self._lend, context.tenant_id)
                yields = self._queue.yields(context.tenant_id)
                outcome = await self._pool.execute(context.tenant_id, frame, deadline, calls, lend, yields=yields)
            finally:
                tally.end()
                self._queue.release(context.tenant_id, tally.meter.cpu_us)
        self._count_death(context, outcome)
        return self._answer(outcome, memory_bytes, tally, calls)

    def _lend(self, tenant: str, waiting: bool) -> None:
        """A guest that waits in a host call lends its slot."""
        if waiting:
            self._queue.lend(tenant)
        else:
            self._queue.take_back(tenant)

    async def _prepare(self, request: ExecuteRequest, running: RunningCall, deadline: Deadline) -> tuple[str, bool]:
        """The component's digest, its code mapped; and whether that took loading."""
        digest = ContentHash(request.context.content_hash)
        statement = await self._trusted.verified(digest, deadline)
        self._running.published_by(running, statement.publisher)
        if statement.component_sha256 is None:
            raise ComponentInvalid("this extension has a user interface only: there is no handler to call")

        async def load(until: Deadline) -> int:
            descriptor: int = (await self._code.load(digest, until)).memfd
            return descriptor

        return statement.component_sha256, await self._pool.ensure(statement.component_sha256, load, deadline)

    def _frame(
        self,
        request: ExecuteRequest,
        component: str,
        memory_bytes: int,
        granted: frozenset[str],
        deadline: Deadline,
    ) -> frames.Execute:
        self._seq += 1
        http = request.http
        return frames.Execute(
            seq=self._seq,
            component=component,
            timeout_ms=deadline.remaining_ms(),
            memory_bytes=memory_bytes,
            context=context_data(request.context),
            method=http.method,
            url=_url(http),
            headers=list(http.headers.items()),
            body=http.body,
            capabilities=tuple(sorted(granted)),
            user=user_data(request, granted),
            config=config_pairs(request, granted),
        )

    def _answer(self, outcome: Outcome, memory_bytes: int, tally: Tally, calls: HostCalls) -> ExecuteResponse:
        result = outcome.result
        if isinstance(result, frames.Done):
            check_answer(result)
            pairs = tuple((name, value) for name, value in result.headers)
            return ExecuteResponse(
                status=result.status,
                headers=join_headers(result.headers),
                header_list=pairs,
                body=result.body,
                usage=tally.usage(),
            )
        error = failure(outcome, memory_bytes)
        if isinstance(result, frames.Failed):
            calls.log("error", "system", f"{error.code}: {result.message}", False)
        else:
            calls.log("error", "system", f"{error.code}: {result.violation or error.detail}", False)
        raise error

    def _count_death(self, context: Context, outcome: Outcome) -> None:
        """A process that cannot be used again is counted against its install; a broken rule is told."""
        cause = cause_of_death(outcome)
        if cause is None:
            return
        self._metrics.deaths.labels(cause).inc()
        self._breaker.died(context.tenant_id, context.install_id)
        how = outcome.result.status if isinstance(outcome.result, Died) else None
        whose = {"tenant": context.tenant_id, "install": context.install_id, "request_id": context.request_id}
        _log.warning("sandbox_died", cause=cause, wait_status=how, **whose)
        if cause != "violation":
            return
        self._metrics.violations.inc()
        again = self._breaker.violated(context.tenant_id, context.install_id)
        if again:
            self._metrics.repeated_violations.inc()
        _log.error("sandbox_violation", again=again, **whose)


def _facts(context: Context, granted: frozenset[str]) -> CallFacts:
    return CallFacts(
        tenant_id=context.tenant_id,
        install_id=context.install_id,
        version_id=context.version_id,
        content_hash=context.content_hash,
        capabilities=granted,
    )


def _url(http: Http) -> str:
    """Path and query as the guest sees them; without a query string the query is encoded (RFC 3986 §3.4)."""
    query = http.query_string if http.query_string is not None else urlencode(http.query)
    return f"{http.path}?{query}" if query else http.path

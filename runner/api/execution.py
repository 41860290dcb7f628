"""One execution, from a decoded request to an answer: limits → trust → code → slot → sandbox → answer."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlencode

import msgspec
import structlog

from runner.api.answers import check_answer, failure, join_headers
from runner.capabilities.capability import Call
from runner.capabilities.config import config_pairs
from runner.capabilities.context import context_data
from runner.capabilities.host_calls import HostCalls
from runner.capabilities.table import granted_capabilities
from runner.capabilities.user import user_data
from runner.debug.marks import record_end, record_start
from runner.debug.recorder import Recorder, Sink
from runner.metrics import RunnerMetrics
from runner.sandbox import frames
from runner.sandbox.fair_queue import FairQueue
from runner.sandbox.pool import SandboxPool
from runner.sandbox.process import Died, Outcome
from shared.deadline import Deadline
from shared.errors import ComponentInvalid, InvalidRequest, PlatformError, Revoked, SandboxViolation
from shared.ids import ContentHash
from shared.limits import MEMORY_DEFAULT_MB, MEMORY_MAX_MB, MIB
from shared.signing import BundleStatement
from shared.wire import ExecuteRequest, ExecuteResponse, Http, Usage
from shared.wit_types import World

_log = structlog.get_logger("execute")


class Trusted(Protocol):
    """Gives the verified statement about a digest."""

    async def verified(self, content_hash: ContentHash, deadline: Deadline) -> BundleStatement:
        """Raises the typed errors of an unknown, untrusted or revoked bundle."""
        ...


class NativeCode(Protocol):
    """Gives authenticated native code for a digest."""

    async def load(self, content_hash: ContentHash, deadline: Deadline) -> Any:
        """An artefact with a `memfd` the caller closes."""
        ...


class State(Protocol):
    """What the state feed says."""

    def is_revoked(self, version_id: str) -> bool:
        """Whether this version may no longer run."""
        ...

    def install_disabled(self, install_id: str) -> bool:
        """Whether this install may no longer run."""
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
        state: State,
        pool: SandboxPool,
        queue: FairQueue,
        world: World,
        sink: Sink,
        metrics: RunnerMetrics,
    ) -> None:
        self._limits, self._trusted, self._code, self._state = limits, trusted, code, state
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
        record_start(recorder, request.http, deadline)
        try:
            answer = await self._execute(request, deadline, recorder)
        except PlatformError as error:
            usage = error.extra.get("usage")
            record_end(recorder, error.code, error.status, usage if isinstance(usage, Usage) else Usage())
            raise
        except (
            BaseException
        ) as error:  # the caller is gone, its time is over, or we are at fault: it ended all the same
            record_end(recorder, "cancelled" if isinstance(error, asyncio.CancelledError) else "internal", 0, Usage())
            raise
        record_end(recorder, "ok", answer.status, answer.usage)
        return answer

    async def _execute(self, request: ExecuteRequest, deadline: Deadline, recorder: Recorder) -> ExecuteResponse:
        started = time.perf_counter()
        granted = granted_capabilities(request.providers)
        component, cold = await self._prepare(request, deadline)
        memory_bytes = min(request.limits.memory_mb or MEMORY_DEFAULT_MB, MEMORY_MAX_MB) * MIB
        calls = HostCalls(self._world, granted, Call(request, deadline, recorder))
        queued = time.perf_counter()
        tenant = request.context.tenant_id
        await self._queue.acquire(tenant, deadline)
        begun = time.perf_counter()
        cpu_us = 0
        try:
            frame = self._frame(request, component, memory_bytes, granted, deadline)
            outcome = await self._pool.execute(tenant, frame, deadline, calls, partial(self._lend, tenant))
            cpu_us = _cpu_us(outcome, time.perf_counter() - begun)
        finally:
            self._queue.release(tenant, cpu_us)
        ended = time.perf_counter()
        self._metrics.queue_seconds.observe(begun - queued)
        self._metrics.guest_seconds.observe(ended - begun)
        self._metrics.guest_memory.observe(outcome.memory_grown_bytes)
        usage = _usage(outcome, duration_s=ended - started, queue_s=begun - queued, cold=cold)
        return self._answer(request, outcome, memory_bytes, usage, calls)

    def _lend(self, tenant: str, waiting: bool) -> None:
        """A guest that waits in a host call lends its slot."""
        if waiting:
            self._queue.lend(tenant)
        else:
            self._queue.take_back(tenant)

    async def _prepare(self, request: ExecuteRequest, deadline: Deadline) -> tuple[str, bool]:
        """The component's digest, its code mapped; and whether that took loading."""
        context = request.context
        if self._state.is_revoked(context.version_id) or self._state.install_disabled(context.install_id):
            raise Revoked("this version or install was stopped by an operator")
        digest = ContentHash(context.content_hash)
        statement = await self._trusted.verified(digest, deadline)
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

    def _answer(
        self, request: ExecuteRequest, outcome: Outcome, memory_bytes: int, usage: Usage, calls: HostCalls
    ) -> ExecuteResponse:
        result = outcome.result
        if isinstance(result, frames.Done):
            check_answer(result)
            pairs = tuple((name, value) for name, value in result.headers)
            return ExecuteResponse(
                status=result.status,
                headers=join_headers(result.headers),
                header_list=pairs,
                body=result.body,
                usage=usage,
            )
        error = failure(outcome, memory_bytes)
        error.extra["usage"] = usage
        if isinstance(result, frames.Failed):
            calls.log("error", "system", f"{error.code}: {result.message}", False)
        else:
            calls.log("error", "system", f"{error.code}: {result.violation or error.detail}", False)
        if isinstance(error, SandboxViolation):
            self._metrics.violations.inc()
            _log.error("sandbox_violation", tenant=request.context.tenant_id, install=request.context.install_id)
        raise error


def _url(http: Http) -> str:
    """Path and query as the guest sees them; without a query string the query is encoded (RFC 3986 §3.4)."""
    query = http.query_string if http.query_string is not None else urlencode(http.query)
    return f"{http.path}?{query}" if query else http.path


def _cpu_us(outcome: Outcome, elapsed_s: float) -> int:
    """Processor time of the call; of a process that died only the elapsed time is known, and that is charged."""
    return int(elapsed_s * 1e6) if isinstance(outcome.result, Died) else outcome.result.cpu_us


def _usage(outcome: Outcome, *, duration_s: float, queue_s: float, cold: bool) -> Usage:
    result = outcome.result
    host_calls = 0 if isinstance(result, Died) else result.host_calls
    return Usage(
        duration_ms=round(duration_s * 1000, 3),
        queue_ms=round(queue_s * 1000, 3),
        cpu_ms=round(_cpu_us(outcome, duration_s) / 1000, 3),
        memory_peak_bytes=outcome.memory_grown_bytes,
        host_calls=host_calls,
        cold=cold,
    )

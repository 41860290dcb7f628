"""Requests of one component file in a real sandbox: `python -m runner.harness COMPONENT`, a request a line on standard input.

For an author's tests: the same compiler, the same sandbox process behind the same wall, the same answers to host calls as
in production, without a gateway, a store or a network around it. What a service beside the runner would have to answer
(storage, events, schedules, secrets, a host application, egress) is not offered: such a call gets its typed refusal, and
a line says so. An author's own tests have stand-ins for those.

Each line is a JSON document, `Asked`; each is answered by a line, `Answered`, when it is done. The component is compiled
once. Exit status 0: the guest answered them all; 1: it did not, and `error` says why; 2: what was asked makes no sense.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog

from runner.aot.child import compile_component
from runner.aot.jobs import usual_limits
from runner.api.answers import check_answer, failure, join_headers
from runner.capabilities.capability import Call, Capability
from runner.capabilities.config import config_pairs
from runner.capabilities.context import context_data
from runner.capabilities.host_calls import HostCalls
from runner.capabilities.table import granted_capabilities, with_services
from runner.capabilities.user import user_data
from runner.debug.recorder import Recorder
from runner.meter import Meter
from runner.sandbox import frames
from runner.sandbox.engine import EngineOptions
from runner.sandbox.hardening import die_with
from runner.sandbox.offer import Offer
from runner.sandbox.pool import PoolOptions, SandboxPool
from shared.deadline import Deadline
from shared.debug_event import ExtDebugEvent
from shared.errors import PlatformError, UnknownCapabilities
from shared.limits import MEMORY_DEFAULT_MB, MIB, PREPARE_MAX_S, TIMEOUT_DEFAULT_MS
from shared.provider import Providers
from shared.provider_files import read_providers, shipped
from shared.wire import Context, ExecuteRequest, Http, Usage, User

START_MAX_S: Final = (
    30  # a zygote and its first sandbox take 0.3 s; a machine that builds at the same time, ten times that
)
PROVIDERS_VARIABLE: Final = "EXT_PROVIDERS_DIR"
_TENANT: Final = "harness"


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request.

    Attributes:
        path: with a query if it takes one.
        grants: capabilities, as an install has them.
        config: the install's settings.
        timeout_ms, memory_mb: as a manifest has them.
    """

    method: str = "GET"
    path: str = "/"
    headers: dict[str, str] = {}
    body_b64: str | None = None
    grants: tuple[str, ...] = ()
    config: dict[str, str] = {}
    user: User | None = None
    timeout_ms: int = TIMEOUT_DEFAULT_MS
    memory_mb: int = MEMORY_DEFAULT_MB


class Said(msgspec.Struct, frozen=True):
    """One line of the execution's debug stream."""

    level: str
    stream: str
    message: str


class Failure(msgspec.Struct, frozen=True):
    """Why there is no answer; the code is the platform's."""

    code: str
    detail: str


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        wall: layer of the sandbox's wall → `on`, or why this machine does not have it.
        compile_ms: how long making native code took, before the sandbox started.
    """

    status: int = 0
    headers: dict[str, str] = {}
    body_b64: str | None = None
    logs: tuple[Said, ...] = ()
    usage: Usage = Usage()
    wall: dict[str, str] = {}
    compile_ms: float = 0.0
    error: Failure | None = None


class _Lines:
    """A sink that keeps what an execution says."""

    def __init__(self) -> None:
        self.said: list[Said] = []

    def emit(self, event: ExtDebugEvent) -> None:
        """Take one event."""
        self.said.append(Said(event.level, event.stream, event.message))


class Harness:
    """A component with native code, and a sandbox for it. Made by `opened`."""

    def __init__(self, pool: SandboxPool, providers: Providers, compile_ms: float) -> None:
        self._pool = pool
        self._world = providers.world
        self._table = with_services(*(Capability(name=one.capability, interface=one.name) for one in providers))
        self._compile_ms = compile_ms
        self._seq = 0

    async def execute(self, asked: Asked) -> Answered:
        """Run one request. Raises `UnknownCapabilities` for a grant that is none, `Overloaded` without a sandbox."""
        self._seq += 1
        granted = granted_capabilities(asked.grants, self._table)
        request, deadline, meter, lines = _request(asked), Deadline.after_ms(asked.timeout_ms), Meter(), _Lines()
        call = Call(request, deadline, Recorder(request.context, lines), meter)
        calls = HostCalls(self._world, granted, call, self._table)
        frame = self._frame(request, granted, deadline, asked.memory_mb * MIB)
        began = time.perf_counter()
        outcome = await self._pool.execute(_TENANT, frame, deadline, calls, _waits)
        answered = Answered(
            usage=Usage(
                duration_ms=round((time.perf_counter() - began) * 1000, 1),
                cpu_ms=meter.cpu_us / 1000,
                memory_peak_bytes=meter.memory_peak_bytes,
                host_calls=meter.host_calls,
            ),
            wall=self._pool.wall,
            compile_ms=self._compile_ms,
        )
        try:
            result = outcome.result
            if not isinstance(result, frames.Done):
                error = failure(outcome, asked.memory_mb * MIB)
                told = result.message if isinstance(result, frames.Failed) else result.violation
                calls.log("error", "system", f"{error.code}: {told or error.detail}", False)
                raise error
            check_answer(result)
        except PlatformError as error:
            failed = Failure(error.code, error.detail)
            return msgspec.structs.replace(answered, logs=tuple(lines.said), error=failed)
        return msgspec.structs.replace(
            answered,
            status=result.status,
            headers=join_headers(result.headers),
            body_b64=None if result.body is None else base64.b64encode(result.body).decode(),
            logs=tuple(lines.said),
        )

    def _frame(
        self, request: ExecuteRequest, granted: frozenset[str], deadline: Deadline, memory_bytes: int
    ) -> frames.Execute:
        return frames.Execute(
            seq=self._seq,
            component=_TENANT,
            timeout_ms=deadline.remaining_ms(),
            memory_bytes=memory_bytes,
            context=context_data(request.context),
            method=request.http.method,
            url=request.http.path,
            headers=list(request.http.headers.items()),
            body=request.http.body,
            capabilities=tuple(sorted(granted)),
            user=user_data(request, granted),
            config=config_pairs(request, granted),
        )


@asynccontextmanager
async def opened(component: Path, providers: Providers) -> AsyncIterator[Harness]:
    """Compile `component`, then keep one sandbox for the length of the block.

    A layer of the wall that this machine lacks is told and not required: the guest is the author's own.

    Raises:
        ComponentInvalid, ArtefactUnavailable: it does not compile, or not in time.
        TimeoutError: no sandbox was ready in time.
    """
    began = time.perf_counter()
    code = await _compiled(component)
    compile_ms = round((time.perf_counter() - began) * 1000, 1)
    offer = Offer(providers.world, dict(providers.interfaces))
    # More than one: a spare that is being forked and a sandbox that is ending count as well.
    options = PoolOptions(sandbox_max=4, idle_max=1, spares=1, require_wall=False)
    pool, started = SandboxPool(options, EngineOptions(), offer), asyncio.Event()
    running = asyncio.create_task(pool.run(started), name="pool")
    try:
        async with asyncio.timeout(START_MAX_S):
            await started.wait()
        await pool.ensure(_TENANT, lambda _deadline: _sealed(code), Deadline.after_ms(START_MAX_S * 1000))
        yield Harness(pool, providers, compile_ms)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _waits(_waiting: bool) -> None:
    """There is no other guest to give way to."""


def _request(asked: Asked) -> ExecuteRequest:
    body = None if asked.body_b64 is None else base64.b64decode(asked.body_b64, validate=True)
    return ExecuteRequest(
        context=Context(
            request_id="harness",
            tenant_id=_TENANT,
            extension_id="harness",
            install_id="harness",
            version_id="harness",
            content_hash="harness",
        ),
        http=Http(method=asked.method, path=asked.path, headers=asked.headers, body=body),
        config=asked.config,
        providers=asked.grants,
        user=asked.user,
        debug=True,
    )


async def _compiled(component: Path) -> bytes:
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        target = Path(folder) / "component.cwasm"
        deadline = Deadline.after_ms(PREPARE_MAX_S * 1000)
        await compile_component(component, target, fuel=False, limits=usual_limits(), deadline=deadline)
        return await asyncio.to_thread(target.read_bytes)


async def _sealed(code: bytes) -> int:
    """A descriptor of native code, as the loader of a runner gives it."""
    descriptor = os.memfd_create("harness", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        await asyncio.to_thread(file.write, code)
    return descriptor


def _providers_here() -> Providers:
    directory = os.environ.get(PROVIDERS_VARIABLE)
    return read_providers(directory) if directory else shipped()


async def _run(component: Path, wanted: list[Asked]) -> bool:
    """Answer each; whether the guest did."""
    async with opened(component, _providers_here()) as harness:
        good = True
        for asked in wanted:
            answered = await harness.execute(asked)
            good = good and answered.error is None
            print(msgspec.json.encode(answered).decode(), flush=True)
        return good


def main(arguments: list[str]) -> int:
    """Run the requests; the exit status."""
    die_with(os.getppid(), signal.SIGTERM)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        (component,) = (Path(argument).resolve() for argument in arguments)
        wanted = [msgspec.json.decode(line, type=Asked) for line in sys.stdin.buffer if line.strip()]
        return 0 if asyncio.run(_run(component, wanted)) else 1
    except (ValueError, msgspec.MsgspecError, UnknownCapabilities) as error:
        print(f"python -m runner.harness COMPONENT < REQUESTS: {error}", file=sys.stderr)
        return 2
    except PlatformError as error:
        failed = Failure(error.code, error.detail)
    except (TimeoutError, OSError) as error:
        failed = Failure("overloaded", f"no sandbox could be started: {str(error) or f'not within {START_MAX_S} s'}")
    print(msgspec.json.encode(Answered(error=failed)).decode())
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

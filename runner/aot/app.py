"""The compiler role's listener: `POST /v1/prepare`, `/healthz`, `/readyz`, `/metrics`.

What it consists of is opened in the lifespan and closed in reverse.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from runner import problem
from runner.aot.callers import Callers
from runner.aot.compiler import Compiler
from runner.aot.jobs import CompileLimits, Jobs
from runner.aot.role import open_role
from runner.bundles.objects import Objects
from runner.settings import CompilerSettings
from runner.state.trust_watch import watch_trust
from shared import ids
from shared.deadline import Deadline
from shared.errors import InvalidRequest, MethodNotAllowed, NotFound, Overloaded, PayloadTooLarge, PlatformError
from shared.limits import KIB
from shared.trust import TrustStore
from shared.wire import PrepareRequest, PrepareResponse

BODY_MAX_BYTES: Final = 16 * KIB  # a digest and a flag
BODY_MAX_S: Final = 10.0
READY_MAX_MS: Final = 1_000

_UNCACHED: Final = {"cache-control": "no-store"}

_request = msgspec.json.Decoder(PrepareRequest)


class _Metrics:
    """Counters of this process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.prepared = Counter("ext_prepare_total", "Preparations by outcome", ["outcome"], registry=self.registry)
        self.seconds = Histogram(
            "ext_prepare_seconds",
            "Time of one preparation",
            buckets=(0.1, 0.5, 1, 2, 5, 10, 20, 40, 80, 120),
            registry=self.registry,
        )
        self.jobs = Gauge("ext_prepare_jobs", "Preparations by state", ["state"], registry=self.registry)
        self.tampered = Counter(
            "ext_cache_tampered_total",
            "Stored bytes that failed their check and were not used: alert on any",
            ["where"],
            registry=self.registry,
        )

    def count_tampered(self, where: str) -> None:
        """Bytes from `disk` or `store` were not what was signed."""
        self.tampered.labels(where).inc()

    def show(self, jobs: Jobs) -> None:
        """Expose the queue."""
        self.jobs.labels("running").set_function(lambda: jobs.running)
        self.jobs.labels("waiting").set_function(lambda: jobs.waiting)


class _Context(msgspec.Struct, frozen=True):
    """What an endpoint may touch."""

    compiler: Compiler
    objects: Objects
    callers: Callers


class CompilerApp:
    """The endpoints: decode, one call, encode.

    Args:
        settings: of the role.
        trust: whose signatures count.
        draining: set from outside when the process was told to end; `/readyz` fails from then on.
        limits: what compiling may cost; by default the platform's on this machine.
    """

    def __init__(
        self, settings: CompilerSettings, trust: TrustStore, draining: asyncio.Event, limits: CompileLimits | None
    ) -> None:
        self._settings = settings
        self._trust = trust
        self._draining = draining
        self._limits = limits
        self._metrics = _Metrics()
        self._open: _Context | None = None

    def asgi(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/prepare", self.prepare, methods=["POST"]),
                Route("/healthz", self.healthz),
                Route("/readyz", self.readyz),
                Route("/metrics", self.metrics),
            ],
            exception_handlers={404: _not_found, 405: _not_allowed},
            lifespan=self._lifespan,
        )

    async def prepare(self, request: Request) -> Response:
        """`POST /v1/prepare {content_hash, allow_unused_imports?}`."""
        started = time.monotonic()
        outcome = "failed"
        try:
            answer = await self._prepare(request)
            outcome = answer.artefact
            return Response(msgspec.json.encode(answer), media_type="application/json")
        except PlatformError as error:
            outcome = error.code
            return _refused(request, error)
        finally:
            self._metrics.prepared.labels(outcome).inc()
            self._metrics.seconds.observe(time.monotonic() - started)

    async def healthz(self, _request: Request) -> Response:
        """Alive."""
        return PlainTextResponse("ok", headers=_UNCACHED)

    async def readyz(self, _request: Request) -> Response:
        """Whether calls should come here; a store that is away is reported and does not fail it."""
        if self._draining.is_set() or self._open is None:
            return Response(_Ready(status="draining").encoded(), 503, _UNCACHED, "application/json")
        store = await self._open.objects.reachable(Deadline.after_ms(READY_MAX_MS))
        ready = _Ready(status="ok" if store else "degraded", object_store="ok" if store else "degraded")
        return Response(ready.encoded(), 200, _UNCACHED, "application/json")

    async def metrics(self, _request: Request) -> Response:
        """Prometheus."""
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def _prepare(self, request: Request) -> PrepareResponse:
        if self._open is None:
            raise Overloaded("the compiler is starting", retry_after_s=1)
        body = await _body(request)
        self._open.callers.check(request.headers.get("authorization", ""), body)
        try:
            asked = _request.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"the request is not decodable: {error}") from error
        return await self._open.compiler.prepare(ids.content_hash(asked.content_hash), asked.allow_unused_imports)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch_trust(self._trust), name="watch trust bundle")
            try:
                async with open_role(
                    self._settings, self._trust, limits=self._limits, tampered=self._metrics.count_tampered
                ) as role:
                    self._metrics.show(role.compiler.jobs)
                    self._open = _Context(role.compiler, role.objects, Callers(self._settings.compiler_caller_keys))
                    try:
                        yield
                    finally:
                        self._open = None
            finally:
                watching.cancel()


class _Ready(msgspec.Struct, frozen=True, omit_defaults=True):
    status: str
    object_store: str = ""

    def encoded(self) -> bytes:
        return msgspec.json.encode(self)


async def _body(request: Request) -> bytes:
    """The body, bounded in bytes and time. Raises `PayloadTooLarge`, `InvalidRequest`."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_MAX_S):
            async for part in request.stream():
                body += part
                if len(body) > BODY_MAX_BYTES:
                    raise PayloadTooLarge(f"the body may have {BODY_MAX_BYTES} bytes")
    except (TimeoutError, ClientDisconnect) as error:
        raise InvalidRequest(f"the body must arrive within {BODY_MAX_S:g} s") from error
    return bytes(body)


async def _not_found(request: Request, _error: Exception) -> Response:
    return _refused(request, NotFound("POST /v1/prepare, /healthz, /readyz and /metrics are served here"))


async def _not_allowed(request: Request, error: Exception) -> Response:
    answer = _refused(request, MethodNotAllowed("the method is not offered here"))
    if isinstance(error, HTTPException) and error.headers:
        answer.headers.update(error.headers)
    return answer


def _refused(request: Request, error: PlatformError) -> Response:
    body = problem.encode(error, ids.request_id(request.headers.get("x-request-id")))
    headers = {name.decode(): value.decode() for name, value in problem.headers(error, body)}
    return Response(body, error.status, headers)

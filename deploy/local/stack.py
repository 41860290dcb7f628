"""Brings the whole stack up, keeps it up, takes it down again in reverse order.

    PostgreSQL ─ migrate ─┐
    Redis ────────────────┼─ gateway ┐
    S3 ───────────────────┤  runner  ├─ publish, install ─ stack.json ─ "ready"
    samples are built ────┘  compiler┘

What can happen side by side does. Every child is watched from the moment it is ready: when one ends, the stack
says which, shows its log and stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from deploy.local import demo, keys, ports, record, samples, services
from deploy.local.failures import StackError
from deploy.local.locks import Lock
from deploy.local.postgres import Postgres, postgres
from deploy.local.processes import Child
from deploy.local.progress import Progress
from deploy.local.redis import Redis, redis
from deploy.local.s3 import S3, s3
from deploy.local.services import Addresses, Surroundings

T = TypeVar("T")

DEFAULT_PORTS: Final = {
    "postgres": 5432,
    "redis": 6379,
    "s3": 4566,
    "gateway": 8000,
    "gateway_internal": 8001,
    "runner": 8080,
    "runner_public": 8081,
    "compiler": 8082,
}
LOCK: Final = "lock"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What may be asked of a stack.

    Attributes:
        directory: keeps everything: data, keys, logs, `stack.json`.
        samples: the examples to publish and install.
        random_ports: take any free ports instead of the default ones, when none are remembered.
    """

    directory: Path
    samples: tuple[str, ...] = samples.SAMPLES
    random_ports: bool = False


async def run(options: Options, progress: Progress, stop: asyncio.Event, ready: Callable[[record.Stack], None]) -> None:
    """Run the stack until `stop` is set.

    Args:
        options: what to start.
        progress: is told every step.
        stop: set by a signal; the stack then ends in order, also while it still starts.
        ready: called once, when every service is ready and `stack.json` is written.

    Raises:
        StackError: another stack has the directory, or something did not start or ended. May come in an
            `ExceptionGroup`.
    """
    lock = occupy(options.directory)
    try:
        async with contextlib.AsyncExitStack() as children:
            await _supervised(options, progress, children, stop, ready)
            progress.begun("stopping")
        progress.done("stopped; the data is kept")
    finally:
        (options.directory / record.NAME).unlink(missing_ok=True)
        lock.release()


def occupy(directory: Path) -> Lock:
    """Take the directory for one stack, our pid in the lock file. Raises `StackError` when another stack has it."""
    directory.mkdir(parents=True, exist_ok=True)
    lock = Lock(directory / LOCK)
    if not lock.take():
        raise StackError(
            f"a stack already runs in {directory} (pid {lock.path.read_text().strip() or 'unknown'})",
            next_step=f"stop it with `python -m deploy.local down --dir {directory}`, or choose another --dir",
        )
    lock.write(f"{os.getpid()}\n")
    (directory / record.NAME).unlink(missing_ok=True)  # of a stack that was killed
    return lock


async def _supervised(
    options: Options,
    progress: Progress,
    children: contextlib.AsyncExitStack,
    stop: asyncio.Event,
    ready: Callable[[record.Stack], None],
) -> None:
    """Start everything, say so, wait for `stop`. A child that ends before that ends the group with its error."""
    async with asyncio.TaskGroup() as watchers:
        start = _Start(options, progress, children, watchers)
        stopping = watchers.create_task(stop.wait(), name="stop")
        started = watchers.create_task(start.everything(), name="start")
        await asyncio.wait({stopping, started}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            ready(await started)
            await stopping
        for task in (started, *start.watching):
            task.cancel()  # from here on, children end because we stop them


class _Start:
    """One start: enters the children's contexts into `children`, which ends them in reverse order."""

    def __init__(
        self, options: Options, progress: Progress, children: contextlib.AsyncExitStack, watchers: asyncio.TaskGroup
    ) -> None:
        self._directory = options.directory
        self._options = options
        self._progress = progress
        self._children = children
        self._watchers = watchers
        self._keys = keys.ensure(options.directory / "keys")
        self._ports = ports.choose(DEFAULT_PORTS, options.directory / "ports.json", at_random=options.random_ports)
        self._pids: dict[str, int] = {}
        self.watching: list[asyncio.Task[None]] = []

    async def everything(self) -> record.Stack:
        """The running stack, `stack.json` written. Raises `StackError`, perhaps in an `ExceptionGroup`."""
        async with asyncio.TaskGroup() as group:
            building = group.create_task(samples.build(self._options.samples, self._progress))
            starting = group.create_task(self._platform())
        around = starting.result()
        found = _described(around, await demo.populate(around, building.result(), self._progress), self._pids)
        record.write(self._directory, found)
        return found

    async def _platform(self) -> Surroundings:
        async with asyncio.TaskGroup() as group:
            database = group.create_task(self._postgres())
            cache = group.create_task(self._redis())
            objects = group.create_task(self._s3())
        numbers = self._ports
        around = Surroundings(
            directory=self._directory,
            addresses=Addresses(
                gateway=numbers["gateway"],
                gateway_internal=numbers["gateway_internal"],
                runner=numbers["runner"],
                runner_public=numbers["runner_public"],
                compiler=numbers["compiler"],
            ),
            keys=self._keys,
            postgres=database.result(),
            redis=cache.result(),
            s3=objects.result(),
        )
        async with asyncio.TaskGroup() as group:
            for service in (services.gateway, services.runner, services.compiler):
                group.create_task(self._service(service.__name__, service(around)))
        return around

    async def _postgres(self) -> Postgres:
        log = self._log("postgres")
        found = await self._enter(
            "PostgreSQL", postgres(self._directory / "postgres", self._ports["postgres"], log=log)
        )
        self._watch(found.child)
        self._progress.done(f"PostgreSQL on {found.host}:{found.port}")
        await services.migrate(self._directory, self._keys, found)
        self._progress.done("the database has this release's schema")
        return found

    async def _redis(self) -> Redis:
        log = self._log("redis")
        found = await self._enter("Redis", redis(self._directory / "redis", self._ports["redis"], log=log))
        self._watch(found.child)
        self._progress.done(f"Redis on {found.host}:{found.port}")
        return found

    async def _s3(self) -> S3:
        found = await self._enter("S3", s3(self._directory / "s3", self._ports["s3"], log=self._log("s3")))
        self._watch(found.child)
        self._progress.done(f"S3 on {found.endpoint}")
        return found

    async def _service(self, name: str, context: AbstractAsyncContextManager[Child]) -> None:
        self._watch(await self._enter(name, context))
        self._progress.done(f"{name} is ready")

    async def _enter(self, name: str, context: AbstractAsyncContextManager[T]) -> T:
        return await self._children.enter_async_context(self._announced(name, context))

    @contextlib.asynccontextmanager
    async def _announced(self, name: str, context: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
        async with context as found:
            yield found
        self._progress.done(f"{name} has stopped")

    def _watch(self, child: Child) -> None:
        self._pids[child.name] = child.pid
        self.watching.append(self._watchers.create_task(_watch(child), name=child.name))

    def _log(self, name: str) -> Path:
        return self._directory / "logs" / f"{name}.log"


def _described(around: Surroundings, content: demo.Content, pids: dict[str, int]) -> record.Stack:
    addresses, store = around.addresses, around.s3
    return record.Stack(
        gateway_url=addresses.url(addresses.gateway),
        gateway_internal_url=addresses.url(addresses.gateway_internal),
        runner_url=addresses.url(addresses.runner),
        runner_public_base=addresses.url(addresses.runner_public),
        compiler_url=addresses.url(addresses.compiler),
        database_url=around.postgres.address(services.DATABASE),
        redis_url=around.redis.url,
        s3=record.ObjectStore(
            endpoint=store.endpoint,
            region=store.region,
            access_key=store.access_key,
            secret_key=store.secret_key,
            bucket=store.bucket,
        ),
        runner_service_token=around.keys.passwords.service_token,
        operator_token=content.operator_token,
        trust_bundle=str(around.keys.trust_bundle),
        signing_key=str(around.keys.publisher.private),
        tenants=content.tenants,
        extensions=content.extensions,
        pids=pids,
    )


async def _watch(child: Child) -> None:
    status = await child.exited()
    raise StackError(
        f"{child.name} ended with status {status} while the stack was running",
        log=child.log,
        next_step=f"the whole log is in {child.log}; `make run` starts again with the data kept",
    )

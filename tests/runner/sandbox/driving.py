"""Runs calls of a WAT guest, whose behaviour the url chooses, on a real pool of real sandbox processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wasmtime.component import Component

from runner.meter import Meter
from runner.sandbox import frames
from runner.sandbox.engine import EngineOptions, make_engine
from runner.sandbox.offer import Offer
from runner.sandbox.pool import PoolOptions, SandboxPool
from runner.sandbox.process import Outcome
from shared.deadline import Deadline
from shared.limits import MIB

COMPONENT = "behaviours"
GRANTS = ("cap:config.read", "cap:context.read", "cap:log.emit", "cap:user.read")


def sealed(data: bytes) -> int:
    """A descriptor with `data`, as the artefact loader gives it."""
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC)
    os.write(descriptor, data)
    return descriptor


def compiled(wat: Path) -> bytes:
    """A component's native code."""
    return bytes(Component(make_engine(EngineOptions()), wat.read_bytes()).serialize())


async def until(happened: Callable[[], bool], limit_s: float = 20) -> None:
    """Give way until something happened; fails after `limit_s`."""
    async with asyncio.timeout(limit_s):
        while not happened():  # noqa: ASYNC110 - the processes watched here are not ours to instrument
            await asyncio.sleep(0)


class Recorded:
    """Takes what a guest says and answers its host calls."""

    def __init__(self, reply: Callable[[], Any] = lambda: (False, "denied")) -> None:
        self.lines: list[tuple[str, str, str]] = []
        self.asked: list[tuple[str, str, list[Any]]] = []
        self.reply = reply
        self.gate: asyncio.Event | None = None
        self.meter = Meter()

    def log(self, level: str, stream: str, message: str, truncated: bool) -> None:
        self.lines.append((level, stream, message))

    async def answer(self, interface: str, function: str, arguments: Sequence[Any]) -> Any:
        self.asked.append((interface, function, list(arguments)))
        if self.gate is not None:
            await self.gate.wait()
        return self.reply()


class Driver:
    """Runs calls on a pool. `component`: what the code is called there; one pool knows one code by one name."""

    def __init__(self, pool: SandboxPool, code: bytes, component: str = COMPONENT) -> None:
        self.pool = pool
        self.code = code
        self.component = component
        self._seq = 0

    async def call(
        self,
        url: str = "/echo",
        *,
        tenant: str = "acme",
        method: str = "POST",
        body: bytes | None = b"hello",
        headers: list[tuple[str, str]] | None = None,
        timeout_ms: int = 3000,
        memory_mb: int = 8,
        grants: tuple[str, ...] = GRANTS,
        user: Any = "not-available",
        calls: Recorded | None = None,
        waiting: Callable[[bool], None] = lambda _waiting: None,
        yields: bool = False,
    ) -> Outcome:
        """One execution of the test guest."""
        deadline = Deadline.after_ms(timeout_ms)

        async def load(_deadline: Deadline) -> int:
            return sealed(self.code)

        await self.pool.ensure(self.component, load, Deadline.after_ms(10_000))
        self._seq += 1
        frame = frames.Execute(
            seq=self._seq,
            component=self.component,
            timeout_ms=deadline.remaining_ms(),
            memory_bytes=memory_mb * MIB,
            context=("request", tenant, "extension", "install", "version"),
            method=method,
            url=url,
            headers=headers if headers is not None else [("x-test", "1")],
            body=body,
            capabilities=grants,
            user=user,
            config=[("region", "emea")],
        )
        return await self.pool.execute(tenant, frame, deadline, calls or Recorded(), waiting, yields=yields)


class running_pool:  # noqa: N801 - reads as a verb where it is used
    """`async with running_pool(options) as pool`."""

    def __init__(self, options: PoolOptions, offer: Offer | None = None) -> None:
        self._pool = SandboxPool(options, EngineOptions(), offer)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SandboxPool:
        started = asyncio.Event()
        self._task = asyncio.create_task(self._pool.run(started))
        async with asyncio.timeout(20):
            await started.wait()
        return self._pool

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

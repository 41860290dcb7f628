"""A tenant's guest in real sandbox processes, and those processes seen from outside."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from runner.sandbox import frames
from runner.sandbox.pool import SandboxPool
from runner.sandbox.process import Outcome, Sandbox
from shared.digest import sha256_hex
from tests.runner.sandbox.driving import Driver


class Guest:
    """One component, run for one tenant."""

    def __init__(self, pool: SandboxPool, tenant: str, code: bytes) -> None:
        self.pool, self.tenant, self.code = pool, tenant, code
        self._driver = Driver(pool, code, sha256_hex(code))

    def of(self, tenant: str) -> Guest:
        """The same component, run for another tenant."""
        return Guest(self.pool, tenant, self.code)

    async def call(self, url: str = "/", **more: Any) -> Outcome:
        """How one call ended; without a body unless `more` brings one."""
        return await self._driver.call(url, tenant=self.tenant, **({"body": None, "memory_mb": 64} | more))

    async def done(self, url: str = "/", **more: Any) -> frames.Done:
        """The answer to a call that must have one."""
        outcome = await self.call(url, **more)
        assert isinstance(outcome.result, frames.Done), outcome
        return outcome.result

    async def failed(self, url: str = "/", **more: Any) -> frames.Failed:
        """The failure of a call that must not be answered, and must not cost the process either."""
        outcome = await self.call(url, **more)
        assert isinstance(outcome.result, frames.Failed), outcome
        return outcome.result

    async def numbers(self, kind: str, **more: Any) -> tuple[int, ...]:
        """The numbers a guest answers with, as `struct` describes them."""
        return struct.unpack(kind, (await self.done(**more)).body or b"")

    def sandboxes(self) -> list[Sandbox]:
        """The tenant's living sandboxes."""
        return [sandbox for sandbox in self.pool._all if sandbox.tenant == self.tenant]

    def peak_growth_bytes(self) -> int:
        """The most that its one process ever held beyond what it held when it was fresh (`VmHWM`, proc(5))."""
        (sandbox,) = self.sandboxes()
        lines = Path(f"/proc/{sandbox.pid}/status").read_text().splitlines()
        peak = int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
        return peak - sandbox._rss_fresh

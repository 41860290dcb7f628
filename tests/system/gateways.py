"""A second gateway beside the stack's: same database, same Redis, same runners, ports of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator

from deploy.local.ports import random_free
from deploy.local.record import Stack
from deploy.local.rest import answers
from tests.system.runners import START_MAX_S, STOP_MAX_S, environment_of


class GatewayProcess:
    """A running gateway."""

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self.url = url
        self._process = process

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def stop(self) -> float:
        """Ask it to end and wait until it has; how many seconds that took."""
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(self._process.wait, STOP_MAX_S) == 0
        return time.monotonic() - began

    async def kill(self) -> None:
        """End it without a word."""
        self._process.kill()
        await asyncio.to_thread(self._process.wait, STOP_MAX_S)


@contextlib.asynccontextmanager
async def another_gateway(stack: Stack, port: int | None = None, **changes: str) -> AsyncIterator[GatewayProcess]:
    """The stack's gateway once more, with these further settings; it may have been stopped by the end of the block."""
    public, internal = port or random_free(), random_free()
    environment = environment_of(stack.pids["gateway"]) | {
        "GATEWAY_BIND": f"127.0.0.1:{public}",
        "GATEWAY_INTERNAL_BIND": f"127.0.0.1:{internal}",
        **changes,
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, "-m", "gateway"], env=environment, stdout=log, stderr=log)
        try:
            async with asyncio.timeout(START_MAX_S):
                while not await answers(f"http://127.0.0.1:{internal}/readyz"):
                    assert process.poll() is None, "the gateway ended while it started"
                    await asyncio.sleep(0.05)
            yield GatewayProcess(f"http://127.0.0.1:{public}", process)
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, STOP_MAX_S)

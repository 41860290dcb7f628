"""The processes guests run in: they hold nothing worth stealing, and one that dies costs one call. Rows T63, T64.

That such a call has one row in the execution log is tried with both services (`tests/system/test_aborts.py`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from runner.sandbox.pool import PoolOptions, SandboxPool
from runner.sandbox.process import Sandbox
from runner.variables import RUNNER_VARIABLES
from shared.debug_stream import EXECUTION_END
from tests.runner.api.door import Runner
from tests.runner.sandbox.driving import running_pool, until
from tests.security.processes import Guest
from tests.system.runners import can_read_memory, environment_of, memory_of

CANARY = "canary-2f9d7c"
HELD_KEY = bytes.fromhex("c0ffee") * 11  # a key in this process's memory, not in its environment


# ---- T63 ------------------------------------------------------------------------------------------------------


async def sandboxes_of_a_runner_full_of_secrets(
    monkeypatch: pytest.MonkeyPatch, behaviours: bytes
) -> list[tuple[bytes, dict[str, str], list[str]]]:
    """Memory, environment and open files of the sandboxes that a runner with every setting set has started."""
    for variable in RUNNER_VARIABLES:
        monkeypatch.setenv(variable.name, f"{CANARY}-{variable.name}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{CANARY}-aws")
    found: list[tuple[bytes, dict[str, str], list[str]]] = []
    async with running_pool(PoolOptions(sandbox_max=4)) as pool:
        await Guest(pool, "acme", behaviours).done(body=b"what a guest may know: its own request 61f0")
        for sandbox in pool._all:
            links = [str(entry.readlink()) for entry in Path(f"/proc/{sandbox.pid}/fd").iterdir()]
            memory = memory_of(sandbox.pid) if can_read_memory() else b""
            found.append((memory, environment_of(sandbox.pid), links))
    return found


async def test_t63_a_sandbox_has_no_environment_and_no_descriptor_but_its_own(
    monkeypatch: pytest.MonkeyPatch, behaviours: bytes
) -> None:
    found = await sandboxes_of_a_runner_full_of_secrets(monkeypatch, behaviours)
    assert len(found) >= 2  # the tenant's, and the spare
    for _, environment, links in found:
        assert environment == {}
        assert {link.split(":")[0] for link in links} <= {"socket", "anon_inode", "/memfd", "/dev/null"}
        assert sum(link.startswith("socket:") for link in links) == 1


@pytest.mark.skipif(not can_read_memory(), reason="only root may look into another process")
async def test_t63_nothing_the_runner_knows_is_in_the_memory_of_a_sandbox(
    monkeypatch: pytest.MonkeyPatch, behaviours: bytes
) -> None:
    found = await sandboxes_of_a_runner_full_of_secrets(monkeypatch, behaviours)
    assert any(b"its own request 61f0" in memory for memory, _, _ in found)  # it is looked for in the right place
    for memory, _, _ in found:
        assert CANARY.encode() not in memory
        assert HELD_KEY not in memory


# ---- T64 ------------------------------------------------------------------------------------------------------


async def busy(pool: SandboxPool, known: set[int]) -> Sandbox:
    """The sandbox that took up a call since."""

    def running() -> list[Sandbox]:
        return [sandbox for sandbox in pool._all if sandbox._result is not None and sandbox.pid not in known]

    await until(lambda: bool(running()))
    return running()[0]


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGKILL])
async def test_t64_a_process_that_dies_in_a_call_is_502_and_the_next_call_has_a_new_one_within_a_second(
    number: signal.Signals, behaviours: bytes
) -> None:
    async with running_pool(PoolOptions(sandbox_max=4)) as pool:
        runner = Runner(pool, behaviours)
        await runner.call()
        runner.sink.events.clear()
        running = asyncio.create_task(runner.call("/loop"))
        victim = await busy(pool, set())
        os.kill(victim.pid, number)
        status, answer = await running
        assert answer.error is not None
        assert (status, answer.error.code, answer.error.blame, answer.error.started) == (
            502,
            "guest_aborted",
            "guest",
            True,
        )
        ends = [event for event in runner.sink.events if event.data and event.data["kind"] == EXECUTION_END]
        assert [(event.data or {})["code"] for event in ends] == ["guest_aborted"]
        before_s = time.monotonic()
        assert (await runner.call())[0] == 200
        assert time.monotonic() - before_s < 1
        assert victim not in pool._all

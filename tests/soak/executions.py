"""The first phase: many executions of three guests for fifty tenants, with traps, timeouts and kills among them.

Calls come from a fixed number of closed loops. Now and then all of them pause, the runner comes to rest, and its
processes are measured; a line through those readings says whether anything keeps growing.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from deploy.local.record import Extension, Stack
from tests.bench.rows import Row
from tests.soak import processes
from tests.soak.asking import Caller, Told, calling
from tests.soak.expecting import TURNED_AWAY, Expected, Plan
from tests.soak.killing import Loops, kill_the_looping
from tests.soak.processes import Process, Reading
from tests.system.runners import RunnerProcess, another_runner

LOOPS: Final = 12
READINGS: Final = 20
SETTLED_SHARE: Final = 0.3  # of the readings come before every sandbox has run every guest, and are not compared
SLOPE_FROM_CALLS: Final = 20_000  # fewer say nothing about growth
SLOPE_MAX_MIB: Final = 1.0  # for each 10,000 calls
TURNED_AWAY_PAUSE_S: Final = 0.05
SHOWN: Final = 10

Say = Callable[[str], None]


class Bounds(msgspec.Struct, frozen=True):
    """When it is enough: after so many calls or so many seconds, whichever comes first."""

    calls: int
    seconds: float = float("inf")


class Findings:
    """What was seen so far."""

    def __init__(self) -> None:
        self.calls = 0
        self.kinds: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.turned_away = 0
        self.readings: list[Reading] = []
        self.processes: set[Process] = set()

    def take(self, expected: Expected, told: Told) -> None:
        """Check one answer."""
        self.calls += 1
        self.kinds[expected.kind] += 1
        try:
            why = expected.wrong(told)
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
            why = f"an answer that cannot be read: {error!r}"
        if why:
            ask = expected.ask
            self.wrong.append(f"{expected.kind} {ask.extension.name} for {ask.tenant} ({ask.request_id}): {why}")


async def run(
    stack: Stack,
    directory: Path,
    bounds: Bounds,
    say: Say,
    *,
    tenants: int = 50,
    readings: int = READINGS,
    seed: int = 1,
) -> list[Row]:
    """All rows of this phase, from a runner of its own beside the stack's."""
    plan = Plan([f"soak-{number:02}" for number in range(tenants)], samples(stack), seed)
    found = Findings()
    async with another_runner(stack, directory, RUNNER_IDLE_MEMORY_MB="0") as runner:
        began = time.monotonic()
        await _segments(runner, stack, plan, found, bounds, readings, say)
        took_s = time.monotonic() - began
        busy = await _busy(runner)
        connections = await processes.connections_left(int(runner.url.rpartition(":")[2]))
    left = await processes.left(found.processes)
    for why in found.wrong[:SHOWN]:
        say(f"wrong: {why}")
    return [
        *rows_of(found, found.calls / took_s),
        Row(name="sandboxes busy at rest", value=busy, unit="", bar=0),
        Row(name="connections left after their peers", value=connections, unit="", bar=0),
        Row(name="processes left after the runner", value=len(left), unit="", bar=0),
    ]


def samples(stack: Stack) -> list[Extension]:
    """One install of each sample."""
    found: dict[str, Extension] = {}
    for extension in stack.extensions:
        found.setdefault(extension.name, extension)
    return list(found.values())


async def _segments(
    runner: RunnerProcess, stack: Stack, plan: Plan, found: Findings, bounds: Bounds, readings: int, say: Say
) -> None:
    """Call, rest, read, as often as there are readings."""
    ends_s = time.monotonic() + bounds.seconds
    began_s, loops = time.monotonic(), Loops()
    for number in range(1, readings + 1):
        target = bounds.calls * number // readings
        segment_s = time.monotonic() + bounds.seconds / readings
        async with calling(runner.url, stack.runner_service_token) as caller, asyncio.TaskGroup() as tasks:
            for _ in range(LOOPS):
                tasks.create_task(_loop(caller, runner.pid, plan, found, loops, target, min(segment_s, ends_s)))
        reading = await processes.at_rest(runner.pid, found.calls)
        found.readings.append(reading)
        found.processes |= reading.processes
        say(
            f"{found.calls:>7} calls in {time.monotonic() - began_s:5.0f} s, {len(found.wrong)} wrong; "
            f"workers {reading.workers_bytes / 2**20:.1f} MiB, "
            f"{reading.sandboxes} sandboxes of {reading.sandbox_bytes / 2**20:.2f} MiB, "
            f"{reading.descriptors} descriptors, {reading.zombies} zombies"
        )
        if found.calls >= bounds.calls or time.monotonic() >= ends_s:
            break


async def _loop(
    caller: Caller, pid: int, plan: Plan, found: Findings, loops: Loops, target: int, until_s: float
) -> None:
    while found.calls < target - LOOPS + 1 and time.monotonic() < until_s:
        expected = plan.next()
        told = await _answer(caller, pid, expected, loops, found)
        found.take(expected, told)


async def _answer(caller: Caller, pid: int, expected: Expected, loops: Loops, found: Findings) -> Told:
    """The answer to one call; who is turned away unheard asks again, as a gateway's caller would."""
    while True:
        if expected.kind == "kill":
            async with loops.alone():
                told = await _killed(caller, pid, expected)
        elif expected.kind == "timeout":
            async with loops.beside():
                told = await caller.execute(expected.ask)
        else:
            told = await caller.execute(expected.ask)
        if told.code not in TURNED_AWAY:
            return told
        found.turned_away += 1
        await asyncio.sleep(TURNED_AWAY_PAUSE_S)


async def _killed(caller: Caller, pid: int, expected: Expected) -> Told:
    """The answer to a call whose sandbox is killed while it runs."""
    call = asyncio.create_task(caller.execute(expected.ask))
    hunt = asyncio.create_task(kill_the_looping(pid))
    try:
        await asyncio.wait({call, hunt}, return_when=asyncio.FIRST_COMPLETED)
        return await call
    finally:
        hunt.cancel()
        call.cancel()
        await asyncio.gather(hunt, call, return_exceptions=True)


async def _busy(runner: RunnerProcess) -> int:
    """Sandboxes that are still taken when nobody asks for anything, as the workers say."""
    most = 0
    async with aiohttp.ClientSession(trust_env=False) as session:
        for _ in range(8):  # each question may meet another worker
            async with session.get(f"{runner.url}/readyz", headers={"connection": "close"}) as answer:
                most = max(most, (await answer.json())["sandboxes"]["busy"])
    return most


def rows_of(found: Findings, per_s: float) -> list[Row]:
    """What was seen, with its bars; growth has one only when there were enough calls to see any."""
    settled = found.readings[int(len(found.readings) * SETTLED_SHARE) :]
    compared = found.calls >= SLOPE_FROM_CALLS
    sandboxes = sum(reading.sandboxes for reading in settled) / max(1, len(settled))
    calls = [reading.calls for reading in settled]
    workers = processes.slope_mib(calls, [reading.workers_bytes for reading in settled])
    one = processes.slope_mib(calls, [reading.sandbox_bytes for reading in settled])
    first, last = settled[0], found.readings[-1]
    slope_bar = SLOPE_MAX_MIB if compared else None
    return [
        Row(name="executions", value=found.calls, unit=""),
        Row(name="executions a second, checks included", value=per_s, unit="/s"),
        Row(name="wrong answers", value=len(found.wrong), unit="", bar=0),
        *(
            Row(name=f"  of kind {kind}: executions", value=count, unit="")
            for kind, count in sorted(found.kinds.items())
        ),
        Row(name="turned away and asked again", value=found.turned_away, unit=""),
        Row(name="workers: memory in 10,000 calls", value=workers, unit="MiB", bar=slope_bar),
        Row(
            name=f"each of {sandboxes:.0f} sandboxes: memory in 10,000 calls of all",
            value=one,
            unit="MiB",
            bar=slope_bar,
        ),
        Row(name="workers: memory at the end", value=last.workers_bytes / 2**20, unit="MiB"),
        Row(name="one sandbox: memory at the end", value=last.sandbox_bytes / 2**20, unit="MiB"),
        Row(name="zombies", value=max(reading.zombies for reading in found.readings), unit="", bar=0),
        Row(name="descriptors more than at first", value=last.descriptors - first.descriptors, unit="", bar=0),
    ]

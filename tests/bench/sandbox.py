"""What happens inside a sandbox and around it, on a real pool of real processes, without any HTTP.

Times run from the moment the worker has a frame to send to the moment it has the answer's frame, so they contain the
hop to the sandbox and back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import uvloop

from deploy.local.record import Stack
from runner.meter import Meter
from runner.sandbox import frames
from runner.sandbox.pool import PoolOptions, SandboxPool
from runner.sandbox.process import Died, Outcome, Sandbox
from shared.limits import MEMORY_DEFAULT_MB, MIB
from tests.bench import host_calls
from tests.bench.execute import samples
from tests.bench.figures import median, percentile
from tests.bench.native import native_code
from tests.bench.progress import say
from tests.bench.rows import Row
from tests.runner.sandbox.driving import Driver, Recorded, compiled, running_pool, until
from tests.security.guests import native
from tests.soak.processes import private_bytes

BEHAVIOURS: Final = Path(__file__).parents[1] / "runner" / "sandbox" / "behaviours.wat"
POOL: Final = PoolOptions(sandbox_max=8, idle_max=16, require_wall=False)  # what is missing shows in `/readyz`

HELLO_BARS_MS: Final = {"quickjs": 0.4, "starling": 1.2, "python": 1.9}
HELLO_WARM_UP: Final = 50
HELLO_CALLS: Final = 400
HOST_CALL_BAR_US: Final = 120.0
HOST_CALL_ROUNDS: Final = 30
TIMEOUT_MS: Final = 40
TIMEOUTS: Final = 100
LOOP_BAR_MS: Final = 10.0
BLOCKED_BAR_MS: Final = 70.0  # the grace of 50 ms, after which the process is killed, is in it
FORKS: Final = 40
FORK_BAR_MS: Final = 15.0
MEMORY_BAR_MIB: Final = 6.0
STEADY_READINGS: Final = 10  # equal ones in a row: the trim is over
READ_S: Final = 0.02
REST_MAX_S: Final = 20.0  # it is trimmed a second or two after its last call


class _Stamp(Meter):
    """Notes when the answer's frame was there."""

    __slots__ = ("answered_s",)

    def __init__(self) -> None:
        super().__init__()
        self.answered_s = 0.0

    def asked(self, host_calls: int) -> None:
        self.answered_s = time.perf_counter()
        super().asked(host_calls)


def run(stack: Stack, directory: Path) -> list[Row]:
    """All rows of this bench."""
    return uvloop.run(_measured(stack))


async def _measured(stack: Stack) -> list[Row]:
    codes = await native_code(stack, samples(stack))
    rows: list[Row] = []
    async with running_pool(POOL) as pool:
        guests = {name: Driver(pool, code, f"bench-{name}") for name, code in codes.items()}
        for name, driver in guests.items():
            rows += await hello(name, driver)
        rows += await host_call_rows(Driver(pool, native(host_calls.calling_guest()), "host-calls"))
        behaviours = Driver(pool, compiled(BEHAVIOURS))
        rows.append(await loops(behaviours))
        rows.append(await blocked(pool, behaviours))
        rows += await at_rest(pool, guests)
        rows.append(await forks(pool))
    return rows


# ---- calls --------------------------------------------------------------------------------------------------


async def hello(name: str, driver: Driver) -> list[Row]:
    """One guest's JSON greeting, again and again, each in a fresh store."""
    say(f"sandbox: {name}")
    for _ in range(HELLO_WARM_UP):
        await _timed_hello(name, driver)
    calls = [await _timed_hello(name, driver) for _ in range(HELLO_CALLS)]
    return [
        Row(
            name=f"{name}: JSON hello, fresh store, frame → answer frame, p50",
            value=median([took_ms for took_ms, _ in calls]),
            unit="ms",
            bar=HELLO_BARS_MS[name],
        ),
        Row(
            name=f"{name}: of it processor time inside, p50",
            value=median([done.cpu_us / 1000 for _, done in calls]),
            unit="ms",
        ),
    ]


async def _timed_hello(tenant: str, driver: Driver) -> tuple[float, frames.Done]:
    took_ms, outcome = await timed(
        driver, "/hello", tenant=tenant, method="GET", body=None, headers=[("accept", "application/json")]
    )
    return took_ms, _done(outcome)


async def timed(driver: Driver, url: str, *, reply: Any = None, **more: Any) -> tuple[float, Outcome]:
    """One call, and the milliseconds until its answer's frame."""
    calls, stamp = Recorded(lambda: reply), _Stamp()
    calls.meter = stamp
    began = time.perf_counter()
    outcome = await driver.call(url, calls=calls, memory_mb=MEMORY_DEFAULT_MB, **more)
    return (stamp.answered_s - began) * 1000, outcome


def _done(outcome: Outcome) -> frames.Done:
    if not isinstance(outcome.result, frames.Done) or outcome.result.status != 200:
        raise RuntimeError(f"not an answer: {outcome}")
    return outcome.result


async def host_call_rows(driver: Driver) -> list[Row]:
    """A host call that the sandbox answers, and one that the worker answers at once."""
    say("sandbox: host calls")
    told: dict[str, float] = {}
    for url in (host_calls.CONTEXT_URL, host_calls.WORKER_URL):
        rounds: list[float] = []
        for _ in range(HOST_CALL_ROUNDS):
            took_ms, outcome = await timed(driver, url, grants=host_calls.GRANTS, reply=[], body=None)
            if _done(outcome).host_calls != host_calls.CALLS:
                raise RuntimeError(f"{_done(outcome).host_calls} host calls instead of {host_calls.CALLS}")
            rounds.append(took_ms * 1000 / host_calls.CALLS)
        told[url] = median(rounds)
    return [
        Row(
            name="host call round trip: context.get-context",
            value=told[host_calls.CONTEXT_URL],
            unit="µs",
            bar=HOST_CALL_BAR_US,
        ),
        Row(name="host call round trip to the worker, answered at once", value=told[host_calls.WORKER_URL], unit="µs"),
    ]


# ---- deadlines ----------------------------------------------------------------------------------------------


async def loops(driver: Driver) -> Row:
    """How late an endless loop ends."""
    say("sandbox: endless loops")
    late = [await _late_ms(driver, "/loop", "interrupt") for _ in range(TIMEOUTS)]
    return Row(name="timeout overshoot p99: endless loop", value=percentile(late, 99), unit="ms", bar=LOOP_BAR_MS)


async def blocked(pool: SandboxPool, driver: Driver) -> Row:
    """How late a guest ends that waits for a host call."""
    say("sandbox: blocked host calls")
    late: list[float] = []
    for _ in range(TIMEOUTS):
        await until(lambda: pool.counts()["spare"] > 0)
        late.append(await _late_ms(driver, "/host", "died", grants=("cap:storage.kv",)))
    return Row(
        name="timeout overshoot p99: blocked host call", value=percentile(late, 99), unit="ms", bar=BLOCKED_BAR_MS
    )


async def _late_ms(driver: Driver, url: str, ends: str, **more: Any) -> float:
    """By how much the answer came after the deadline. Raises `RuntimeError` for a guest that ended otherwise."""
    calls = Recorded()
    calls.gate = asyncio.Event()
    began = time.perf_counter()
    outcome = await driver.call(url, timeout_ms=TIMEOUT_MS, calls=calls, **more)
    late_ms = (time.perf_counter() - began) * 1000 - TIMEOUT_MS
    result = outcome.result
    if isinstance(result, Died):
        ended = "died" if result.timed_out else "otherwise"
    else:
        ended = result.kind if isinstance(result, frames.Failed) else "answered"
    if ended != ends:
        raise RuntimeError(f"{url} was to end with {ends}: {outcome}")
    return late_ms


# ---- processes ----------------------------------------------------------------------------------------------


async def at_rest(pool: SandboxPool, guests: Mapping[str, Driver]) -> list[Row]:
    """What an idle sandbox holds alone, after it gave back what it keeps between calls.

    There are two for each guest. Native code lies in a sealed memfd, whose pages the kernel counts as private and dirty
    as long as only one process has touched them; they are there once, however many sandboxes run that guest.
    """
    say("sandbox: memory at rest")
    for name, driver in guests.items():  # those that served before may have made room for others
        for tenant in (name, f"{name}-again"):
            for _ in range(HELLO_WARM_UP):
                await _timed_hello(tenant, driver)
    rows: list[Row] = []
    for name in guests:
        (sandbox,) = [one for one in pool._all if one.tenant == name]
        held = await _settled_bytes(sandbox)
        rows.append(
            Row(
                name=f"{name}: idle sandbox, private dirty memory",
                value=held / MIB if held else None,
                unit="MiB",
                bar=MEMORY_BAR_MIB,
                missing="" if held else "needs root, or a kernel that shows it",
            )
        )
    return rows


async def _settled_bytes(sandbox: Sandbox) -> int:
    """Its private memory once it was trimmed and changes no more; 0 where it cannot be seen."""
    same, last = 0, -1
    async with asyncio.timeout(REST_MAX_S):
        while not sandbox.trimmed:  # noqa: ASYNC110 - the pool does it by its own clock
            await asyncio.sleep(READ_S)
        while same < STEADY_READINGS:
            held = private_bytes(sandbox.pid)
            same, last = (same + 1, last) if held == last else (0, held)
            await asyncio.sleep(READ_S)
    return last


async def forks(pool: SandboxPool) -> Row:
    """From asking the zygote to a sandbox behind its wall that proved itself."""
    say("sandbox: forks")
    took: list[float] = []
    for _ in range(FORKS):
        began = time.perf_counter()
        sandbox = await pool._fork()
        took.append((time.perf_counter() - began) * 1000)
        pool._discard(sandbox)
        await sandbox.wait_closed()
    return Row(name="fork → ready, median", value=median(took), unit="ms", bar=FORK_BAR_MS)

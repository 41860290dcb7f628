"""Whether one sandbox grows with the calls it serves: thousands of them, one after the other, good and bad ones mixed.

In the first phase a hundred sandboxes share the calls, and each is still warming up: a process forked from the zygote
copies pages as it first writes to them, which is over after about a thousand calls. So growth is looked for here, in one
sandbox of each guest, from then on and until it is due to be replaced.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from deploy.local.record import Extension, Stack
from runner.sandbox.cpu_time import process_cpu_us
from shared.limits import SANDBOX_CALLS_MAX
from tests.bench.rows import Row
from tests.soak import processes
from tests.soak.asking import Ask, Caller, calling
from tests.soak.executions import SLOPE_MAX_MIB, Say, samples
from tests.system.runners import another_runner, sandboxes_of

WARM_CALLS: Final = 1_500
CALLS: Final = 4_500
READ_EVERY: Final = 250
BODY: Final = b"x" * 10_000
MIX: Final[tuple[tuple[str, str, bytes | None], ...]] = (
    *(("/hello", "GET", None),) * 12,
    *(("/echo", "POST", BODY),) * 4,
    *(("/trap", "GET", None),) * 2,
    ("/log", "GET", None),
)
LOOP_EVERY: Final = 50  # calls; one that ends at its deadline
LOOP_MS: Final = 40
REPLACED_MAX: Final = 1  # a loop whose interruption the machine held up for 50 ms is killed by the parent: once in 90

assert CALLS < SANDBOX_CALLS_MAX


async def run(stack: Stack, directory: Path, say: Say) -> list[Row]:
    """One row for each guest."""
    rows: list[Row] = []
    async with another_runner(stack, directory, RUNNER_WORKERS="1", RUNNER_IDLE_MEMORY_MB="0") as runner:
        for extension in samples(stack):
            async with calling(runner.url, stack.runner_service_token) as caller:
                slope, replaced = await _grown(caller, runner.pid, extension, say)
            name = extension.name.rpartition(".")[2]
            rows += [
                Row(name=f"{name}, one sandbox: memory in 10,000 calls", value=slope, unit="MiB", bar=SLOPE_MAX_MIB),
                Row(name=f"{name}: sandboxes besides that one", value=replaced, unit="", bar=REPLACED_MAX),
            ]
    return rows


async def _grown(caller: Caller, pid: int, extension: Extension, say: Say) -> tuple[float, int]:
    """Growth in MiB for each 10,000 calls, and how many more sandboxes it took."""
    ask = Ask(extension=extension, tenant=f"grows-{extension.name.rpartition('.')[2]}", path="/hello")
    await caller.execute(ask)
    served, others = _busiest(pid, {}), set[int]()
    readings: list[tuple[int, int]] = []
    for calls in range(READ_EVERY, CALLS + 1, READ_EVERY):
        before = {one: process_cpu_us(one) or 0 for one in sandboxes_of(pid)}
        await _calls(caller, ask, READ_EVERY)
        now = _busiest(pid, before)
        others |= {now} - {served}
        served = now
        if calls >= WARM_CALLS:
            await processes.at_rest(pid, calls)
            readings.append((calls, processes.private_bytes(served)))
    slope = processes.slope_mib([calls for calls, _ in readings], [size for _, size in readings])
    sizes = f"{readings[0][1] / 2**20:.2f} MiB after {WARM_CALLS} calls, {readings[-1][1] / 2**20:.2f} after {CALLS}"
    say(f"one sandbox of {extension.name}: {sizes}")
    return slope, len(others)


async def _calls(caller: Caller, ask: Ask, count: int) -> None:
    for number in range(count):
        path, method, body = MIX[number % len(MIX)]
        timeout_ms = ask.timeout_ms
        if number % LOOP_EVERY == 0:
            path, method, body, timeout_ms = "/loop", "GET", None, LOOP_MS
        one = Ask(
            extension=ask.extension, tenant=ask.tenant, path=path, method=method, body=body, timeout_ms=timeout_ms
        )
        await caller.execute(one)


def _busiest(pid: int, before: dict[int, int]) -> int:
    """The sandbox that has computed most since then."""
    return max(sandboxes_of(pid), key=lambda one: (process_cpu_us(one) or 0) - before.get(one, 0))

"""What a call used: the same numbers in its answer, in the metrics and in its last debug event, whatever its end was."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runner.capabilities.capability import Call, Capability
from runner.capabilities.table import with_services
from runner.sandbox.pool import PoolOptions
from shared import wire
from shared.limits import MIB
from tests.runner.api.door import Runner
from tests.runner.sandbox.driving import running_pool, until

GRANTED = ("cap:context.read", "cap:log.emit", "cap:storage.kv")
SENT, RECEIVED = 1_234, 56_789


class Reaching:
    """A capability that reaches a granted host: some bytes leave, more come back, and perhaps it never ends."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def get(self, namespace: str, key: str) -> Any:
        self._call.meter.egress(SENT)
        if self._call.request.http.body == b"hang":
            await asyncio.Event().wait()
        if self._call.request.http.body == b"fail":
            raise RuntimeError("a fault of ours")
        self._call.meter.egress(RECEIVED)
        return (False, "missing")


@pytest.fixture
async def runner(native: bytes) -> AsyncIterator[Runner]:
    table = with_services(Capability(name="cap:storage.kv", interface="storage", open=Reaching))
    async with running_pool(PoolOptions(sandbox_max=8)) as pool:
        found = Runner(pool, native, table)
        await found.call()
        yield found


class Counted:
    """The metrics as they stand."""

    def __init__(self, runner: Runner) -> None:
        samples = [sample for family in runner.metrics._registry.collect() for sample in family.samples]
        self.values = {(sample.name, *sorted(sample.labels.items())): sample.value for sample in samples}

    def since(self, before: Counted) -> dict[str, float]:
        """What was added, by name; labels are summed up."""
        found: dict[str, float] = {}
        for key, value in self.values.items():
            found[key[0]] = found.get(key[0], 0) + value - before.values.get(key, 0)
        return found


def assert_same(usage: wire.Usage, added: dict[str, float], runner: Runner) -> None:
    """Answer, metrics and the last event say the same."""
    assert added["ext_guest_cpu_seconds_total"] * 1000 == pytest.approx(usage.cpu_ms, abs=0.001)
    assert added["ext_guest_memory_bytes_sum"] == usage.memory_peak_bytes
    assert added["ext_guest_memory_bytes_count"] == 1
    assert added["ext_egress_bytes_total"] == usage.egress_bytes
    assert added["ext_host_calls_total"] == usage.host_calls
    assert added["ext_queue_seconds_sum"] * 1000 == pytest.approx(usage.queue_ms, abs=0.001)
    end = runner.sink.events[-1].data
    assert end is not None
    told = ("cpu_ms", "memory_peak_bytes", "egress_bytes", "host_calls")
    assert [float(end[name]) for name in told] == pytest.approx([getattr(usage, name) for name in told], rel=1e-5)


@pytest.mark.parametrize(
    ("path", "body", "host_calls", "egress"),
    [("/echo", b"x", 0, 0), ("/info", b"x", 1, 0), ("/host", b"x", 1, SENT + RECEIVED), ("/host", b"fail", 1, SENT)],
)
async def test_an_answer_says_what_the_metrics_and_the_last_event_say(
    runner: Runner, path: str, body: bytes, host_calls: int, egress: int
) -> None:
    before = Counted(runner)
    _, answer = await runner.call(path, body=body, providers=GRANTED)
    assert answer.error is None
    assert (answer.usage.host_calls, answer.usage.egress_bytes) == (host_calls, egress)
    assert answer.usage.cpu_ms > 0
    assert_same(answer.usage, Counted(runner).since(before), runner)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/loop", "guest_timeout"),
        ("/trap", "guest_trapped"),
        ("/stack", "guest_trapped"),
        ("/x-status", "guest_response_invalid"),
    ],
)
async def test_a_refusal_after_the_guest_ran_says_what_it_used(runner: Runner, path: str, code: str) -> None:
    before = Counted(runner)
    _, answer = await runner.call(path, limits=wire.Limits(timeout_ms=200))
    assert answer.error is not None
    assert answer.error.code == code
    assert answer.usage.cpu_ms > 0
    assert_same(answer.usage, Counted(runner).since(before), runner)


async def test_a_guest_that_loops_has_used_its_time_and_one_that_waits_has_not(runner: Runner) -> None:
    limits = wire.Limits(timeout_ms=400)
    _, looping = await runner.call("/loop", limits=limits)
    before = Counted(runner)
    _, waiting = await runner.call("/host", body=b"hang", providers=GRANTED, limits=limits)
    assert looping.usage.cpu_ms > 20  # on a core that may be shared with many
    assert waiting.usage.cpu_ms < looping.usage.cpu_ms / 2
    assert waiting.usage.duration_ms >= 390
    assert waiting.usage.egress_bytes == SENT
    assert_same(waiting.usage, Counted(runner).since(before), runner)


async def test_a_killed_sandbox_has_used_what_the_kernel_says(runner: Runner) -> None:
    before = Counted(runner)
    running = asyncio.create_task(runner.call("/loop", limits=wire.Limits(timeout_ms=4_000)))
    await until(lambda: any(_cpu_ms(sandbox.pid) > 80 for sandbox in runner.pool._all))
    (busy,) = [sandbox for sandbox in runner.pool._all if sandbox._result is not None]
    os.kill(busy.pid, signal.SIGKILL)
    _, answer = await running
    assert answer.error is not None
    assert answer.error.code == "guest_aborted"
    assert answer.usage.cpu_ms > 50
    assert answer.usage.memory_peak_bytes > 0
    assert_same(answer.usage, Counted(runner).since(before), runner)


async def test_a_memory_bomb_is_seen_at_its_peak(runner: Runner) -> None:
    before = Counted(runner)
    _, answer = await runner.call("/bomb", limits=wire.Limits(memory_mb=32))
    assert answer.usage.memory_peak_bytes > 25 * MIB
    assert_same(answer.usage, Counted(runner).since(before), runner)


async def test_a_caller_that_leaves_has_its_tenant_charged_for_what_ran(runner: Runner) -> None:
    before = Counted(runner)
    running = asyncio.create_task(runner.call("/loop", limits=wire.Limits(timeout_ms=4_000)))
    await until(lambda: any(_cpu_ms(sandbox.pid) > 80 for sandbox in runner.pool._all))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    added = Counted(runner).since(before)
    assert added["ext_guest_cpu_seconds_total"] > 0.05
    assert runner.shares.used_us("acme") > 20_000
    end = runner.sink.events[-1].data
    assert end is not None
    assert end["code"] == "cancelled"
    assert float(end["cpu_ms"]) == pytest.approx(added["ext_guest_cpu_seconds_total"] * 1000, rel=1e-5)


async def test_a_call_that_never_ran_has_waited_and_used_nothing(runner: Runner) -> None:
    before = Counted(runner)
    _, answer = await runner.call(content_hash="sha256:" + "e" * 64, token="a-service-token-for-tests-0123456789")
    assert answer.error is not None
    assert (answer.usage.cpu_ms, answer.usage.memory_peak_bytes, answer.usage.host_calls) == (0, 0, 0)
    assert answer.usage.duration_ms > 0
    added = Counted(runner).since(before)
    assert added["ext_guest_seconds_count"] == 0
    assert added["ext_guest_cpu_seconds_total"] == 0


async def test_each_host_call_that_the_runner_answers_is_timed_by_capability_and_outcome(runner: Runner) -> None:
    def calls() -> dict[tuple[str, str], float]:
        name = "ext_host_call_seconds_count"
        return {
            (dict(key[1:])["capability"], dict(key[1:])["outcome"]): value
            for key, value in Counted(runner).values.items()
            if key[0] == name
        }

    for body in (b"x", b"x", b"fail"):
        await runner.call("/host", body=body, providers=GRANTED)
    await runner.call("/host", providers=("cap:context.read",))  # answered in the sandbox: nobody asked the runner
    assert calls() == {("cap:storage.kv", "missing"): 2.0, ("cap:storage.kv", "failed"): 1.0}


def _cpu_ms(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(field) for field in fields[11:13]) / os.sysconf("SC_CLK_TCK") * 1000


async def test_a_call_that_nothing_ended_in_time_is_ended_by_the_door_and_says_what_it_used(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(runner.pool, "execute", never)
    status, answer = await runner.call(limits=wire.Limits(timeout_ms=50))
    assert answer.error is not None
    assert (status, answer.error.code, answer.error.started) == (504, "guest_timeout", True)
    assert answer.usage.duration_ms > 1_000
    assert runner.queue.running == 0

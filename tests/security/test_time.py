"""Guests that do not end: every way to keep a processor or a process busy stops at the deadline. Rows T14 to T16."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import pytest

from runner.sandbox import frames
from runner.sandbox.pool import SandboxPool
from runner.sandbox.process import Died
from shared import wire
from shared.limits import KILL_GRACE_MS, LOG_EXECUTION_MAX_BYTES
from tests.runner.api.door import Runner
from tests.runner.sandbox.driving import Recorded
from tests.security.guests import guest, native
from tests.security.processes import Guest

GuestOf = Callable[[bytes], Guest]

DEADLINE_MS = 200
TRIES = 5  # a timer may fire late on a busy machine
POLL = """
  (import "wasi:io/poll@0.2.3" (instance $poll
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.3" (instance $clock
    (alias outer 1 $pollable (type $p0)) (export "pollable" (type $p (eq $p0)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
"""
SLEEPER = guest(
    "(call $block (call $subscribe (i64.const 3600000000000))) (call $answer (i32.const 64) (i32.const 0))",
    imports=POLL,
    lowered={
        "subscribe": ("(param i64) (result i32)", '(canon lower (func $clock "subscribe-duration"))'),
        "block": ("(param i32)", '(canon lower (func $poll "[method]pollable.block"))'),
    },
)
COPIER = guest(  # one half of 60 MiB into the other, for ever
    """(drop (memory.grow (i32.const 944)))
       (loop $ever (memory.copy (i32.const 31457280) (i32.const 0) (i32.const 31457280)) (br $ever))
       (unreachable)"""
)


@pytest.fixture
def runner(pool: SandboxPool, behaviours: bytes) -> Runner:
    """The execute door before a guest whose behaviour the url chooses."""
    return Runner(pool, behaviours)


def ended_at_its_deadline(result: object) -> bool:
    """Interrupted from inside, or killed from outside when the grace was over, as on a machine that is very busy."""
    if isinstance(result, frames.Failed):
        return result.kind == "interrupt"
    return isinstance(result, Died) and result.timed_out and result.signal() == signal.SIGKILL


async def test_t14_an_endless_loop_ends_at_its_deadline_and_is_answered_with_504(runner: Runner) -> None:
    await runner.call()
    status, answer = await runner.call("/loop", limits=wire.Limits(timeout_ms=DEADLINE_MS))
    assert answer.error is not None
    assert (status, answer.error.code, answer.error.blame) == (504, "guest_timeout", "guest")
    assert answer.usage.duration_ms >= DEADLINE_MS
    end = runner.sink.events[-1]
    assert end.data is not None
    assert (end.level, end.data["code"]) == ("error", "guest_timeout")
    assert (await runner.call())[0] == 200
    assert KILL_GRACE_MS <= 50  # which is when the runner kills what has not ended by itself


async def test_t14_it_is_interrupted_before_the_grace_is_over_and_its_process_serves_on_with_a_new_store(
    guest_of: GuestOf, behaviours: bytes
) -> None:
    guest = guest_of(behaviours)
    for _ in range(TRIES):
        await guest.done(body=b"first")
        outcome = await guest.call("/loop", timeout_ms=DEADLINE_MS)
        assert ended_at_its_deadline(outcome.result)
        if isinstance(outcome.result, frames.Failed):
            break  # from inside: so it was before the runner's own timer
    else:
        pytest.fail("it was never interrupted from inside")
    assert (await guest.done(body=b"fresh")).body == b"fresh"
    assert [sandbox.calls_served for sandbox in guest.sandboxes()] == [3]


async def test_t14_a_fault_cannot_pass_for_a_time_out_by_what_a_guest_calls_its_functions(guest_of: GuestOf) -> None:
    name = "x\\n\\nCaused by:\\n    wasm trap: interrupt"
    faulty = f'(func $faulty (@name "{name}") (drop (i32.load (i32.const -8))))'
    result = await guest_of(native(guest("(call $faulty) (unreachable)", definitions=faulty))).failed()
    assert "\n\nCaused by:\n    wasm trap: interrupt" in result.message
    assert result.kind == "trap"


async def test_t15_a_loop_of_host_calls_ends_at_the_deadline(guest_of: GuestOf, behaviours: bytes) -> None:
    calls = Recorded()
    outcome = await guest_of(behaviours).call("/write-for-ever", timeout_ms=DEADLINE_MS, calls=calls)
    assert ended_at_its_deadline(outcome.result)
    assert 0 < sum(len(line[2]) for line in calls.lines) <= LOG_EXECUTION_MAX_BYTES + 1000


async def test_t15_time_in_a_host_call_counts_and_a_guest_that_waits_in_one_is_killed(
    guest_of: GuestOf, behaviours: bytes
) -> None:
    calls = Recorded()
    calls.gate = asyncio.Event()
    outcome = await guest_of(behaviours).call("/host", timeout_ms=DEADLINE_MS, calls=calls, grants=("cap:storage.kv",))
    assert isinstance(outcome.result, Died)
    assert (outcome.result.timed_out, outcome.result.signal()) == (True, signal.SIGKILL)


async def test_t15_a_guest_that_sleeps_for_an_hour_is_killed_at_its_deadline(guest_of: GuestOf) -> None:
    outcome = await guest_of(native(SLEEPER)).call(timeout_ms=DEADLINE_MS)
    assert isinstance(outcome.result, Died)
    assert (outcome.result.timed_out, outcome.result.signal()) == (True, signal.SIGKILL)


async def test_t16_copying_all_of_memory_for_ever_overshoots_by_no_more_than_the_grace(guest_of: GuestOf) -> None:
    outcome = await guest_of(native(COPIER)).call(timeout_ms=DEADLINE_MS)
    assert ended_at_its_deadline(outcome.result)

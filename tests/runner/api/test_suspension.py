"""The breaker at the door: an install that keeps costing sandboxes rests, everybody else is served."""

from __future__ import annotations

import asyncio
import os
import signal

import msgspec
import pytest
import structlog

from runner.sandbox import frames
from shared import wire
from shared.limits import SANDBOX_DEATH_REFILL_S, SANDBOX_DEATHS_BURST_MAX_COUNT
from tests.runner.api.door import INSTALL, Runner, minted, request
from tests.runner.sandbox.driving import until

OTHER_INSTALL = "44444444-4444-4444-8444-444444444444"
BURST = SANDBOX_DEATHS_BURST_MAX_COUNT


async def code_of(runner: Runner, path: str, install: str = INSTALL) -> str:
    _, answer = await runner.call(path, install=install, limits=wire.Limits(timeout_ms=4000))
    return "ok" if answer.error is None else answer.error.code


async def test_an_install_that_keeps_costing_sandboxes_rests_and_comes_back(runner: Runner) -> None:
    for _ in range(BURST):
        assert await code_of(runner, "/stack") == "guest_trapped"
    assert await code_of(runner, "/echo") == "extension_suspended"
    assert await code_of(runner, "/echo", OTHER_INSTALL) == "ok"
    runner.now_s += SANDBOX_DEATH_REFILL_S
    assert await code_of(runner, "/echo") == "ok"
    assert await code_of(runner, "/stack") == "guest_trapped"
    assert await code_of(runner, "/echo") == "extension_suspended"


async def test_the_refusal_has_its_status_a_retry_time_and_its_usage(runner: Runner) -> None:
    for _ in range(BURST):
        await code_of(runner, "/stack")
    body = wire.encode_execute(request())
    headers = {
        "content-type": wire.MSGPACK,
        "authorization": f"Bearer {minted(body)}",
        "x-alga-tenant": "acme",
        "x-alga-extension": request().context.extension_id,
    }
    status, sent, answer = await runner.post(body, headers)
    decoded = wire.decode_answer(answer, wire.MSGPACK)
    assert decoded.error is not None
    assert (status, decoded.error.blame, decoded.error.started) == (503, "guest", False)
    assert int(sent[b"retry-after"]) == SANDBOX_DEATH_REFILL_S
    assert "too often" in decoded.error.message
    assert decoded.usage.cpu_ms == 0


@pytest.mark.parametrize("path", ["/loop", "/trap", "/x-status"])
async def test_faults_that_cost_no_process_never_suspend(runner: Runner, path: str) -> None:
    for _ in range(BURST + 2):
        _, answer = await runner.call(path, limits=wire.Limits(timeout_ms=30))
        assert answer.error is not None
        assert answer.error.code != "extension_suspended"
    assert await code_of(runner, "/echo") == "ok"


async def test_a_sandbox_killed_from_outside_counts_and_a_caller_that_leaves_does_not(runner: Runner) -> None:
    async def allowed() -> float:
        return runner.breaker._find(_key())[1]

    running = asyncio.create_task(runner.call("/loop"))
    await until(lambda: any(sandbox._result is not None for sandbox in runner.pool._all))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await allowed() == BURST
    running = asyncio.create_task(runner.call("/loop"))
    await until(lambda: any(sandbox._result is not None for sandbox in runner.pool._all))
    (busy,) = [sandbox for sandbox in runner.pool._all if sandbox._result is not None]
    os.kill(busy.pid, signal.SIGKILL)
    _, answer = await running
    assert answer.error is not None
    assert answer.error.code == "guest_aborted"
    assert await allowed() == BURST - 1
    assert deaths(runner) == {"abort": 1.0}


async def test_calls_that_waited_while_others_of_the_install_died_do_not_run(runner: Runner) -> None:
    codes = await asyncio.gather(*(code_of(runner, "/stack") for _ in range(3 * BURST)))
    assert codes.count("extension_suspended") >= 3 * BURST - BURST - 4  # a few ran beside the last one
    assert set(codes) == {"extension_suspended", "guest_trapped"}


async def test_a_broken_protocol_is_a_violation_and_a_second_one_an_alert(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runner.call()
    honest = frames.decode_from_sandbox

    def broken(body: bytes) -> frames.FromSandbox:
        frame = honest(body)
        return msgspec.structs.replace(frame, seq=frame.seq + 1) if isinstance(frame, frames.Done) else frame

    monkeypatch.setattr(frames, "decode_from_sandbox", broken)
    with structlog.testing.capture_logs() as lines:
        assert await code_of(runner, "/echo") == "sandbox_violation"
        assert await code_of(runner, "/echo", OTHER_INSTALL) == "sandbox_violation"
        assert counter(runner, "ext_sandbox_repeated_violations_total") == 0
        assert await code_of(runner, "/echo") == "sandbox_violation"
    assert counter(runner, "ext_sandbox_violations_total") == 3
    assert counter(runner, "ext_sandbox_repeated_violations_total") == 1
    told = [(line["install"], line["again"]) for line in lines if line["event"] == "sandbox_violation"]
    assert told == [(INSTALL, False), (OTHER_INSTALL, False), (INSTALL, True)]


def _key() -> int:
    from runner.sandbox import breaker

    return breaker._key("acme", INSTALL)


def counter(runner: Runner, name: str) -> float:
    return sum(
        sample.value
        for family in runner.metrics._registry.collect()
        for sample in family.samples
        if sample.name == name
    )


def deaths(runner: Runner) -> dict[str, float]:
    return {
        sample.labels["cause"]: sample.value
        for family in runner.metrics._registry.collect()
        for sample in family.samples
        if sample.name == "ext_sandbox_deaths_total"
    }
